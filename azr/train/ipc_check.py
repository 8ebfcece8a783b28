"""Does CUDA IPC work here? One process puts a tensor on the card, another reads it in place and changes it.

    python -m azr.train.ipc_check        exit status 0: works. 1: does not. 2: no GPU

verl sends weights from trainer to engine this way.
"""

from __future__ import annotations

import queue
import sys
from typing import Any

ANSWER_TIMEOUT_S = 60.0


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
