#!/usr/bin/env bash
# Sets up what is missing, then runs the pipeline: bash scripts/run.sh [key=value ...]
# Paths in the arguments are relative to the folder in which it is started.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # started as: sh FILE, zsh FILE
set -euo pipefail
self=${BASH_SOURCE[0]}
if [ -L "$self" ]; then self=$(readlink -f -- "$self"); fi
source "$(dirname -- "$self")/setup.sh"
exec "$AZR_ROOT/.venv/bin/python" "$AZR_ROOT/azr_single_gpu_pipeline.py" "$@"
