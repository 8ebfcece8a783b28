"""Tasks and runs for the tests of azr.data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from azr.config.data import DataConfig, Reexecute
from azr.run.rundir import RunDir
from azr.tasks import Lineage, Task, TaskType

LONG = """def f(items, n):
    total = n
    seen = {}
    for index, item in enumerate(items):
        if item % 3 == 0:
            total += item * index
        else:
            seen[item] = seen.get(item, 0) + 1
    for key in sorted(seen):
        total -= key * seen[key]
    return total, len(seen)
"""
"""A program long enough for the near-duplicate search."""


def task(
    code: str = "def f(x):\n    return x + 1", argument: str = "1", output: str = "2", **lineage: Any
) -> Task:
    return Task(
        task_type=TaskType.DEDUCTION,
        code=code,
        inputs=(argument,),
        outputs=(output,),
        lineage=Lineage(**lineage),
    )


def numbered(number: int, **lineage: Any) -> Task:
    """Short tasks that differ from each other by more than names."""
    return task(
        f"def f(x):\n    return x * {number} + {number % 7}",
        str(number),
        str(number * number + number % 7),
        **lineage,
    )


def write_tasks(path: Path, tasks: Iterable[Task | dict[str, Any]], tail: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    records = (item.to_json() if isinstance(item, Task) else item for item in tasks)
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + tail, encoding="utf-8")
    return path


def quiet(**changes: Any) -> DataConfig:
    """Nothing from the shipped files, nothing executed, unless asked for."""
    values: dict[str, Any] = {
        "seeds": "identity",
        "probe_files": [],
        "reexecute": Reexecute.NEVER,
        "behavioural_duplicates": False,
    }
    return DataConfig(**(values | changes))


def files_of(run: RunDir) -> dict[str, bytes]:
    """Every file of the run but the reports, which hold the seconds taken."""
    timed = ("consolidation.json", "merge.json")
    return {
        str(path.relative_to(run.root)): path.read_bytes()
        for path in sorted(run.root.rglob("*"))
        if path.is_file() and path.name not in timed
    }
