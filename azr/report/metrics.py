"""Reads ``metrics.jsonl``: one line per training step, later attempts superseding the steps that a crash undid.

A record is ``{"step", "cycle", "attempt", "unix_s", "values": {name: number}}``. When a trainer resumes from a
checkpoint it goes back to an earlier step; from there on everything that the dead attempt wrote at or after that step
no longer happened, even steps that the new attempt has not reached yet. Damaged lines are passed over.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from azr.run import metric_names as names
from azr.run.protocol import MetricsRecord, MetricsTail

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class MetricsTable:
    """All steps of a run, ascending; ``columns[name]`` has one value a step, NaN where the step did not log it."""

    steps: IntArray
    cycles: IntArray
    attempts: IntArray
    unix_s: FloatArray
    columns: dict[str, FloatArray]
    undone: int = 0
    """Records that a later attempt superseded."""

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def trained(self) -> int:
        """Training steps; a record of step 0 holds what was measured before the first one."""
        return int((self.steps > 0).sum())

    @property
    def last_step(self) -> int:
        """0 before the first."""
        return int(self.steps[-1]) if len(self.steps) else 0

    def through(self, step: int) -> MetricsTable:
        """Without what came after ``step``."""
        count = int(np.searchsorted(self.steps, step, side="right"))
        if count == len(self):
            return self
        return MetricsTable(
            self.steps[:count],
            self.cycles[:count],
            self.attempts[:count],
            self.unix_s[:count],
            {name: column[:count] for name, column in self.columns.items()},
            self.undone,
        )

    def column(self, name: str) -> FloatArray:
        """The column, or all NaN if the run never logged it."""
        values = self.columns.get(name)
        return values if values is not None else np.full(len(self.steps), np.nan)

    def known(self, name: str) -> FloatArray:
        """The finite values of the column."""
        values = self.column(name)
        return values[np.isfinite(values)]

    def has(self, name: str) -> bool:
        return len(self.known(name)) > 0

    def last(self, name: str) -> float | None:
        """The latest finite value, or None."""
        return self.tail_mean(name, 1)

    def tail_mean(self, name: str, count: int) -> float | None:
        """Mean of the last ``count`` finite values, or None."""
        latest = self.known(name)[-count:]
        return float(latest.mean()) if len(latest) else None

    def total(self, name: str) -> float:
        return float(np.nansum(self.column(name)))

    def seconds_by_phase(self) -> dict[str, FloatArray]:
        """What each phase took, step by step: those inside a step, what they leave of it, those between steps."""

        def seconds(phase: str) -> FloatArray:
            return np.nan_to_num(self.column(names.seconds(phase)))

        inside = {phase: seconds(phase) for phase in names.PHASES}
        whole = np.nan_to_num(self.column(names.STEP_SECONDS))
        other = np.maximum(whole - np.sum(list(inside.values()), axis=0), 0.0)
        return inside | {"other": other} | {phase: seconds(phase) for phase in names.PHASES_BETWEEN}

    def with_prefix(self, prefix: str) -> list[str]:
        return sorted(name for name in self.columns if name.startswith(prefix))


class MetricsReader:
    """Follows a growing ``metrics.jsonl``: each ``poll`` reads only what was added since the last one.

    Rows are kept as columns that grow, so that a step more of a run of 20,000 costs a copy of the columns and
    no second reading.
    """

    def __init__(self, path: Path) -> None:
        self._tail = MetricsTail(path)
        self._forget()

    def _forget(self) -> None:
        self._undone = 0
        self._table: MetricsTable | None = None
        self._steps: list[int] = []
        self._cycles: list[int] = []
        self._attempts: list[int] = []
        self._unix_s: array[float] = array("d")
        self._columns: dict[str, array[float]] = {}
        """Shorter than the others where a name was not logged lately; what is missing in between is NaN."""

    def poll(self) -> MetricsTable:
        """The table as of now. A torn last line is left for the next poll; a file that shrank is read again."""
        before = self._tail.offset
        records = list(self._tail.new_records())
        if self._tail.offset < before:
            self._forget()
        for record in records:
            self._add(record)
        if records or self._table is None:
            self._table = self._build()
        return self._table

    def _add(self, record: MetricsRecord) -> None:
        kept = len(self._steps)
        while kept and self._steps[kept - 1] >= record.step:
            kept -= 1
        if kept < len(self._steps):
            self._undone += len(self._steps) - kept
            for column in (self._steps, self._cycles, self._attempts, self._unix_s, *self._columns.values()):
                del column[kept:]
        self._steps.append(record.step)
        self._cycles.append(record.cycle)
        self._attempts.append(record.attempt)
        self._unix_s.append(record.unix_s)
        for name, value in record.values.items():
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = array("d")
            if len(column) < kept:
                column.extend([math.nan] * (kept - len(column)))
            column.append(value)

    def _build(self) -> MetricsTable:
        count = len(self._steps)
        columns: dict[str, FloatArray] = {}
        for name, known in self._columns.items():
            if known:
                column = columns[name] = np.full(count, np.nan)
                column[: len(known)] = known
        return MetricsTable(
            steps=np.array(self._steps, dtype=np.int64),
            cycles=np.array(self._cycles, dtype=np.int64),
            attempts=np.array(self._attempts, dtype=np.int64),
            unix_s=np.array(self._unix_s, dtype=np.float64),
            columns=columns,
            undone=self._undone,
        )


def read_metrics_table(path: Path) -> MetricsTable:
    return MetricsReader(path).poll()
