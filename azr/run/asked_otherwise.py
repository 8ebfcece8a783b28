"""Which scores of a run can be compared: those whose answers were asked for in one way, after training of one kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from azr.config.sandbox import Limits
from azr.run.protocol import MetricsRecord
from azr.run.records import Incident

Place = tuple[int, int]
"""Cycle and attempt. Unlike a step, which may be trained again, an attempt is before a change or after it."""
READ_BY = ("strict_format", "format_reward", "bool_equals_int", "int_equals_float", "induction_reward")
"""Settings of selfplay that decide how answers in a frame are read and judged."""
RUN_WITHIN = tuple(f"sandbox.limits.{limit.name}" for limit in fields(Limits))
"""Of the program that an answer is, or is an input of: beyond them it is wrong."""
_READ_BY = tuple(f"selfplay.{key}" for key in READ_BY)
ASKED_BY = ("rollout.max_response_tokens", "rollout.dtype", *_READ_BY, *RUN_WITHIN, "frame")
"""Settings after whose change the same weights score otherwise; ``frame``: the files of the prompt frame."""


def asked_otherwise(incidents: Iterable[Incident]) -> dict[Place, str]:
    """What made the same weights answer otherwise: the last attempt before the change -> ``KEY BEFORE -> NOW``. Scores of
    attempts up to it say nothing about those after it."""
    return {(item.cycle, item.attempt): item.asked_otherwise for item in incidents if item.asked_otherwise}


def asked_alike(records: Sequence[MetricsRecord], changes: Mapping[Place, str]) -> list[MetricsRecord]:
    """The records since the latest change."""
    since = max(changes, default=(0, 0))
    return [record for record in records if (record.cycle, record.attempt) > since]


def trained_under(
    steps: Iterable[Place], incidents: Iterable[Incident], now: str, key: str = "train.control"
) -> dict[str, int]:
    """How many of the steps, each given by its place, were trained under each value of a setting.

    Args:
        now: what the run's configuration has; the log of changes says what it had earlier.
    """
    before = re.compile(rf"\b{re.escape(key)} (\[.*?\]|\S+) -> ")
    changes = [
        ((item.cycle, item.attempt), found[1])
        for item in incidents
        if item.kind == "settings" and (found := before.search(item.cause))
    ]
    return dict(Counter(next((value for last, value in changes if place <= last), now) for place in steps))


def control_words(under: Mapping[str, int]) -> str:
    """What figures mean after steps ``under`` (``trained_under``) controls; empty where there was none."""
    controls = {control: steps for control, steps in under.items() if control != "none"}
    if len(under) == len(controls) == 1:
        return f"A control experiment (train.control={min(controls)}): it means something only beside a run without it."
    parts = " and ".join(
        f"{steps:,} {'was' if steps == 1 else 'were'} trained under train.control={control}"
        for control, steps in controls.items()
    )
    told = "so its figures are neither those of the full game nor those of a control"
    return f"Of the {sum(under.values()):,} steps, {parts}, {told}." if parts else ""


def solver_alone_words(alone: int, steps: int) -> str:
    """What was trained in ``steps``, of which so many asked for no proposals; empty where all of them did, or none."""
    if not 0 < alone < steps:
        return ""
    return (
        f"Of the {steps:,} steps, {alone:,} trained the solver alone, without proposals (selfplay.train_propose=false, or "
        "selfplay.solve_only_steps)."
    )
