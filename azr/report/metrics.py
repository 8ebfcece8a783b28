"""Reads ``metrics.jsonl``: one line per training step, later attempts superseding the steps that a crash undid.

A record is ``{"step", "cycle", "attempt", "unix_s", "values": {name: number}}``. When a trainer resumes from a
checkpoint it goes back to an earlier step; from there on everything that the dead attempt wrote at or after that step
no longer happened, even steps that the new attempt has not reached yet. Damaged lines are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from azr.run import metric_names as names
from azr.run.protocol import MetricsRecord, MetricsTail, effective_metrics
from azr.tasks import ALL_STREAMS, STREAMS, Stream

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

    @property
    def streams(self) -> list[Stream]:
        """The six, and those of error prediction where any step has trained them."""
        return [each for each in ALL_STREAMS if each in STREAMS or self.has(names.reward(each.name))]

    def through(self, step: int) -> MetricsTable:
        """Without what came after ``step``."""
        return self._cut(int(np.searchsorted(self.steps, step, side="right")))

    def _cut(self, count: int) -> MetricsTable:
        """Its first ``count`` records."""
        return MetricsTable(
            self.steps[:count],
            self.cycles[:count],
            self.attempts[:count],
            self.unix_s[:count],
            {name: column[:count] for name, column in self.columns.items()},
            self.undone,
        )

    def continued(self, records: Sequence[MetricsRecord]) -> MetricsTable:
        """With at least one record more; one that goes back to an earlier step undoes what there is from there on."""
        new = effective_metrics(records)
        kept = self._cut(int(np.searchsorted(self.steps, new[0].step)))
        logged = dict.fromkeys(name for record in new for name in record.values)
        columns = {
            name: np.append(kept.column(name), [record.values.get(name, math.nan) for record in new])
            for name in kept.columns | logged
        }
        return MetricsTable(
            np.append(kept.steps, [record.step for record in new]),
            np.append(kept.cycles, [record.cycle for record in new]),
            np.append(kept.attempts, [record.attempt for record in new]),
            np.append(kept.unix_s, [record.unix_s for record in new]),
            {name: column for name, column in columns.items() if not np.isnan(column).all()},
            self.undone + len(self) - len(kept) + len(records) - len(new),
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

    def head_mean(self, name: str, count: int) -> float | None:
        """Mean of the first ``count`` finite values, or None."""
        first = self.known(name)[:count]
        return float(first.mean()) if len(first) else None

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

    def named(self, prefix: str, suffix: str = "") -> list[str]:
        """The metrics whose names begin and end so."""
        return sorted(name for name in self.columns if name.startswith(prefix) and name.endswith(suffix))


_NO_STEPS = np.array([], dtype=np.int64)
_EMPTY = MetricsTable(_NO_STEPS, _NO_STEPS, _NO_STEPS, np.array([], dtype=np.float64), {})


class MetricsReader:
    """Follows a growing ``metrics.jsonl``: each ``poll`` reads only what was added since the last one, so that a step more
    of a run of 20,000 costs a copy of the columns and no second reading."""

    def __init__(self, path: Path) -> None:
        self._tail = MetricsTail(path)
        self._table = _EMPTY

    def poll(self) -> MetricsTable:
        """The table as of now. A torn last line is left for the next poll; a file that shrank is read again."""
        records = list(self._tail.new_records())
        if self._tail.shrank:
            self._table, self._tail.shrank = _EMPTY, False
        if records:
            self._table = self._table.continued(records)
        return self._table


def read_metrics_table(path: Path) -> MetricsTable:
    return MetricsReader(path).poll()
