"""Which checkpoint is the best one."""

from __future__ import annotations

from collections.abc import Iterable

from azr.protocol import MetricsRecord


def best_checkpoint(
    steps: Iterable[int], records: list[MetricsRecord], metric: str
) -> tuple[int | None, float | None]:
    """The checkpoint with the highest score, the latest of equals; (None, None) where none was scored.

    A checkpoint's score is the latest value of ``metric`` at or before its step, and after the checkpoint
    before it.
    """
    best: tuple[int | None, float | None] = (None, None)
    if not metric:
        return best
    before = 0
    for step in sorted(steps):
        scores = [
            item.values[metric] for item in records if before < item.step <= step and metric in item.values
        ]
        before = step
        if scores and scores[-1] == scores[-1] and (best[1] is None or scores[-1] >= best[1]):
            best = (step, scores[-1])
    return best
