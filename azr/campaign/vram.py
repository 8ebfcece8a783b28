"""How much memory of the cards is in use, through NVML: no CUDA context, nothing loaded."""

from __future__ import annotations

import time
from typing import Any

from azr.hardware import visible_indices

GIB = 2**30


def used_vram_gib() -> float | None:
    """Memory in use on all visible cards, everybody's; None without NVML or a card."""
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in visible_indices(nvml.nvmlDeviceGetCount())]
        return sum(int(nvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in handles) / GIB
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


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
            return (
                f"{limit_s:.0f} s after the trainer ended {used:.1f} GiB of the card are still in use; {before_gib:.1f} GiB were before it "
                f"started. Another program may have taken them; `nvidia-smi` shows which."
            )
        time.sleep(0.5)


def _nvml() -> Any:
    """The initialised ``pynvml`` module, or None."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
