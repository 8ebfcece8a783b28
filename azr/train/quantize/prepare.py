"""The int4 base of a run, made in a process of its own: its memory, on the card too, is free again before the
trainer starts.

    python -m azr.train.quantize.prepare FOLDER cpu|cuda
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azr.config.paths import PROJECT, python_path
from azr.errors import AzrError, BudgetError, ModelError, TrainingError
from azr.system.processes import end_with_parent
from azr.train.quantize.folder import int4_folder, ready_int4_folder
from azr.train.quantize.kernel_check import check_kernel

RESULT = "INT4 "
"""How the line with the result begins; the others are for people."""
LIMIT_S = 4 * 3600.0
"""Far more than 7B takes two cores (docs/quantised.md)."""
_ERRORS = {kind.__name__: kind for kind in (BudgetError, ModelError, TrainingError)}


def prepared_int4(folder: Path, device: str, say: Callable[[str], None] = print) -> Path:
    """The int4 version of the model in ``folder``. On a card one product of the engine's kernel is compared with
    torch first.

    Args:
        device: ``cpu`` or ``cuda``.

    Raises:
        ModelError: the model cannot be quantised.
        BudgetError: the disk is too small.
        TrainingError: the card or the installed vLLM cannot serve int4 weights.
    """
    if device == "cpu" and (ready := ready_int4_folder(folder)) is not None:
        return ready
    command = [sys.executable, "-m", "azr.train.quantize.prepare", str(folder), device]
    where: dict[str, Any] = {"cwd": PROJECT, "env": {**os.environ, "PYTHONPATH": python_path()}}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, errors="replace", start_new_session=True, **where
    ) as child:
        limit = threading.Timer(LIMIT_S, child.kill)
        limit.daemon = True
        limit.start()
        try:
            for line in child.stdout or ():
                if line.startswith(RESULT):
                    result = json.loads(line.removeprefix(RESULT))
                    break
                say(line.rstrip())
            else:
                raise TrainingError(
                    f"quantising {folder} to int4 ended with status {child.wait(60)} and no result (it has {LIMIT_S / 3600:g} h at most); "
                    "its output is above"
                )
        finally:
            limit.cancel()
            child.kill()
    if "folder" in result:
        return Path(result["folder"])
    raise _ERRORS.get(result["kind"], TrainingError)(result["wrong"])


def main(folder: Path, device: str) -> int:
    end_with_parent()
    try:
        if device == "cuda":
            print(f"int4 kernel: {check_kernel()}", flush=True)
        target = int4_folder(folder, device, lambda text: print(text, flush=True))
        result = {"folder": str(target)}
    except AzrError as error:
        result = {"kind": type(error).__name__, "wrong": str(error)}
    print(RESULT + json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
