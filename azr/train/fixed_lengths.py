"""Rows of fixed lengths, for benchmarks: what is generated and trained is known beforehand, whatever the model can do.

A row keeps its place in the step (a propose row is followed by its difficulty samples, which share one prompt), but its
prompt is tokens of that length drawn from its own name, responses end at theirs and nowhere else, nothing is executed,
and grades are drawn as well. Lengths vary evenly by half around their mean, by row, so that packing has work to do.

With ``rollout.fixed_group`` each row is instead a group: so many responses to one prompt, every length exactly
its mean. That is the work of other trainers' steps (``scripts/dev/bench_peers.py``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from azr.config import Config
from azr.selfplay.outcomes import Completion, ProposeOutcome, RowOutcome, SolveOutcome, trained_outcomes
from azr.selfplay.rows import PromptRow
from azr.tasks import Rejection, Role, Stream

GenerateOne = Callable[[list[int], dict[str, Any]], Awaitable[Completion]]


def length_around(mean: int, draw: random.Random) -> int:
    """Between half and one and a half times the mean, at least 1."""
    return max(1, draw.randint(mean - mean // 2, mean + mean // 2))


def drawn_prompt(name: str, length: int) -> list[int]:
    """Tokens below 256, which every tokenizer has; no two names share a beginning, so the prefix cache helps
    only where a prompt is asked several times."""
    draw = random.Random(f"prompt of {name}")
    return [draw.randrange(1, 256) for _ in range(length)]


async def play_fixed_lengths(
    row: PromptRow, config: Config, sampling_params: dict[str, Any], generate_one: GenerateOne
) -> list[RowOutcome]:
    """Plays a row by its lengths alone; a proposal is followed by ``selfplay.difficulty_samples`` of one
    further prompt.

    Returns:
        The responses to train on, the row's own last: with ``selfplay.train_on_samples`` also its samples,
        with ``rollout.fixed_group`` the whole group.
    """
    draw = random.Random(row.row_id)
    rollout, group = config.rollout, config.rollout.fixed_group

    def length(mean: int) -> int:
        return mean if group else length_around(mean, draw)

    async def respond(name: str, count: int) -> list[Completion]:
        prompt = drawn_prompt(name, length(rollout.fixed_prompt_tokens))
        shared = {**sampling_params, "ignore_eos": True}
        lengths = [length(rollout.fixed_response_tokens) for _ in range(count)]
        each = [{**shared, "min_tokens": tokens, "max_tokens": tokens} for tokens in lengths]
        return list(await asyncio.gather(*(generate_one(prompt, params) for params in each)))

    def solution(completion: Completion, task_id: str, *, sample: bool = False) -> SolveOutcome:
        return SolveOutcome(
            stream=Stream(Role.SOLVE, row.stream.task_type),
            row_id=row.row_id,
            prompt=row.prompt,
            completion=completion,
            format_ok=True,
            task_id=task_id,
            solution="",
            score=draw.choice((0.0, 0.5, 1.0)),
            reason="wrong",
            sample=sample,
        )

    if group:  # named after the row: two rows of one task are two groups
        *others, own = await respond(row.row_id, group)
        return [*(solution(each, row.row_id, sample=True) for each in others), solution(own, row.row_id)]
    [completion] = await respond(row.row_id, 1)
    if row.stream.role is Role.SOLVE:
        return [solution(completion, row.task.task_id if row.task else "")]
    answers = await respond(f"samples of {row.row_id}", config.selfplay.difficulty_samples)
    samples = tuple(solution(each, row.row_id, sample=True) for each in answers)
    accuracy = draw.random()
    outcome = ProposeOutcome(
        stream=row.stream,
        row_id=row.row_id,
        prompt=row.prompt,
        completion=completion,
        format_ok=True,
        task=None,
        rejection=Rejection("filtered"),
        accuracy=accuracy,
        learnability=1 - accuracy,
        samples=samples,
        wanted_samples=len(samples),
    )
    return trained_outcomes(outcome, config.selfplay)
