"""Which scores of a run can be compared: those whose answers were asked for in one way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from azr.run.protocol import MetricsRecord
from azr.run.records import Incident

Place = tuple[int, int]
"""Cycle and attempt. Unlike a step, which may be trained again, an attempt is before a change or after it."""
READ_BY = ("strict_format", "format_reward", "bool_equals_int", "int_equals_float", "induction_reward")
"""Settings of selfplay that decide how answers in a frame are read and judged."""
ASKED_BY = ("rollout.max_response_tokens", "rollout.dtype", *(f"selfplay.{key}" for key in READ_BY), "frame")
"""Settings after whose change the same weights score otherwise; ``frame``: the files of the prompt frame."""


def asked_otherwise(incidents: Iterable[Incident]) -> dict[Place, str]:
    """What made the same weights answer otherwise: the last attempt before the change -> ``KEY BEFORE -> NOW``. Scores of
    attempts up to it say nothing about those after it."""
    return {(item.cycle, item.attempt): item.asked_otherwise for item in incidents if item.asked_otherwise}


def asked_alike(records: Sequence[MetricsRecord], changes: Mapping[Place, str]) -> list[MetricsRecord]:
    """The records since the latest change."""
    since = max(changes, default=(0, 0))
    return [record for record in records if (record.cycle, record.attempt) > since]
