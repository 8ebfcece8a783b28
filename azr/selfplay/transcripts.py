"""Outcomes for people: short records for ``transcripts.jsonl``, and the verdicts of a row as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from azr.selfplay.episode import ProposeOutcome, SolveOutcome


def summary(outcome: ProposeOutcome | SolveOutcome) -> dict[str, Any]:
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


def transcript(step: int, outcome: ProposeOutcome | SolveOutcome, prompt: str) -> dict[str, Any]:
    """One row for people: prompt, response and verdict."""
    return {
        "step": step,
        "stream": outcome.stream.name,
        "row_id": outcome.row_id,
        "prompt": prompt,
        "response": outcome.completion.text,
        "n_tokens": outcome.completion.n_tokens,
        **summary(outcome),
    }


def transcripts(
    step: int, outcomes: Sequence[ProposeOutcome | SolveOutcome], prompts: dict[str, str], per_stream: int, seed: int
) -> list[dict[str, Any]]:
    """A few rows of each stream, drawn by (seed, step); the best of each stream is always there.

    Args:
        prompts: prompt text by row id.
    """
    rng = np.random.default_rng([seed, 3, step])
    kept: list[dict[str, Any]] = []
    for stream in sorted({outcome.stream for outcome in outcomes}):
        own = sorted((outcome for outcome in outcomes if outcome.stream == stream), key=lambda outcome: outcome.row_id)
        best = max(range(len(own)), key=lambda place: own[place].reward)
        others = [int(place) for place in rng.permutation(len(own)) if place != best]
        kept += [transcript(step, own[place], prompts.get(own[place].row_id, "")) for place in [best, *others][:per_stream]]
    return kept
