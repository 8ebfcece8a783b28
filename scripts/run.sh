#!/usr/bin/env bash
# Sets up what is missing, then runs the pipeline: bash scripts/run.sh [key=value ...]
# Paths in the arguments are relative to the folder in which it is started.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
exec "$AZR_ROOT/.venv/bin/python" "$AZR_ROOT/azr_single_gpu_pipeline.py" "$@"
