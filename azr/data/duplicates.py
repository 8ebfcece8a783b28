"""Which of many similar tasks stay: the better one of each group of copies (docs/data.md, "Duplicates").

Tasks are looked at from the best to the worst, so whatever a task is found to copy is at least as good as it
is. Groups are formed around kept tasks only; a copy of a copy counts for nothing, so there are no chains from
one program to a very different one. The result depends on the set of tasks, not on their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from datasketch import MinHashLSH
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from azr.config.data import DataConfig
from azr.copies import renamed_key
from azr.data.fingerprints import PERMUTATIONS, Fingerprint
from azr.data.phases import with_lines
from azr.data.reasons import Reason
from azr.tasks import Task, TaskType

LSH_BANDS_ROWS = (25, 5)
"""A pair of 5-gram Jaccard similarity 0.5 / 0.6 / 0.7 becomes a candidate with probability 0.55 / 0.87 / 0.99."""


@dataclass(frozen=True)
class Dropped:
    """A task that stays out, why, and the id of the better copy where there is one."""

    task: Task
    reason: Reason
    copy_of: str = ""
    detail: str = ""


def difficulty_band(accuracy: float | None) -> int:
    """2: solved sometimes; 1: never measured (seeds); 0: solved always or never, so nothing to learn from it."""
    if accuracy is None:
        return 1
    return 2 if 0 < accuracy < 1 else 0


def better_first(task: Task) -> tuple[object, ...]:
    """Sort key: of two copies the one with the smaller key is kept. Mid difficulty, then recent, then seeds;
    a total order."""
    lineage = task.lineage
    rest = (
        task.outputs,
        task.imports,
        task.thought,
        task.composite_functions,
        task.original_code,
        repr(lineage),
    )
    newest = (-lineage.cycle, -lineage.step, -lineage.attempt)
    return (-difficulty_band(lineage.accuracy), *newest, lineage.source != "seed", task.task_id, rest)


def drop_duplicates(
    tasks: Iterable[Task], fingerprints: dict[str, Fingerprint], config: DataConfig
) -> tuple[list[Task], list[Dropped]]:
    """Splits ``tasks`` into those that stay and those that copy them or exceed a cap per cluster.

    Args:
        fingerprints: by ``task.program``, for every task.

    Returns:
        (kept from best to worst, dropped); together they are ``tasks``.
    """
    groups = {task_type: _Group(config) for task_type in TaskType}
    kept: list[Task] = []
    dropped: list[Dropped] = []
    best_first = sorted(tasks, key=better_first)
    for task in with_lines(best_first, "duplicates", len(best_first)):
        left_out = groups[task.task_type].offer(task, fingerprints[task.program])
        if left_out is None:
            kept.append(task)
        else:
            dropped.append(left_out)
    return kept, dropped


class _Group:
    """The kept tasks of one type, indexed by every form a copy can be recognised by."""

    def __init__(self, config: DataConfig) -> None:
        self._config = config
        self._exact: dict[tuple[str, ...], str] = {}
        self._renamed: dict[str, str] = {}
        self._programs: Counter[str] = Counter()
        self._shapes: Counter[str] = Counter()
        self._near: dict[str, str] = {}
        """canonical of a dropped program -> task id of what it resembles"""
        self._leaders = NearIndex(config.near_similarity)
        """kept programs, by the id of their best task"""

    def offer(self, task: Task, print_: Fingerprint) -> Dropped | None:
        """Takes the task in, or says why not."""
        renamed = renamed_key(print_.canonical, task.inputs)
        exact = (print_.text, renamed, task.message)
        if exact in self._exact:
            return Dropped(task, Reason.EXACT, self._exact[exact])
        if renamed in self._renamed:
            return Dropped(task, Reason.RENAMED, self._renamed[renamed])
        known = print_.canonical in self._programs
        if known:
            cap = self._config.max_inputs_per_program
            if cap and self._programs[print_.canonical] >= cap:
                return Dropped(task, Reason.PROGRAM_CAP)
        else:
            original = self._near_original(print_)
            if original:
                return Dropped(task, Reason.NEAR, original)
            cap = self._config.max_per_shape
            if cap and self._shapes[print_.shape] >= cap:
                return Dropped(task, Reason.SHAPE_CAP)
            self._shapes[print_.shape] += 1
            if self._comparable(print_):
                self._leaders.add(print_, task.task_id)
        self._exact[exact] = self._renamed[renamed] = task.task_id
        self._programs[print_.canonical] += 1
        return None

    def _near_original(self, print_: Fingerprint) -> str:
        if not self._comparable(print_):
            return ""
        if print_.canonical not in self._near:
            self._near[print_.canonical] = self._leaders.find(print_)
        return self._near[print_.canonical]

    def _comparable(self, print_: Fingerprint) -> bool:
        is_long = len(print_.tokens) >= self._config.near_min_tokens
        return self._config.near_duplicates and print_.parsed and is_long


class NearIndex:
    """Which program that was added a new one is an edited copy of: candidates by MinHash/LSH, verified by token edit
    similarity."""

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._lsh = MinHashLSH(num_perm=PERMUTATIONS, params=LSH_BANDS_ROWS)
        self._programs: list[tuple[str, str]] = []
        """(token string, name) of each"""

    def add(self, print_: Fingerprint, name: str) -> None:
        self._lsh.insert(len(self._programs), print_.minhash(), check_duplication=False)
        self._programs.append((print_.tokens, name))

    def find(self, print_: Fingerprint) -> str:
        """The name of the first program added that ``print_`` is an edited copy of; empty if there is none."""
        found: list[Any] = self._lsh.query(print_.minhash())
        candidates = [self._programs[index] for index in sorted(found)]
        if not candidates:
            return ""
        tokens = [tokens for tokens, _ in candidates]
        # a pool has a hundred candidates for a program and no copy among them: all are compared outside of Python
        [scores] = cdist(
            [print_.tokens], tokens, scorer=Indel.normalized_similarity, score_cutoff=self._similarity
        )
        return next((name for score, (_, name) in zip(scores, candidates, strict=True) if score > 0), "")
