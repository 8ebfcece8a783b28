"""A run's verified tasks as a Hugging Face ``datasets`` folder: one parquet file per task type, and a card.

What is exported is the pool, and what self-play accepted since the last merge, unless it resembles an evaluation item.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azr.config.data import DataConfig
from azr.config.load import read_config
from azr.data.contamination import fingerprint_sources
from azr.data.guard import protected_files
from azr.data.manifest import load_pool, read_manifest
from azr.data.reasons import Reason
from azr.errors import DataError
from azr.evaluate.export_cards import COLUMNS, shown_model, task_card
from azr.run.rundir import RunDir
from azr.system.files import read_jsonl, whole_folder, write_text_atomic
from azr.tasks import Task
from azr.train.base_model import require_base_unchanged
from azr.wording import counted

_ORIGINS = {"seed": "seeds", "user": "of your own files", "selfplay": "of self-play"}


@dataclass(frozen=True)
class RunTasks:
    """What a run has to show, each task once."""

    pool: list[Task]
    unmerged: list[Task]
    """Accepted in self-play since the last merge and like no evaluation item; may hold copies."""
    leaked: int
    """Accepted since the last merge as well, but like an evaluation item, so left out here as the next merge will."""

    @property
    def tasks(self) -> list[Task]:
        return [*self.pool, *self.unmerged]

    @property
    def sentence(self) -> str:
        """``348 tasks: the pool's 348 (320 seeds, 3 of your own files, 25 of self-play)``."""
        counts = Counter(task.lineage.source for task in self.pool)
        parts = [f"{counts[name]} {words}" for name, words in _ORIGINS.items() if counts[name]]
        parts += [f"{count} of {name}" for name, count in sorted(counts.items()) if name not in _ORIGINS]
        text = f"{counted(len(self.tasks), 'task')}: the pool's {len(self.pool)} ({', '.join(parts)})"
        if self.unmerged:
            text += f", and {len(self.unmerged)} accepted in self-play and not merged yet"
        if self.leaked:
            text += f"; {self.leaked} more of the latter left out ({Reason.LEAKED.value})"
        return text


def run_tasks(run: RunDir, config: DataConfig) -> RunTasks:
    """Raises:
    DataError: the run has no whole pool, a record of a shard is malformed, or an evaluation file is missing.
    """
    pool, merged = load_pool(run), read_manifest(run).through_shard
    known = {task.task_id for task in pool}
    found: dict[str, Task] = {}
    for cycle, path in run.in_cycles("shard.jsonl").items():
        if cycle > merged:
            tasks = [Task.from_json(record) for record in read_jsonl(path)]
            found |= {task.task_id: task for task in tasks if task.task_id not in known | found.keys()}
    leaks: dict[str, str] = {}
    if found:
        programs = [task.program for task in found.values()]
        _, leaks = fingerprint_sources(
            programs, protected_files(run, config), config.contamination_similarity, workers=config.workers
        )
    unmerged = [task for task in found.values() if task.program not in leaks]
    return RunTasks(pool, unmerged, len(found) - len(unmerged))


def export_tasks(run: RunDir, target: Path) -> str:
    """Writes the tasks of ``run`` to ``target``, which must not exist and appears whole.

    Returns:
        what was written, in words with the counts.

    Raises:
        DataError: the folder exists, or the run has no tasks.
        ModelError: another model lies where the run's base model lay.
    """
    import pandas

    if target.exists():
        raise DataError(f"{target} exists; give another --out, or remove it")
    config = read_config(run.config_record)
    found = run_tasks(run, config.data)
    identity = require_base_unchanged(run)
    tasks, base = found.tasks, shown_model(identity.model if identity else config.model.path)
    with whole_folder(target) as staging:
        (staging / "data").mkdir()
        for kind in sorted({task.task_type.value for task in tasks}):
            rows = [_row(task) for task in tasks if task.task_type.value == kind]
            pandas.DataFrame(rows, columns=list(COLUMNS)).to_parquet(
                staging / "data" / f"{kind}.parquet", index=False, schema=_schema()
            )
        write_text_atomic(staging / "README.md", task_card(tasks, run.root.name, base))
    return found.sentence


def _row(task: Task) -> dict[str, Any]:
    model, _, step = task.lineage.model.rpartition("@")
    by = f"{shown_model(model)}@{step}" if model else task.lineage.model
    values = {
        **vars(task.lineage),
        **vars(task),
        "task_id": task.task_id,
        "program": task.program,
        "model": by,
    }
    return {name: _storable(values[name]) for name in COLUMNS}


def _storable(value: Any) -> Any:
    """parquet takes UTF-8 only: a lone surrogate that a program holds is written as its escape."""
    if isinstance(value, str):  # a task's type too
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return [_storable(item) for item in value] if isinstance(value, tuple) else value


def _schema() -> Any:
    """The same types in every file, also where all values are null or all lists empty."""
    import pyarrow

    text, whole = pyarrow.string(), pyarrow.int64()
    types = {"inputs": pyarrow.list_(text), "outputs": pyarrow.list_(text), "parents": pyarrow.list_(text)}
    types |= {"accuracy": pyarrow.float64(), "cycle": whole, "step": whole}
    return pyarrow.schema([(name, types.get(name, text)) for name in COLUMNS])
