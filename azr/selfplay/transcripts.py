"""Outcomes for people: short records for ``transcripts.jsonl``, and what was judged about a row as plain data."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from azr.config.selfplay import SelfPlayConfig
from azr.prompts import solve_prompt
from azr.selfplay.options import prompt_options
from azr.selfplay.outcomes import ProposeOutcome, RowOutcome, SolveOutcome
from azr.selfplay.rows import PromptRow
from azr.tasks import Stream


def summary(outcome: RowOutcome) -> dict[str, Any]:
    """Everything that was judged about a row; equal for equal responses."""
    found: dict[str, Any] = {"reward": outcome.reward, "format_ok": outcome.format_ok}
    if isinstance(outcome, SolveOutcome):
        return found | {"score": outcome.score, "reason": outcome.reason, "solution": outcome.solution}
    found["accuracy"] = outcome.accuracy
    found["rejection"] = outcome.rejection.reason if outcome.rejection else None
    found["task_id"] = outcome.task.task_id if outcome.task else None
    found["outputs"] = list(outcome.task.outputs) if outcome.task else None
    found["samples"] = [[sample.score, sample.reason, sample.reward] for sample in outcome.samples]
    return found


def transcript(step: int, outcome: RowOutcome, prompt: str) -> dict[str, Any]:
    """One row for people: prompt, response and grade."""
    return {
        "step": step,
        "stream": outcome.stream.name,
        "row_id": outcome.row_id,
        **({"task_id": outcome.task_id} if isinstance(outcome, SolveOutcome) else {}),
        "prompt": prompt,
        "response": outcome.completion.text,
        "n_tokens": outcome.completion.n_tokens,
        **summary(outcome),
    }


def transcripts(
    step: int,
    rows: Sequence[PromptRow],
    outcomes: Sequence[RowOutcome],
    config: SelfPlayConfig,
    seed: int,
) -> list[dict[str, Any]]:
    """``transcripts_per_stream`` responses of each stream, drawn by (seed, step); the best of each stream is
    always there.

    Args:
        rows: what was asked.
    """
    rng = np.random.default_rng([seed, 3, step])
    planned = {row.row_id: row for row in rows}
    streams: dict[Stream, list[tuple[RowOutcome, str]]] = defaultdict(list)
    for outcome in sorted(outcomes, key=lambda outcome: outcome.row_id):
        streams[outcome.stream].append((outcome, planned[outcome.row_id].prompt.text))
        if isinstance(outcome, ProposeOutcome) and outcome.solved is not None:
            prompt = _same_step_prompt(planned[outcome.row_id], outcome, config)
            streams[outcome.solved.stream].append((outcome.solved, prompt))

    kept: list[dict[str, Any]] = []
    for _, own in sorted(streams.items()):
        best = max(range(len(own)), key=lambda place: _paid(own[place][0]))
        others = [int(place) for place in rng.permutation(len(own)) if place != best]
        kept += [transcript(step, *own[place]) for place in [best, *others][: config.transcripts_per_stream]]
    return kept


def _paid(outcome: RowOutcome) -> float:
    return -math.inf if outcome.reward is None else outcome.reward


def _same_step_prompt(row: PromptRow, outcome: ProposeOutcome, config: SelfPlayConfig) -> str:
    """What the solution in a propose row was asked: the row's new task, or its fallback."""
    if outcome.solved is not None and outcome.solved.sample and outcome.task is not None:
        return solve_prompt(outcome.task, prompt_options(config)).text
    return row.fallback.prompt.text if row.fallback else ""
