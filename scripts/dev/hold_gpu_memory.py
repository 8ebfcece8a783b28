"""Holds a GPU's memory so that only so much is left: a large card plays a small one.

    python scripts/dev/hold_gpu_memory.py --leave 16 [--gpu 0] &     prints "holding ..." when it does; ends when killed
    with held(16): ...                                           the same around a block, from other scripts

--gpu counts the cards that a run can use, the largest first: 0 is the one that a run takes. The line that is
printed names it. What is left includes everything that other processes take, CUDA contexts too, as on a real
card of that size.
"""

from __future__ import annotations

import _project

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

from azr.errors import AzrError, ConfigError
from azr.system.hardware import Device, detect

START_TIMEOUT_S = 60.0


def hold(leave_gib: float, gpu: int) -> None:
    """Takes all but ``leave_gib`` of a card and sleeps for good.

    Raises:
        ConfigError: there is no such card.
    """
    machine = detect()
    if not 0 <= gpu < len(machine.cards):
        there = (
            ", ".join(f"{index}: {card}" for index, card in enumerate(machine.cards))
            or f"none ({machine.why_no_card})"
        )
        raise ConfigError(f"--gpu {gpu}: there is no such card; the cards that a run can use are {there}")
    card = machine.cards[gpu]
    Device("cuda", (card,), 1).take()

    import torch

    torch.cuda.init()
    torch.zeros(1, device="cuda")
    free, total = torch.cuda.mem_get_info()
    take = free - int(leave_gib * 2**30)
    if take <= 0:
        print(
            f"nothing to hold on {card}: {free / 2**30:.1f} GiB are free, {leave_gib:g} shall be left",
            flush=True,
        )
    else:
        block = torch.empty(take, dtype=torch.uint8, device="cuda")
        left = torch.cuda.mem_get_info()[0] / 2**30
        print(
            f"holding {card}: {block.numel() / 2**30:.1f} of {total / 2**30:.1f} GiB; {left:.2f} GiB are left",
            flush=True,
        )
    while True:
        time.sleep(3600)


@contextlib.contextmanager
def held(leave_gib: float, gpu: int = 0) -> Iterator[str]:
    """Holds memory in a child process around a block; yields the line it printed.

    Raises:
        RuntimeError: the child could not take the memory.
    """
    command = [sys.executable, __file__, "--leave", str(leave_gib), "--gpu", str(gpu)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        line = child.stdout.readline().strip()
        if not line:
            raise RuntimeError("the process that should hold GPU memory ended; its error stands above")
        yield line
    finally:
        child.kill()
        child.wait(timeout=START_TIMEOUT_S)


def main() -> None:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("--leave", type=float, default=16.0, metavar="GIB")
    parser.add_argument("--gpu", type=int, default=0)
    options = parser.parse_args()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            hold(options.leave, options.gpu)
    except AzrError as error:
        sys.exit(f"hold_gpu_memory: {error}")


if __name__ == "__main__":
    main()
