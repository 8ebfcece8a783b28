"""Which tasks are shown, and which are solved. One generator of random numbers drives
all draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from azr.selfplay.buffer import Record, TaskBuffer
from azr.tasks import Task, TaskType

SELF_PLAY = "selfplay"
"""Lineage of what a proposer wrote; anything else came from outside the game."""
SHARED_SOURCES = ("seed", "identity", "seeding", "user")
"""Sources whose single-pair tasks serve abduction and deduction alike."""
_TRIES_PER_ROW = 8
"""Further uniform draws per missing row before rows are repeated: a bound instead of the published endless
loop."""


@dataclass
class SolveTasks:
    tasks: list[Task] = field(default_factory=list)
    seeds: int = 0
    """How many of them ``seed_share`` brought."""
    repeated: int = 0
    """How many are there once more, because too few fit."""
    dropped: int = 0
    """Draws that the length limit dropped."""


def seed_kinds(task: Task) -> tuple[TaskType, ...]:
    """The task types whose buffers a task from outside the game enters."""
    shared = TaskType.ABDUCTION, TaskType.DEDUCTION
    is_shared = task.lineage.source in SHARED_SOURCES and task.task_type in shared
    return shared if is_shared else (task.task_type,)


def draw_references(buffer: TaskBuffer, count: int, weighting: str, rng: np.random.Generator) -> list[Task]:
    """Up to ``count`` tasks without replacement, uniformly or by recency."""
    uniform = weighting == "uniform"
    records = buffer.draw(count, rng) if uniform else buffer.draw_recent(count, rng, replace=False)
    return [record.task for record in records]


def choose_solve_tasks(
    buffer: TaskBuffer,
    count: int,
    strategy: str,
    step: int,
    rng: np.random.Generator,
    fits: Callable[[Task], bool],
    seed_share: float = 0.0,
) -> SolveTasks:
    """``count`` tasks to solve at ``step`` whose prompts fit; empty only if no drawn task fits at all.

    ``max_new``: the previous step's additions (at step 1: all seeds), up to ``count``, then uniform draws
    from the whole buffer. ``half_new``: the same with at most half of the rows new. ``uniform_total``:
    uniform. ``step``: by recency, with replacement.

    Args:
        seed_share: share of the tasks that are from outside the game, drawn before the strategy has its turn;
            fewer where there are fewer such tasks.
    """
    selection = SolveTasks()
    if not len(buffer):
        return selection

    def fill(records: Iterable[Record], wanted: int) -> None:
        for record in records:
            if len(selection.tasks) == wanted:
                break
            if fits(record.task):
                selection.tasks.append(record.task)
            else:
                selection.dropped += 1

    if wanted_seeds := round(count * seed_share):
        outside = [record for record in buffer if record.task.lineage.source != SELF_PLAY]
        fill((outside[place] for place in rng.permutation(len(outside))), wanted_seeds)
    selection.seeds = len(selection.tasks)
    fill(_candidates(buffer, count, strategy, step, rng), count)

    selection.repeated = count - len(selection.tasks) if selection.tasks else 0
    if selection.repeated:
        places = rng.integers(len(selection.tasks), size=selection.repeated)
        selection.tasks += [selection.tasks[int(place)] for place in places]
    return selection


def _candidates(
    buffer: TaskBuffer, count: int, strategy: str, step: int, rng: np.random.Generator
) -> Iterator[Record]:
    if strategy == "step":
        yield from buffer.draw_recent(count * _TRIES_PER_ROW, rng, replace=True)
        return
    if strategy in ("max_new", "half_new"):
        new = buffer.inserted_since(step - 1)
        most = count if strategy == "max_new" else count // 2
        yield from (new[place] for place in rng.permutation(len(new))[:most])
    # fresh draws from the whole buffer; may repeat what was drawn before, as published
    for _ in range(_TRIES_PER_ROW):
        yield from buffer.draw(count, rng)
