"""Does CUDA IPC work here? One process puts a tensor on the card, another reads it in place and changes it.

    python -m azr.train.ipc_check        exit status 0: works. 1: does not. 2: no GPU

verl sends weights from trainer to engine this way, and takes for granted that it works.
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
from typing import Any

from azr.system.children import run_captured

ANSWER_TIMEOUT_S = 60.0
CHECK_TIMEOUT_S = 180.0
SHARED_MEMORY_PLATFORM = "nvidia_shm"

logger = logging.getLogger(__name__)


def choose_weight_path(is_wsl: bool) -> None:
    """Sets ``VERL_PLATFORM`` so that weights go through shared memory where CUDA IPC may not work (WSL2) and does not.

    The check starts two processes on the card and takes some seconds; elsewhere than on WSL2 it is left to the doctor.
    """
    if not is_wsl or os.environ.get("VERL_PLATFORM"):
        return
    command = [sys.executable, "-m", "azr.train.ipc_check"]
    try:
        answer = run_captured(command, CHECK_TIMEOUT_S)
        works, said = answer.returncode == 0, (answer.stdout + answer.stderr).strip()[-200:]
    except subprocess.TimeoutExpired:
        works, said = False, f"no answer within {CHECK_TIMEOUT_S:g} s"
    if not works:
        logger.warning("%s; weights go to the engine through shared memory", said)
        os.environ["VERL_PLATFORM"] = SHARED_MEMORY_PLATFORM


def _reader(tensors: Any, answers: Any) -> None:
    try:
        tensor = tensors.get(timeout=ANSWER_TIMEOUT_S)
        total = float(tensor.sum())
        tensor.add_(1)
        del tensor
        answers.put(total)
    except (RuntimeError, OSError, queue.Empty) as error:
        answers.put(f"{type(error).__name__}: {error}")


def main() -> int:
    import torch
    import torch.multiprocessing as multiprocessing

    if not torch.cuda.is_available():
        print("no GPU")
        return 2
    context = multiprocessing.get_context("spawn")
    tensors, answers = context.Queue(), context.Queue()
    child = context.Process(target=_reader, args=(tensors, answers), daemon=True)
    child.start()
    try:
        shared = torch.ones(1 << 20, device="cuda")
        tensors.put(shared)
        answer = answers.get(timeout=ANSWER_TIMEOUT_S)
        torch.cuda.synchronize()
        child.join(timeout=10)
        works = answer == float(shared.numel()) and float(shared.sum()) == 2.0 * shared.numel()
        print("CUDA IPC works" if works else f"CUDA IPC does not work: {answer}")
        return 0 if works else 1
    except (RuntimeError, OSError, queue.Empty) as error:
        print(f"CUDA IPC does not work: {type(error).__name__}: {error}")
        return 1
    finally:
        child.kill()


if __name__ == "__main__":
    sys.exit(main())
