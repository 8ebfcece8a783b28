"""The task buffer: one bounded ring per task type, with statistics per task (spec 5; fixes B4, B13, B18).

Adding, looking up, recording a use and drawing uniformly take constant time; weights for drawing by recency are one array.
Records leave by mastery first (solved throughout in their last visits), then by age; never the new ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from azr.errors import DataError
from azr.programs import fingerprint
from azr.sandbox.values import canonical, parse_arguments
from azr.tasks import Task, TaskType

HISTORY = 8
"""Accuracies kept per task."""


@dataclass
class Record:
    task: Task
    step: int
    """Insertion step; 0 for seeds."""
    uses: int = 0
    """Responses of the solve stream it was used for."""
    accuracies: list[float] = field(default_factory=list)
    """Mean verdict per step in which it was solved, the last ``HISTORY`` of them."""
    last_seen: int = -1
    """Step of its last use."""
    key: str = ""
    """See ``renamed_key``."""

    def mastered(self, visits: int) -> bool:
        return len(self.accuracies) >= visits and all(accuracy >= 1 for accuracy in self.accuracies[-visits:])

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "uses": self.uses,
            "accuracies": self.accuracies,
            "last_seen": self.last_seen,
            "key": self.key,
            "task": self.task.to_json(),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Record:
        try:
            task = Task.from_json(record["task"])
            return cls(task, record["step"], record["uses"], list(record["accuracies"]), record["last_seen"], record["key"])
        except KeyError as error:
            raise DataError(f"buffer record has no field {error}") from error


_fingerprint = lru_cache(maxsize=4096)(fingerprint)  # seeds enter two buffers one after the other


def renamed_key(task: Task) -> str:
    """Equal for tasks that differ in variable names, comments, layout, the spelling or order of their inputs, or the message."""
    inputs = "|".join(sorted(argument_key(text) or text.strip() for text in task.inputs))
    return f"{_fingerprint(task.code)}:{inputs}"


def puzzle_key(task: Task) -> str:
    """Equal for induction tasks that give the same hint for the same program: one puzzle, whatever their inputs."""
    return f"{_fingerprint(task.code)}:{said(task.message)}"


def argument_key(text: str) -> str | None:
    """Equal for inputs that give a program equal arguments; None for what is no list of literals."""
    try:
        positional, keywords = parse_arguments(text)
        return canonical([positional, keywords])
    except ValueError:  # ValueReadError, ValueWriteError
        return None


def said(message: str) -> str:
    """What a message says: equal for messages that differ in case, spacing and punctuation, empty for '...'."""
    return " ".join(re.findall(r"\w+", message.lower()))


class TaskBuffer:
    """Tasks of one type in order of insertion.

    ``slots`` holds them in that order, with None where one was evicted; it is compacted when half of it is empty.
    """

    def __init__(self, capacity: int, mastered_visits: int = 2) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; it must be at least 1")
        self.capacity = capacity
        self.mastered_visits = mastered_visits
        self.evicted_mastered = 0
        self.evicted_old = 0
        self._slots: list[Record | None] = []
        self._index: dict[str, int] = {}
        self._keys: set[str] = set()
        self._puzzles: Counter[str] = Counter()
        self._mastered: dict[str, None] = {}  # an ordered set: first mastered, first out
        self._head = 0
        self._weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._index

    def __iter__(self) -> Iterator[Record]:
        return (record for record in self._slots if record is not None)

    @property
    def mastered_count(self) -> int:
        return len(self._mastered)

    def get(self, task_id: str) -> Record | None:
        slot = self._index.get(task_id)
        return None if slot is None else self._slots[slot]

    def holds(self, task: Task) -> bool:
        """Whether ``add`` would call the task a duplicate."""
        return task.task_id in self._index or renamed_key(task) in self._keys

    def holds_puzzle(self, task: Task) -> bool:
        """Whether there is an induction task with the same program and the same hint, with whatever inputs."""
        return task.task_type is TaskType.INDUCTION and self._puzzles[puzzle_key(task)] > 0

    def add(self, task: Task, step: int) -> str:
        """Adds a task; '' if it is in now, else why not: ``duplicate`` or ``duplicate_renamed``.

        The thought is left out: nothing reads it here, and it may be ten times as long as the task.
        """
        if task.task_id in self._index:
            return "duplicate"
        key = renamed_key(task)
        if key in self._keys:
            return "duplicate_renamed"
        self._insert(Record(replace(task, thought=""), step, key=key))
        while len(self._index) > self.capacity:
            self._evict()
        return ""

    def _insert(self, record: Record) -> None:
        self._index[record.task.task_id] = len(self._slots)
        self._keys.add(record.key)
        if record.task.task_type is TaskType.INDUCTION:
            self._puzzles[puzzle_key(record.task)] += 1
        self._slots.append(record)
        self._weights = None
        if record.mastered(self.mastered_visits):
            self._mastered[record.task.task_id] = None

    def _evict(self) -> None:
        newest = self._slots[-1]
        assert newest is not None
        if mastered := next((task_id for task_id in self._mastered if task_id != newest.task.task_id), None):
            self.evicted_mastered += 1
            self._remove(mastered)
            return
        while self._slots[self._head] is None:
            self._head += 1
        oldest = self._slots[self._head]
        assert oldest is not None
        self.evicted_old += 1
        self._remove(oldest.task.task_id)

    def _remove(self, task_id: str) -> None:
        slot = self._index.pop(task_id)
        record = self._slots[slot]
        assert record is not None
        self._slots[slot] = None
        self._keys.discard(record.key)
        if record.task.task_type is TaskType.INDUCTION:
            self._puzzles[puzzle_key(record.task)] -= 1
        self._mastered.pop(task_id, None)
        self._weights = None
        if len(self._slots) > 2 * len(self._index) + 64:
            kept = [record for record in self._slots if record is not None]
            self._slots = list(kept)
            self._index = {record.task.task_id: slot for slot, record in enumerate(kept)}
            self._head = 0

    def record_use(self, task_id: str, accuracy: float, uses: int, step: int) -> None:
        """Notes that a task was solved in a step with this mean verdict; unknown (evicted) tasks are passed over."""
        record = self.get(task_id)
        if record is None:
            return
        record.uses += uses
        record.last_seen = step
        record.accuracies = [*record.accuracies, round(accuracy, 4)][-HISTORY:]
        if record.mastered(self.mastered_visits):
            self._mastered.setdefault(task_id)
        else:
            self._mastered.pop(task_id, None)

    # -- drawing --------------------------------------------------------------------------------------------------

    def draw(self, count: int, rng: np.random.Generator) -> list[Record]:
        """Uniformly without replacement; all of them, in random order, when there are fewer."""
        wanted = min(count, len(self._index))
        if wanted * 2 > len(self._index):
            records = list(self)
            return [records[place] for place in rng.permutation(len(records))[:wanted]]
        chosen: dict[int, None] = {}
        while len(chosen) < wanted:  # at least a quarter of the slots from the head on are live, see _remove
            slot = int(rng.integers(self._head, len(self._slots)))
            if self._slots[slot] is not None:
                chosen.setdefault(slot)
        return [record for slot in chosen if (record := self._slots[slot]) is not None]

    def draw_recent(self, count: int, rng: np.random.Generator, *, replace: bool) -> list[Record]:
        """With weight insertion step + 1, so that seeds (step 0) can be drawn too (fixes B25)."""
        if not self._index:
            return []
        if self._weights is None:
            self._weights = np.cumsum([0.0 if record is None else record.step + 1.0 for record in self._slots])
        wanted = count if replace else min(count, len(self._index))
        if not replace and wanted * 2 > len(self._index):
            records = list(self)
            weights = np.array([record.step + 1.0 for record in records])
            places = rng.choice(len(records), wanted, replace=False, p=weights / weights.sum())
            return [records[place] for place in places]
        chosen: list[int] = []
        seen: set[int] = set()
        for _ in range(1000 * wanted + 1000):
            if len(chosen) == wanted:
                break
            slot = int(np.searchsorted(self._weights, rng.random() * self._weights[-1], side="right"))
            if replace or slot not in seen:
                chosen.append(slot)
                seen.add(slot)
        return [record for slot in chosen if (record := self._slots[slot]) is not None]

    def newest(self, count: int) -> list[Record]:
        """The last ``count`` insertions that are still there, oldest first."""
        found: list[Record] = []
        for record in reversed(self._slots):
            if len(found) == count:
                break
            if record is not None:
                found.append(record)
        return found[::-1]

    def inserted_since(self, step: int) -> list[Record]:
        """Records inserted at ``step`` or later, oldest first."""
        found: list[Record] = []
        for record in reversed(self._slots):
            if record is not None:
                if record.step < step:
                    break
                found.append(record)
        return found[::-1]

    # -- saving ---------------------------------------------------------------------------------------------------

    def to_json(self) -> list[dict[str, Any]]:
        return [record.to_json() for record in self]

    def restore(self, records: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> None:
        """Replaces the content by saved records, statistics included.

        Raises:
            DataError: a record is malformed.
        """
        loaded = [Record.from_json(record) for record in records]
        self._slots, self._index, self._keys, self._mastered, self._head = [], {}, set(), {}, 0
        self._puzzles = Counter()
        for record in loaded:
            self._insert(record)
