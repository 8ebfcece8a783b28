"""Reads ``metrics.jsonl``: one line per training step, later attempts superseding the steps that a crash undid.

A record is ``{"step", "cycle", "attempt", "unix_s", "values": {name: number}}``. When a trainer resumes from a checkpoint
it goes back to an earlier step; from there on everything that the dead attempt wrote at or after that step no longer
happened, even steps that the new attempt has not reached yet. Read more leniently than in ``azr.protocol``, because a report
has to come out of old and damaged runs too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azr.protocol import MetricsRecord

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

    def column(self, name: str) -> FloatArray:
        """The column, or all NaN if the run never logged it."""
        values = self.columns.get(name)
        return values if values is not None else np.full(len(self.steps), np.nan)

    def has(self, name: str) -> bool:
        """True if at least one step logged a finite value."""
        values = self.columns.get(name)
        return values is not None and bool(np.isfinite(values).any())

    def last(self, name: str) -> float | None:
        """The latest finite value, or None."""
        values = self.columns.get(name)
        if values is None:
            return None
        finite = values[np.isfinite(values)]
        return float(finite[-1]) if len(finite) else None

    def tail_mean(self, name: str, count: int) -> float | None:
        """Mean of the last ``count`` finite values, or None."""
        values = self.columns.get(name)
        if values is None:
            return None
        finite = values[np.isfinite(values)][-count:]
        return float(finite.mean()) if len(finite) else None

    def total(self, name: str) -> float:
        values = self.columns.get(name)
        return float(np.nansum(values)) if values is not None else 0.0

    def with_prefix(self, prefix: str) -> list[str]:
        return sorted(name for name in self.columns if name.startswith(prefix))


def parse_record(record: dict[str, Any]) -> MetricsRecord | None:
    """A record of this or an earlier version (numbers beside ``step`` instead of under ``values``); None if it has no step."""
    step = record.get("step")
    if not isinstance(step, int) or isinstance(step, bool):
        return None
    values = record.get("values")
    if not isinstance(values, dict):
        values = {key: value for key, value in record.items() if key not in ("step", "cycle", "attempt", "unix_s", "schema")}
    numbers = {str(key): float(value) for key, value in values.items() if isinstance(value, (int, float))}
    return MetricsRecord(step, _integer(record, "cycle", 1), _integer(record, "attempt", 1), _number(record, "unix_s"), numbers)


def _integer(record: dict[str, Any], key: str, default: int) -> int:
    value = record.get(key)
    return value if isinstance(value, int) else default


def _number(record: dict[str, Any], key: str) -> float:
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) else math.nan


class MetricsReader:
    """Follows a growing ``metrics.jsonl``: each ``poll`` reads only what was added since the last one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._records: list[MetricsRecord] = []
        self._undone = 0
        self._table: MetricsTable | None = None

    def poll(self) -> MetricsTable:
        """The table as of now. A torn last line is left for the next poll; a file that shrank is read anew."""
        lines = self._new_lines()
        for line in lines:
            record = _parse_line(line)
            if record is not None:
                self._add(record)
        if lines or self._table is None:
            self._table = build_table(self._records, undone=self._undone)
        return self._table

    def _new_lines(self) -> list[bytes]:
        try:
            size = self._path.stat().st_size
        except OSError:
            return []
        if size < self._offset:
            self.__init__(self._path)
        if size == self._offset:
            return []
        with open(self._path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        return data[:end].splitlines()

    def _add(self, record: MetricsRecord) -> None:
        while self._records and self._records[-1].step >= record.step:
            self._records.pop()
            self._undone += 1
        self._records.append(record)


def _parse_line(line: bytes) -> MetricsRecord | None:
    try:
        record = json.loads(line.decode("utf-8", "replace"))
    except ValueError:
        return None
    return parse_record(record) if isinstance(record, dict) else None


def build_table(records: Iterable[MetricsRecord], *, undone: int = 0) -> MetricsTable:
    """Records of ascending steps to columns."""
    rows = list(records)
    columns: dict[str, FloatArray] = {}
    for index, row in enumerate(rows):
        for name, value in row.values.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = np.full(len(rows), np.nan)
            column[index] = value
    return MetricsTable(
        steps=np.array([row.step for row in rows], dtype=np.int64),
        cycles=np.array([row.cycle for row in rows], dtype=np.int64),
        attempts=np.array([row.attempt for row in rows], dtype=np.int64),
        unix_s=np.array([row.unix_s for row in rows], dtype=np.float64),
        columns=columns,
        undone=undone,
    )


def read_metrics(path: Path) -> MetricsTable:
    return MetricsReader(path).poll()
