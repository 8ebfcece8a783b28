"""The task buffer: one bounded ring per task type, with statistics per task.

Records leave by mastery first (solved throughout in their last visits), then by age; never the newest one. What is
drawn and what leaves depend on the records alone, so that a restored buffer continues as the saved one would have.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azr import copies
from azr.programs.canonical import program_fingerprint
from azr.run.records import from_json
from azr.tasks import Task, TaskType

HISTORY = 8
"""Accuracies kept per task."""


@dataclass
class Record:
    task: Task
    step: int
    """Insertion step; 0 for seeds."""
    accuracies: list[float] = field(default_factory=list)
    """Mean grade per step in which it was solved, the last ``HISTORY`` of them."""
    key: str = ""
    """See ``task_key``."""
    mastered_order: int | None = None
    """Place among the mastered tasks, the first mastered lowest; None for the others."""

    def mastered(self, visits: int) -> bool:
        return len(self.accuracies) >= visits and all(accuracy >= 1 for accuracy in self.accuracies[-visits:])

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"task": self.task.to_json()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Record:
        task = Task.from_json(record.get("task") or {})
        return from_json(cls, record | {"task": task}, "a saved record of the buffer")


_fingerprint = lru_cache(maxsize=4096)(program_fingerprint)  # seeds enter two buffers one after the other


def task_key(task: Task) -> str:
    """See ``azr.copies.renamed_key``."""
    return copies.renamed_key(_fingerprint(task.program), task.inputs)


def puzzle_key(task: Task) -> str:
    """Equal for induction tasks that give the same hint for the same program: one puzzle, whatever their inputs."""
    return f"{_fingerprint(task.program)}:{said(task.message)}"


def said(message: str) -> str:
    """What a message says: equal for messages that differ in case, spacing and punctuation, empty for '...'."""
    return " ".join(re.findall(r"\w+", message.lower()))


class TaskBuffer:
    """Tasks of one type in order of insertion."""

    def __init__(self, capacity: int, mastered_visits: int = 2) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; it must be at least 1")
        self.capacity = capacity
        self.mastered_visits = mastered_visits
        self.evicted_mastered = 0
        self.evicted_old = 0
        self._clear()

    def _clear(self) -> None:
        self._records: list[Record] = []
        self._by_id: dict[str, Record] = {}
        self._keys: set[str] = set()
        self._puzzles: Counter[str] = Counter()
        self._mastered: dict[str, Record] = {}  # first mastered, first out
        self._weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._by_id

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    @property
    def mastered_count(self) -> int:
        return len(self._mastered)

    def get(self, task_id: str) -> Record | None:
        return self._by_id.get(task_id)

    def holds(self, task: Task) -> bool:
        """Whether ``add`` would call the task a duplicate."""
        return task.task_id in self._by_id or task_key(task) in self._keys

    def holds_puzzle(self, task: Task) -> bool:
        """Whether there is an induction task with the same program and the same hint, with whatever inputs."""
        return task.task_type is TaskType.INDUCTION and self._puzzles[puzzle_key(task)] > 0

    def add(self, task: Task, step: int) -> str:
        """Adds a task; '' if it is in now, else why not: ``duplicate`` or ``duplicate_renamed``.

        The thought is left out: nothing reads it here, and it may be ten times as long as the task.
        """
        if task.task_id in self._by_id:
            return "duplicate"
        key = task_key(task)
        if key in self._keys:
            return "duplicate_renamed"
        self._insert(Record(replace(task, thought=""), step, key=key))
        while len(self._records) > self.capacity:
            self._evict()
        return ""

    def _insert(self, record: Record) -> None:
        self._records.append(record)
        self._by_id[record.task.task_id] = record
        self._keys.add(record.key)
        if record.task.task_type is TaskType.INDUCTION:
            self._puzzles[puzzle_key(record.task)] += 1
        self._weights = None

    def _evict(self) -> None:
        newest = self._records[-1]
        mastered = next((record for record in self._mastered.values() if record is not newest), None)
        if mastered is not None:
            self.evicted_mastered += 1
        else:
            self.evicted_old += 1
        self._remove(mastered or self._records[0])

    def drop(self, programs: Collection[str]) -> int:
        """Removes every task with one of these programs; returns how many."""
        gone = [record for record in self._records if record.task.program in programs]
        for record in gone:
            self._remove(record)
        return len(gone)

    def _remove(self, record: Record) -> None:
        place = next(place for place, each in enumerate(self._records) if each is record)
        del self._records[place]
        del self._by_id[record.task.task_id]
        self._keys.discard(record.key)
        if record.task.task_type is TaskType.INDUCTION:
            self._puzzles[puzzle_key(record.task)] -= 1
        self._mastered.pop(record.task.task_id, None)
        self._weights = None

    def record_use(self, task_id: str, accuracy: float) -> None:
        """Notes that a task was solved in a step with this mean grade; unknown (evicted) tasks are passed over."""
        record = self.get(task_id)
        if record is None:
            return
        record.accuracies = [*record.accuracies, round(accuracy, 4)][-HISTORY:]
        if not record.mastered(self.mastered_visits):
            record.mastered_order = None
            self._mastered.pop(task_id, None)
        elif record.mastered_order is None:
            latest = next(reversed(self._mastered.values()), None)
            before = -1 if latest is None or latest.mastered_order is None else latest.mastered_order
            record.mastered_order = before + 1
            self._mastered[task_id] = record

    # -- drawing ---------------------------------------------------------------------------------------------

    def draw(self, count: int, rng: np.random.Generator) -> list[Record]:
        """Uniformly without replacement; all of them, in random order, when there are fewer."""
        wanted = min(count, len(self._records))
        if wanted:
            return [self._records[place] for place in rng.choice(len(self._records), wanted, replace=False)]
        return []

    def draw_recent(self, count: int, rng: np.random.Generator, *, replace: bool) -> list[Record]:
        """With weight insertion step + 1, so that seeds (step 0) can be drawn too."""
        wanted = count if replace else min(count, len(self._records))
        if not wanted or not self._records:
            return []
        if self._weights is None:
            steps = np.array([record.step + 1.0 for record in self._records])
            self._weights = steps / steps.sum()
        places = rng.choice(len(self._records), wanted, replace=replace, p=self._weights)
        return [self._records[place] for place in places]

    def inserted_since(self, step: int) -> list[Record]:
        """Records inserted at ``step`` or later, oldest first."""
        return self._records[bisect_left(self._records, step, key=lambda record: record.step) :]

    # -- saving ----------------------------------------------------------------------------------------------

    def to_json(self) -> list[dict[str, Any]]:
        return [record.to_json() for record in self._records]

    def restore(self, records: Iterable[dict[str, Any]]) -> None:
        """Replaces the content by saved records, statistics included.

        Raises:
            DataError: a record is malformed.
        """
        loaded = [Record.from_json(record) for record in records]
        self._clear()
        for record in loaded:
            self._insert(record)
        mastered = [record for record in loaded if record.mastered_order is not None]
        mastered.sort(key=lambda record: record.mastered_order or 0)
        self._mastered = {record.task.task_id: record for record in mastered}
