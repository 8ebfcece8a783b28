"""Rows of fixed lengths, for benchmarks: what is generated and trained is known beforehand, whatever the
model can do.

A row keeps its place in the step (a propose row is followed by its difficulty samples, which share one
prompt), but its prompt is tokens of that length drawn from its own, responses end at theirs and nowhere else,
nothing is executed, and grades are drawn from the row's name. Lengths vary evenly by half around their mean,
by row, so that packing has work to do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from azr.config import Config
from azr.selfplay.episode import Completion, ProposeOutcome, SolveOutcome
from azr.selfplay.rows import PromptRow
from azr.tasks import Rejection, Role

GenerateOne = Callable[[list[int], dict[str, Any]], Awaitable[Completion]]


def length_around(mean: int, draw: random.Random) -> int:
    """Between half and one and a half times the mean, at least 1."""
    return max(1, draw.randint(mean - mean // 2, mean + mean // 2))


async def play_fixed_lengths(
    row: PromptRow,
    config: Config,
    prompt_ids: list[int],
    sampling_params: dict[str, Any],
    generate_one: GenerateOne,
) -> ProposeOutcome | SolveOutcome:
    """Plays a row by its lengths alone; a proposal is followed by ``selfplay.difficulty_samples`` of one
    further prompt."""
    draw = random.Random(row.row_id)

    async def respond(prompt: list[int], count: int) -> list[Completion]:
        lengths = [length_around(config.rollout.fixed_response_tokens, draw) for _ in range(count)]
        each = [
            {**sampling_params, "ignore_eos": True, "min_tokens": length, "max_tokens": length}
            for length in lengths
        ]
        return list(await asyncio.gather(*(generate_one(prompt, params) for params in each)))

    def prompt() -> list[int]:
        """Tokens of the row's own prompt in random order: no two rows share a beginning, so the prefix cache
        helps only samples."""
        return draw.choices(prompt_ids, k=length_around(config.rollout.fixed_prompt_tokens, draw))

    [completion] = await respond(prompt(), 1)
    common: dict[str, Any] = {
        "stream": row.stream, "row_id": row.row_id, "prompt": row.prompt, "completion": completion, "format_ok": True,
    }  # fmt: skip
    if row.stream.role is Role.SOLVE:
        task_id = row.task.task_id if row.task else ""
        score = draw.choice((0.0, 0.5, 1.0))
        return SolveOutcome(**common, task_id=task_id, solution="", score=score, reason="wrong")
    samples = await respond(prompt(), config.selfplay.difficulty_samples)
    accuracy = draw.random()
    return ProposeOutcome(
        **common,
        task=None,
        rejection=Rejection("filtered"),
        accuracy=accuracy,
        learnability=1 - accuracy,
        wanted_samples=len(samples),
    )
