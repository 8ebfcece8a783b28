#!/usr/bin/env python
"""Did a run's new tasks drift into one kind of exercise? For runs from before ``data/repetition`` was recorded, or in
finer parts.

    python scripts/dev/repetition_study.py RUN/cycles/001/shard.jsonl [--parts 8] [--word "dp\\b"]

Tasks whose program was proposed with them, in their order, in parts of equal size: the share of the 256 programs before a
task that it resembles (``azr.selfplay.repetition``), and the share whose program holds a word.
"""

from __future__ import annotations

import _project

import re
import sys
from itertools import pairwise
from pathlib import Path

from azr.selfplay.repetition import WINDOW, own_program, repetition
from azr.system.files import read_jsonl
from azr.tasks import Task, TaskType


def main(arguments: list[str] | None = None) -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("shard", type=Path)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--word", default=r"\bdp\b", help="regular expression")
    args = parser.parse_args(arguments)
    tasks = [Task.from_json(row) for row in read_jsonl(args.shard)]
    programs = [own_program(task) for task in tasks if task.task_type is not TaskType.INDUCTION]
    if len(programs) <= WINDOW + args.parts:
        print(
            f"{args.shard} has {len(programs)} programs; more than {WINDOW + args.parts} are needed",
            file=sys.stderr,
        )
        return 2

    edges = [WINDOW + (len(programs) - WINDOW) * part // args.parts for part in range(args.parts + 1)]
    print(f"{'programs':>13}  resembles  {args.word}")
    for begin, end in pairwise(edges):
        alike = [repetition(programs[at], programs[at - WINDOW : at]) for at in range(begin, end)]
        named = [bool(re.search(args.word, program)) for program in programs[begin:end]]
        print(f"{begin + 1:>5} to {end:>5}  {sum(alike) / len(alike):9.1%}  {sum(named) / len(named):.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
