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
# All of them: two at a time, each file in one process, since its tests share what they start. In this order, those that fork come
# before those that start threads of Ray and torch.
[ $# -gt 0 ] || set -- -n 2 --dist loadfile --no-loadscope-reorder
.venv/bin/python -m pytest "$@"
