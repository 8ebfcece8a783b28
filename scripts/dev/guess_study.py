#!/usr/bin/env python
"""Did a run's abduction tasks decay into a guessing game? For runs from before ``data/guessable`` was recorded, or in
finer parts.

    python scripts/dev/guess_study.py RUN/cycles/001/shard.jsonl [SHARD ...] [--parts 8]

A shard's abduction tasks in their order, in parts of equal size: the share that is solved by the most frequent input of
the 256 abduction tasks before them in the shard, by one of the three and of the ten most frequent
(``azr.selfplay.guessing``, of as many arguments as the task's own); different inputs among the tasks; their most common
input and its share. Programs run in the sandbox.
"""

from __future__ import annotations

import _project

import asyncio
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

from azr.config.selfplay import SelfPlayConfig
from azr.sandbox import Sandbox
from azr.selfplay.guessing import guesses, solving_guesses, typical_inputs
from azr.selfplay.repetition import WINDOW
from azr.system.files import read_jsonl
from azr.tasks import Task, TaskType

MOST = 10
AT_A_TIME = 8


async def first_hits(tasks: list[Task], sandbox: Sandbox) -> list[int]:
    """[tasks] the place of the first guess that solves a task, from 0; ``MOST`` where none of them does."""
    gate = asyncio.Semaphore(AT_A_TIME)
    config = SelfPlayConfig()

    async def first_hit(at: int) -> int:
        async with gate:
            typical = typical_inputs((each.inputs[0] for each in tasks[max(0, at - WINDOW) : at]), MOST)
            tried = guesses(tasks[at].inputs[0], typical)
            solving = await solving_guesses(tasks[at], tried, sandbox, config)
            return tried.index(solving[0]) if solving else MOST

    return list(await asyncio.gather(*map(first_hit, range(len(tasks)))))


def print_shard(path: Path, tasks: list[Task], parts: int, sandbox: Sandbox) -> None:
    hits = asyncio.run(first_hits(tasks, sandbox))
    edges = [len(tasks) * part // parts for part in range(parts + 1)]
    print(f"{path}\n{'tasks':>13}  first  of three  of ten  distinct  most common")
    for begin, end in pairwise(edges):
        shares = [sum(hit < most for hit in hits[begin:end]) / (end - begin) for most in (1, 3, MOST)]
        inputs = Counter(task.inputs[0] for task in tasks[begin:end])
        [(text, count)] = inputs.most_common(1)
        print(
            f"{begin + 1:>5} to {end:>5}  {shares[0]:5.1%}  {shares[1]:8.1%}  {shares[2]:6.1%}  {len(inputs):8}  "
            f"{text} ({count / (end - begin):.1%})"
        )


def main(arguments: list[str] | None = None) -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("shards", type=Path, nargs="+", metavar="SHARD")
    parser.add_argument("--parts", type=int, default=8)
    args = parser.parse_args(arguments)
    with Sandbox() as sandbox:
        for path in args.shards:
            tasks = [Task.from_json(row) for row in read_jsonl(path)]
            tasks = [task for task in tasks if task.task_type is TaskType.ABDUCTION]
            if len(tasks) < args.parts:
                print(f"{path} has {len(tasks)} abduction tasks, fewer than parts", file=sys.stderr)
                return 2
            print_shard(path, tasks, args.parts, sandbox)
    return 0


if __name__ == "__main__":
    sys.exit(main())
