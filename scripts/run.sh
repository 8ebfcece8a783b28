#!/usr/bin/env bash
# Sets up what is missing, then runs the pipeline: bash scripts/run.sh [key=value ...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$AZR_ROOT"
exec .venv/bin/python azr_single_gpu_pipeline.py "$@"
