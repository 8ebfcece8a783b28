#!/usr/bin/env bash
# Sets up what is missing, then linter, type check and tests: bash scripts/test.sh [pytest arguments]
# The slow and the GPU tests: bash scripts/test.sh -m slow     bash scripts/test.sh -m gpu
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # started as: sh FILE, zsh FILE
set -euo pipefail
self=${BASH_SOURCE[0]}
if [ -L "$self" ]; then self=$(readlink -f -- "$self"); fi
source "$(dirname -- "$self")/setup.sh"
cd "$AZR_ROOT"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/pyright
.venv/bin/python -m pytest "$@"
