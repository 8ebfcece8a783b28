"""The only way tasks are counted, on screen, in reports and in the manifest (docs/data.md, "How tasks are counted").

    read = known + taken + left out, by reason

A row that holds no task counts as one. Only what is new is counted: what an earlier consolidation or merge
judged is not read again, as far as a person is concerned, although the pool is always made from all sources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from azr.config.selfplay import SelfPlayConfig
from azr.data.build import PoolBuild
from azr.data.manifest import SourceEntry
from azr.data.reasons import COPIES_AND_CAPS, Reason
from azr.data.sources import Kind
from azr.selfplay.selection import seed_kinds
from azr.tasks import Task
from azr.wording import counted, one_line

SHOWN_FILES = 12
"""Files that get a line of their own; more are in the manifest."""
SHOWN_ROWS = 3
"""Rejected rows of a file that are named (``SHOWN_FILES`` in all); more are in ``pool/rejected.jsonl``."""
_DETAIL_CHARS = 240
BY_PROGRAMS = "rows of one program belong on one side: split tasks to train on from probe tasks by programs, not by rows"
_WORDS = {
    Reason.LEAKED: "too similar to a task in the probe or evaluation files; left out, so that scores on those mean something (expected "
    "where seeds and probes come from the same families, as with the bundled tiny model)",
    Reason.PROGRAM_CAP: "further inputs of programs that have enough of them; data.max_inputs_per_program says how many are taken "
    "(0 = all)",
    Reason.SHAPE_CAP: "whose programs differ from others only in names and constants; data.max_per_shape says how many of each are "
    "taken (0 = all)",
}
"""What a user wonders about, behind the number of tasks."""


@dataclass(frozen=True)
class Account:
    """Counts of tasks; ``read`` is the sum of the others."""

    read: int
    known: int
    """Read before, from the same file or another one."""
    taken: int
    """In the pool now."""
    left_out: dict[str, int]
    """Reason -> tasks, or rows that hold none; most frequent first."""

    @staticmethod
    def of(entries: Iterable[SourceEntry]) -> Account:
        entries, left_out = list(entries), Counter[str]()
        for entry in entries:
            left_out.update(entry.refused_rows)
            left_out.update(entry.dropped)
        read = sum(entry.tasks + sum(entry.refused_rows.values()) for entry in entries)
        known, taken = sum(entry.known for entry in entries), sum(entry.taken for entry in entries)
        return Account(read, known, taken, dict(left_out.most_common()))

    @property
    def sentence(self) -> str:
        """``389 read, 323 taken, 66 left out (57 leaked_evaluation, 9 duplicate_near)``."""
        known = f", {self.known} known already" if self.known else ""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        left = f"{sum(self.left_out.values())} left out ({reasons})" if reasons else "none left out"
        return f"{self.read} read{known}, {self.taken} taken, {left}"


def news(entries: Sequence[SourceEntry], build: PoolBuild) -> list[str]:
    """What is worth a line of its own about the new sources: files, rejected rows, leaks.

    Args:
        entries: of the new sources only.
        build: for the rows of these sources.
    """
    alone = len(entries) == 1
    files = [entry for entry in entries if not alone or entry.kind == Kind.USER.value or not entry.rows]
    lines = [_file_line(entry) for entry in files[:SHOWN_FILES]]
    if len(files) > SHOWN_FILES:
        lines.append(
            f"{counted(len(files) - SHOWN_FILES, 'more file')}: pool/manifest.json has the counts of each"
        )
    lines += rejected_rows(entries, build)
    # a user wonders about files, not about every merge
    brought = [entry for entry in entries if entry.kind != Kind.SHARD.value]
    left_out = Account.of(brought).left_out
    found = ((reason, told, left_out.get(reason.value)) for reason, told in _WORDS.items())
    lines += [f"{reason.value}: {count} {told}" for reason, told, count in found if count]
    own = Account.of(entry for entry in brought if entry.kind == Kind.USER.value)
    return lines + [BY_PROGRAMS] * (Reason.LEAKED.value in own.left_out)


def rejected_rows(entries: Sequence[SourceEntry], build: PoolBuild) -> list[str]:
    """A line for each of the first rows of ``entries`` that hold no task, or, in a user's file, one that did not hold or
    leaked (copies are no fault of a row); the last line counts the others."""
    rows = [(item.source, item.row.line, item.row.unit, item.reason, item.detail) for item in build.refused]
    for left, (source, line, unit) in zip(build.dropped, build.dropped_from, strict=True):
        entry = build.entries[source]
        if entry.kind == Kind.USER.value and left.reason not in COPIES_AND_CAPS:
            rows.append((entry.name, line, unit, left.reason, left.detail))
    new = {entry.name for entry in entries}
    found: dict[str, dict[str, None]] = {}
    for source, line, unit, reason, detail in sorted(row for row in rows if row[0] in new):
        # the words of an exception are the program's own, and once are enough for the two tasks of a row
        detail = one_line(detail)[:_DETAIL_CHARS]
        found.setdefault(source, {})[f"{source}, {unit} {line}: {reason.value}, {detail}"] = None
    shown = [line for lines in found.values() for line in list(lines)[:SHOWN_ROWS]][:SHOWN_FILES]
    more = sum(map(len, found.values())) - len(shown)
    return shown + [f"the rest in pool/rejected.jsonl ({counted(more, 'more row')})"] * (more > 0)


def lacking_types(tasks: Iterable[Task], config: SelfPlayConfig) -> list[str]:
    """A sentence for each task type of the game that no task of the pool is of: its buffer gets the identity task."""
    held = {kind.value for task in tasks for kind in seed_kinds(task)}
    until = ", until the model has proposed some" if config.train_propose else ""
    write = " or, with data.seeds=identity and your files in data.extra_files, have the model write some before it trains"
    return [
        f"no {kind} task to start from: the {kind} streams have the identity function alone{until}. Give some,"
        f"{write if config.train_propose else ''} or leave these streams out (selfplay.task_types)"
        for kind in config.task_types
        if kind not in held
    ]


def _file_line(entry: SourceEntry) -> str:
    if not entry.rows:
        return f"{entry.name}: empty, no tasks in it"
    account = Account.of([entry])
    rows = "" if account.read == entry.rows else f" ({counted(entry.rows, 'row')})"
    text = account.sentence.replace(" read", f" read{rows}", 1)
    return f"{entry.name}: {text}" + (", see pool/rejected.jsonl" if account.left_out else "")
