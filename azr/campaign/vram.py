"""How much memory of the run's cards is in use, through NVML: no CUDA context, nothing loaded."""

from __future__ import annotations

import time

from azr.system.cards import visible_cards


def used_vram_gib() -> float | None:
    """Memory in use on the cards of this run (the driver hides all others from itself), everybody's; None
    where no card says."""
    used = [gpu.used_gib for gpu in visible_cards().gpus if gpu.total_gib > 0]
    return sum(used) if used else None


def wait_for_vram(before_gib: float | None, *, margin_gib: float, limit_s: float) -> str:
    """Waits until the memory in use is back to what it was before the trainer started.

    Returns:
        empty when it fell (or there is no card); otherwise a sentence with the figures.
    """
    if before_gib is None:
        return ""
    deadline_s = time.monotonic() + limit_s
    while True:
        used = used_vram_gib()
        if used is None or used <= before_gib + margin_gib:
            return ""
        if time.monotonic() >= deadline_s:
            still = f"{limit_s:.0f} s after the trainer ended {used:.1f} GiB of the card are still in use"
            before = f"{before_gib:.1f} GiB were before it started"
            return f"{still}; {before}. Another program may have taken them; `nvidia-smi` shows which."
        time.sleep(0.5)
