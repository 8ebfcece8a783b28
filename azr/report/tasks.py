"""What the accepted tasks of a run look like: counts, difficulty over time, samples to read. From the cycles'
shards."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from azr.errors import DataError
from azr.report.metrics import FloatArray, IntArray, MetricsTable, read_metrics_table
from azr.run.rundir import RunDir
from azr.system.files import read_jsonl
from azr.tasks import Task

MAX_HEAT_COLUMNS = 48
BINS = (
    ("none", 0.0, 0.0),
    ("1–25 %", 0.0, 0.25),
    ("26–50 %", 0.25, 0.5),
    ("51–75 %", 0.5, 0.75),
    ("76–99 %", 0.75, 0.9999),
    ("all", 0.9999, 1.0),
)
"""Classes of solver accuracy on a task: label, above, up to. The first is exactly 0."""


@dataclass(frozen=True)
class TaskStats:
    """Accepted tasks of the steps that count, in the order they were accepted; arrays have one entry a task."""

    steps: IntArray
    accuracies: FloatArray
    """Share of difficulty samples that solved the task; NaN where it was not measured."""
    by_type: dict[str, int]
    by_cycle: dict[int, int]
    """Cycle -> tasks in its shard, of all steps: the merge takes them all."""
    seeds: int
    """Tasks the run began with, if the first cycle's task file is there."""
    samples: dict[str, tuple[Task, ...]] = field(default_factory=dict)
    """Latest tasks of each type, newest first, of middling difficulty where there are any."""
    undone: int = 0
    """Tasks accepted in steps that do not count: undone by a resume or a rollback, or not finished."""

    @property
    def count(self) -> int:
        """Tasks accepted in self-play, before merges leave copies and leaks out of the pool."""
        return len(self.steps)


def read_task_stats(root: Path, samples: int, table: MetricsTable | None = None) -> TaskStats:
    """Reads all shards once. Damaged records are left out.

    Args:
        table: the run's metrics, where they have been read already.
    """
    run = RunDir(root)
    table = read_metrics_table(run.metrics) if table is None else table
    known = zip(table.steps.tolist(), table.cycles.tolist(), table.attempts.tolist(), strict=True)
    trained_in = {step: (cycle, attempt) for step, cycle, attempt in known}
    undone = 0
    steps: list[int] = []
    accuracies: list[float] = []
    by_type: Counter[str] = Counter()
    by_cycle: Counter[int] = Counter()
    middling: dict[str, deque[dict[str, Any]]] = {}
    extreme: dict[str, deque[dict[str, Any]]] = {}
    for cycle, path in run.in_cycles("shard.jsonl").items():
        for record in read_jsonl(path):
            lineage = record.get("lineage")
            lineage = lineage if isinstance(lineage, dict) else {}
            accuracy, step = lineage.get("accuracy"), lineage.get("step")
            value = float(accuracy) if isinstance(accuracy, (int, float)) else float("nan")
            task_type = record.get("task_type")
            if not isinstance(task_type, str):
                continue
            by_cycle[cycle] += 1
            step = step if isinstance(step, int) else 0
            counted = trained_in.get(step)
            if counted != (cycle, lineage.get("attempt", counted and counted[1])):
                undone += 1
                continue
            steps.append(step)
            accuracies.append(value)
            by_type[task_type] += 1
            kept = middling if 0 < value < 1 else extreme
            kept.setdefault(task_type, deque(maxlen=max(samples, 1))).append(record)
    chosen: dict[str, tuple[Task, ...]] = {}
    for name in sorted(by_type):
        latest = [*reversed(middling.get(name, ())), *reversed(extreme.get(name, ()))][:samples]
        chosen[name] = tuple(task for record in latest if (task := _task(record)) is not None)
    return TaskStats(
        steps=np.array(steps, dtype=np.int64),
        accuracies=np.array(accuracies, dtype=np.float64),
        by_type=dict(by_type),
        by_cycle=dict(by_cycle),
        seeds=sum(1 for _ in read_jsonl(run.cycle_tasks(1))),
        samples=chosen,
        undone=undone,
    )


def _task(record: dict[str, Any]) -> Task | None:
    try:
        return Task.from_json(record)
    except DataError:
        return None


def difficulty_shares(stats: TaskStats) -> tuple[list[tuple[float, float]], list[list[float]]]:
    """Columns of steps, and per column the share of its measured tasks in each class of ``BINS``."""
    known = np.isfinite(stats.accuracies)
    steps, accuracies = stats.steps[known], stats.accuracies[known]
    if not len(steps):
        return [], []
    first, last = int(steps.min()), int(steps.max())
    edges = np.unique(np.linspace(first, last + 1, min(MAX_HEAT_COLUMNS, last - first + 1) + 1).astype(int))
    columns, shares = [], []
    for left, right in itertools.pairwise(edges.tolist()):
        inside = accuracies[(steps >= left) & (steps < right)]
        columns.append((float(left), float(right - 1)))
        shares.append([_share(inside, low, high) for _, low, high in BINS])
    return columns, shares


def _share(values: FloatArray, low: float, high: float) -> float:
    if not len(values):
        return 0.0
    chosen = values <= 0 if high == 0 else (values > low) & (values <= high)
    return float(chosen.mean())
