"""Which checkpoint is the best one."""

from __future__ import annotations

import math
from collections.abc import Iterable

from azr.run.protocol import MetricsRecord


def best_checkpoint(
    steps: Iterable[int], records: list[MetricsRecord], metric: str
) -> tuple[int | None, float | None]:
    """The checkpoint with the highest score, the latest of equals; (None, None) where none was scored.

    A checkpoint's score is the latest value of ``metric`` at or before its step, and after the checkpoint
    before it.
    """
    best: tuple[int | None, float | None] = (None, None)
    before = 0
    for step in sorted(steps):
        own = [record.values for record in records if before < record.step <= step]
        score = next((values[metric] for values in reversed(own) if metric in values), math.nan)
        before = step
        if not math.isnan(score) and (best[1] is None or score >= best[1]):
            best = (step, score)
    return best
