"""The pool from its sources, in one pass: schema, leaks, re-execution, duplicates, caps. Reads files, writes none.

Every task of every source is in the result exactly once, as kept or as dropped with a reason; a record that
several sources hold is one task. Kept tasks come in an order that depends on them alone, so the order of
sources and rows does not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from azr.config.data import DataConfig
from azr.config.sandbox import SandboxConfig
from azr.data.behaviour import BehaviourStore, drop_behavioural, sandbox_outputs
from azr.data.contamination import fingerprint_sources
from azr.data.duplicates import Dropped, better_first, difficulty_band, drop_duplicates
from azr.data.fingerprints import Fingerprint
from azr.data.manifest import SourceEntry
from azr.data.phases import Phases
from azr.data.readers import read_rows
from azr.data.reasons import Reason
from azr.data.reexecute import RerunStore, reexecute, rerun_key
from azr.data.rows import Row
from azr.data.schema import Refused, parse_problem, tasks_of
from azr.data.sources import Kind, TaskSource
from azr.system.files import file_hash
from azr.tasks import Task, TaskType


@dataclass(frozen=True)
class RefusedRow:
    source: str
    row: Row
    reason: Reason
    detail: str


class Origin(NamedTuple):
    """Where a task stood."""

    source: int
    """Index among the entries."""
    line: int
    unit: str
    """``line`` or ``row``, as in ``Row``."""


@dataclass(frozen=True)
class PoolBuild:
    kept: list[Task]
    """In pool order: by cycle, step, then id."""
    dropped: list[Dropped]
    refused: list[RefusedRow]
    entries: list[SourceEntry]
    """One a source, those of judged sources first."""
    dropped_from: list[Origin]
    """The place of each of ``dropped``."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Phase -> seconds it took."""


def build_pool(
    sources: Sequence[TaskSource],
    config: DataConfig,
    sandbox: SandboxConfig,
    *,
    evaluation: Sequence[Path],
    reruns: RerunStore,
    behaviour: BehaviourStore,
) -> PoolBuild:
    """Raises:
    DataError: a source cannot be read.
    SandboxError: programs cannot be confined on this machine.
    """
    phases = Phases()
    with phases("read"):
        tasks, origins, refused, entries, trusted = _read(sources, config)
        everything = len(tasks)
        settled = {task.task_id for task in tasks if rerun_key(task) in trusted}
    with phases("fingerprints and leaks"):
        programs, similarity = (task.program for task in tasks), config.contamination_similarity
        prints, leaks = fingerprint_sources(programs, evaluation, similarity, workers=config.workers)
        tasks, dropped = _drop_unfit(tasks, prints, leaks)
    with phases("re-execution"):
        tasks, dropped_now = reexecute(tasks, config.reexecute, reruns, sandbox, trusted=trusted)
        dropped += dropped_now
    with phases("duplicates"):
        tasks, dropped_now = drop_duplicates(tasks, prints, config)
        dropped += dropped_now
    if config.behavioural_duplicates:
        with phases("behaviour"):
            outputs = sandbox_outputs(sandbox)
            tasks, dropped_now = drop_behavioural(tasks, prints, behaviour, outputs, settled=settled)
            dropped += dropped_now
    with phases("caps and order"):
        tasks, dropped_now = cap_pool(tasks, config.max_tasks)
        dropped += dropped_now
        if len(tasks) + len(dropped) != everything:
            raise AssertionError(
                f"{everything} tasks came in, {len(tasks)} were kept and {len(dropped)} dropped"
            )
        kept = sorted(tasks, key=lambda t: (t.lineage.cycle, t.lineage.step, t.task_type.value, t.task_id))
        dropped.sort(key=lambda item: better_first(item.task))
        entries = _settle(entries, origins, kept, dropped)
        dropped_from = [origins[id(item.task)] for item in dropped]
    return PoolBuild(kept, dropped, refused, entries, dropped_from, phases.seconds)


_OWN_LOGS = (Kind.CYCLE, Kind.SHARD, Kind.OTHER_RUN)

Origins = dict[int, Origin]
"""``id`` of a task object -> its place. By object: two equal rows of one file are two tasks, one a
copy of the other."""


def _read(
    sources: Sequence[TaskSource], config: DataConfig
) -> tuple[list[Task], Origins, list[RefusedRow], list[SourceEntry], frozenset[str]]:
    """All sources, the judged ones first, so that a task counts for the source that brought it first.

    Returns:
        tasks, the place of each, rows without a task, one entry a source (what became of its tasks is not
        known yet), and the rerun keys that need no execution.
    """
    tasks, refused, entries = list[Task](), list[RefusedRow](), list[SourceEntry]()
    origins: Origins = {}
    trusted, seen = set[str](), set[Task]()
    for index, source in enumerate(sorted(sources, key=lambda source: not source.judged)):
        rows, found, reasons = 0, list[Task](), Counter[str]()
        places: Origins = {}
        for row in read_rows(source.file):
            rows += 1
            outcome = row_tasks(row, source, config)
            if isinstance(outcome, Refused):
                reasons[outcome.reason.value] += 1
                refused.append(RefusedRow(source.name, row, outcome.reason, outcome.detail))
            else:
                found += outcome
                places |= {id(task): Origin(index, row.line, row.unit) for task in outcome}
        if source.trusted:
            trusted |= {rerun_key(task) for task in found}
        new = [task for task in found if task not in seen]
        seen.update(new)
        tasks += new
        origins |= {id(task): places[id(task)] for task in new}
        counts = (rows, len(found), dict(sorted(reasons.items())), len(found) - len(new))
        entries.append(SourceEntry(source.name, source.kind.value, file_hash(source.file), *counts))
    return tasks, origins, refused, entries, frozenset(trusted)


def _settle(
    entries: list[SourceEntry], origins: Origins, kept: list[Task], dropped: list[Dropped]
) -> list[SourceEntry]:
    """The entries with what became of their tasks."""
    taken = Counter(origins[id(task)].source for task in kept)
    reasons = [Counter[str]() for _ in entries]
    for item in dropped:
        reasons[origins[id(item.task)].source][item.reason.value] += 1
    return [
        replace(entry, taken=taken[index], dropped=dict(sorted(reasons[index].items())))
        for index, entry in enumerate(entries)
    ]


def row_tasks(row: Row, source: TaskSource, config: DataConfig) -> list[Task] | Refused:
    """The tasks that a row of ``source`` holds, by its form alone."""
    if row.record is None:
        torn = "a line torn by a crash" if source.kind in _OWN_LOGS else ""
        return Refused(Reason.UNREADABLE, torn or row.problem)
    limits = {"max_code_chars": config.max_code_chars, "max_value_chars": config.max_value_chars}
    return tasks_of(row.record, origin=source.origin, **limits)


def _drop_unfit(
    tasks: list[Task], prints: dict[str, Fingerprint], leaks: dict[str, str]
) -> tuple[list[Task], list[Dropped]]:
    kept, dropped = list[Task](), list[Dropped]()
    for task in tasks:
        if not prints[task.program].parsed:
            dropped.append(
                Dropped(task, Reason.NOT_PYTHON, detail=parse_problem(task.program) or "does not parse")
            )
        elif task.program in leaks:
            dropped.append(Dropped(task, Reason.LEAKED, detail=leaks[task.program]))
        else:
            kept.append(task)
    return kept, dropped


def cap_pool(tasks: Sequence[Task], max_tasks: int) -> tuple[list[Task], list[Dropped]]:
    """Evicts down to ``max_tasks``, never "the newest".

    Each type has an equal share, and what one does not fill goes to the others. Within a type seeds and user
    tasks stay longest, then tasks the solver sometimes fails, then recent ones.
    """
    if len(tasks) <= max_tasks:
        return list(tasks), []
    by_type = {
        task_type: sorted((t for t in tasks if t.task_type is task_type), key=_useful_first)
        for task_type in TaskType
    }
    quotas: dict[TaskType, int] = {}
    waiting = sorted(filter(by_type.get, TaskType), key=lambda kind: len(by_type[kind]))
    while waiting:
        task_type, left = waiting.pop(0), max_tasks - sum(quotas.values())
        quotas[task_type] = min(len(by_type[task_type]), left // (len(waiting) + 1))
    kept = [task for kind, quota in quotas.items() for task in by_type[kind][:quota]]
    dropped = [task for kind, quota in quotas.items() for task in by_type[kind][quota:]]
    return kept, [Dropped(task, Reason.POOL_CAP) for task in dropped]


def _useful_first(task: Task) -> tuple[object, ...]:
    lineage = task.lineage
    brought = lineage.source in ("seed", "user")
    return (not brought, -difficulty_band(lineage.accuracy), -lineage.cycle, -lineage.step, task.task_id)
