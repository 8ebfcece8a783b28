"""Which checkpoint is the best one."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from azr.run.asked_otherwise import Place
from azr.run.protocol import MetricsRecord


def best_checkpoint(
    steps: Iterable[int], records: list[MetricsRecord], metric: str, changes: Collection[Place] = ()
) -> tuple[int | None, float | None]:
    """The checkpoint with the highest score, the latest of equals; (None, None) where none was scored. A score after one
    of ``changes`` (``azr.run.asked_otherwise``) is not compared with one before it, and takes its place.

    A checkpoint's score is the latest value of ``metric`` at or before its step, and after the checkpoint
    before it.
    """
    best: tuple[int | None, float | None] = (None, None)
    place, before = (0, 0), 0
    for step in sorted(steps):
        own = [record for record in records if before < record.step <= step and metric in record.values]
        before = step
        if not own or math.isnan(score := own[-1].values[metric]):
            continue
        now = (own[-1].cycle, own[-1].attempt)
        if best[1] is None or score >= best[1] or any(place <= change < now for change in changes):
            best, place = (step, score), now
    return best
