"""Converts a file of MBPP- or HumanEval-like problems to tasks: azr convert-problems PROBLEMS TASKS.jsonl

Each assertion of the form ``assert name(literals) == literal`` becomes an input with its output, and the
function is called f. Nothing is run here: a run executes every task in the sandbox before it takes it. Never
train on what you evaluate on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from azr.cli import command_parser, place_to_write
from azr.config.paths import at_home
from azr.data.problems import tasks_of_problem
from azr.data.readers import read_rows
from azr.errors import DataError
from azr.system.files import write_jsonl_atomic
from azr.wording import counted

SHOWN = 10


def convert_problems(problems: Path, target: Path) -> str:
    """Returns:
        what was made and what was left out, in lines.

    Raises:
        DataError: the file cannot be read, gives no task, or ``target`` exists.
    """
    if target.exists():
        raise DataError(f"{target} exists; give another name")
    tasks: list[dict[str, Any]] = []
    left: list[str] = []
    others: list[str] = []
    rows = 0
    for row in read_rows(problems):
        rows += 1
        try:
            if row.record is None:
                raise DataError(row.problem)
            tasks += tasks_of_problem(row.record, others)
        except DataError as error:
            left.append(f"{row.place}: {error}")
    lines = [f"  {line}" for line in left[:SHOWN]] + (
        [f"  {len(left) - SHOWN} more"] if len(left) > SHOWN else []
    )
    if not tasks:
        raise DataError("\n".join([f"{problems} yields no tasks from {counted(rows, 'row')}", *lines]))
    write_jsonl_atomic(target, tasks)
    if others:
        lines.append(
            f"  {counted(len(others), 'assertion')} of another form {'was' if len(others) == 1 else 'were'} passed over, "
            f"the first: {others[0][:80]}"
        )
    kinds = Counter("induction" if "inputs" in task else "input and output" for task in tasks)
    made = ", ".join(f"{count} of {kind}" for kind, count in kinds.items())
    return "\n".join(
        [
            f"{target}: {counted(len(tasks), 'record')} ({made}) from {rows - len(left)} of {counted(rows, 'problem')}",
            *lines,
        ]
    )


def main(words: Sequence[str]) -> int:
    parser = command_parser("convert-problems", __doc__)
    parser.add_argument("problems", type=at_home, help="JSON Lines, JSON, CSV or parquet")
    parser.add_argument("tasks", type=place_to_write, help="file to write")
    arguments = parser.parse_args(words)
    print(convert_problems(arguments.problems, arguments.tasks))
    return 0
