"""A run's verified tasks as a Hugging Face ``datasets`` folder: one parquet file per task type, and a card."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from azr.config.load import read_config
from azr.errors import DataError
from azr.evaluate.card import COLUMNS, shown_model, task_card
from azr.files import read_jsonl, write_text_atomic
from azr.rundir import RunDir
from azr.tasks import Task


def run_tasks(run: RunDir) -> list[Task]:
    """The pool, and what later cycles accepted that no merge has brought into it yet; each task once, in that order.

    Raises:
        DataError: a record is malformed.
    """
    files = [run.pool_tasks, *sorted((run.root / "cycles").glob("*/shard.jsonl"))]
    found: dict[str, Task] = {}
    for path in files:
        for record in read_jsonl(path):
            task = Task.from_json(record)
            found.setdefault(task.task_id, task)
    return list(found.values())


def export_tasks(run: RunDir, target: Path) -> int:
    """Writes the tasks of ``run`` to ``target``, which must not exist and appears whole.

    Returns:
        the number of tasks.

    Raises:
        DataError: the folder exists, or the run has no tasks.
    """
    import pandas

    if target.exists():
        raise DataError(f"{target} exists; give another --out, or remove it")
    tasks = run_tasks(run)
    if not tasks:
        raise DataError(f"{run.root} has no tasks: neither {run.pool_tasks.name} in its pool nor a shard of a cycle")
    base = shown_model(read_config(run.config).model.path) if run.config.is_file() else "an unknown model"
    staging = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "data").mkdir(parents=True)
    try:
        for kind in sorted({task.task_type.value for task in tasks}):
            rows = [_row(task) for task in tasks if task.task_type.value == kind]
            pandas.DataFrame(rows, columns=list(COLUMNS)).to_parquet(staging / "data" / f"{kind}.parquet", index=False, schema=_schema())
        write_text_atomic(staging / "README.md", task_card(tasks, run.root.name, base))
        os.replace(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return len(tasks)


def _row(task: Task) -> dict[str, Any]:
    lineage = task.lineage
    values = {
        "task_id": task.task_id,
        "task_type": task.task_type.value,
        "program": task.program,
        "inputs": list(task.inputs),
        "outputs": list(task.outputs),
        "message": task.message,
        "accuracy": lineage.accuracy,
        "source": lineage.source,
        "cycle": lineage.cycle,
        "step": lineage.step,
        "model": lineage.model,
        "parents": list(lineage.parents),
    }
    return {name: _storable(value) for name, value in values.items()}


def _storable(value: Any) -> Any:
    """parquet takes UTF-8 only: a lone surrogate that a program holds is written as its escape."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return [_storable(item) for item in value] if isinstance(value, list) else value


def _schema() -> Any:
    """The same types in every file, also where all values are null or all lists empty."""
    import pyarrow

    text, whole = pyarrow.string(), pyarrow.int64()
    types = {"inputs": pyarrow.list_(text), "outputs": pyarrow.list_(text), "parents": pyarrow.list_(text)}
    types |= {"accuracy": pyarrow.float64(), "cycle": whole, "step": whole}
    return pyarrow.schema([(name, types.get(name, text)) for name in COLUMNS])
