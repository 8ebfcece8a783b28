"""CONSOLIDATE and MERGE: the pool from all sources, and the pool with a cycle's shard in it.

Both are pure functions of files that do not change while they run, and both end with the manifest. Killed at
any byte, they give the same files when run again:

* ``consolidate(cycle)`` reads seeds, user files, other runs, what the previous cycle started from, and all
  shards before this cycle;
* ``merge_shard(cycle)`` reads what this cycle started from and all shards up to this cycle. It needs nothing
  outside the run.

Neither reads the pool it replaces, so a damaged pool heals by itself. Their reports count what is new only: a source
that an earlier report of the run names with the same hash was judged then (docs/data.md, "How tasks are counted").
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from azr.config.data import DataConfig, Reexecute
from azr.config.sandbox import SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.data.account import SHOWN_ROWS, Account, lacking_types, news, rejected_rows
from azr.data.behaviour import BEHAVIOUR_FILE, BehaviourStore
from azr.data.build import PoolBuild, build_pool
from azr.data.check import passed_over, useless_sources
from azr.data.frozen import CONSOLIDATION_FILE, frozen_hashes
from azr.data.guard import (
    check_evaluation_files,
    prepare_probes,
    protected_files,
    require_true_probes,
    settle_probes,
    twofold_probes,
)
from azr.data.manifest import SourceEntry
from azr.data.pool import REJECTED_FILE, publish_pool, set_changed_pool_aside, write_rejected
from azr.data.reexecute import RERUNS_FILE, RerunStore
from azr.data.sources import Kind, TaskSource, other_run_sources, refuse_missing, seed_sources, user_sources
from azr.errors import DataError
from azr.run.rundir import RunDir
from azr.system.files import file_hash, read_json, read_jsonl, write_bytes_atomic, write_json_atomic
from azr.wording import counted

MERGE_FILE = "merge.json"
"""In the cycle's folder: the report of what the cycle brought."""


@dataclass(frozen=True)
class ConsolidationReport:
    cycle: int
    before: int
    """Tasks in the pool after the last merge; 0 in the first cycle."""
    new: Account
    """Of the sources that no earlier step read as they are now."""
    tasks: int
    """``before`` + ``new.taken``, but for tasks that a better copy replaced, or that changed rules let in or out."""
    by_type: dict[str, int]
    by_source: dict[str, int]
    manifest_hash: str
    tasks_hash: str
    """Hash of ``cycles/NNN/tasks.jsonl``."""
    verified: bool
    """Every task was executed in this run, or comes from a shipped file of known hash."""
    seconds: float
    phases: dict[str, float]
    """Phase -> seconds, in order."""
    sources: list[SourceEntry]
    """All that was read, new or not, each with its counts."""
    lines: list[str]
    """What is worth a line of its own: files, rejected rows, leaks."""
    missing: list[str] = field(default_factory=list)
    """Configured files that are gone; their tasks are kept from the previous cycle."""
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Those of the frozen probes and the evaluation files, as ``azr.data.guard`` keeps them."""

    @property
    def sentence(self) -> str:
        types = ", ".join(f"{count} {name}" for name, count in self.by_type.items())
        account = self.new.sentence if self.new.read or not self.before else "nothing new read"
        others = self.tasks - self.before - self.new.taken
        pool = _pool_sum(self.before, self.new.taken, max(-others, 0), max(others, 0))
        account += f"; {pool}" if self.before else ""
        return _with_lines(
            f"{counted(self.tasks, 'task')} ({types}): {account}, in {self.seconds:.1f} s", self.lines
        )


@dataclass(frozen=True)
class MergeReport:
    cycle: int
    before: int
    """Tasks this cycle started from."""
    new: Account
    """Of the cycle's shard, all attempts."""
    judged: int
    """Tasks of the earlier shards, which are read again; they were counted when those were merged."""
    gone: int
    """Tasks the cycle started from that a better copy replaced, or that had to leave a full pool."""
    back: int
    """Tasks of earlier shards that had been left out: what they were copies of is gone."""
    after: int
    """``before`` + ``new.taken`` - ``gone`` + ``back``."""
    by_type: dict[str, int]
    manifest_hash: str
    seconds: float
    sources: list[SourceEntry]
    """All that was read, new or not, each with its counts."""
    lines: list[str]

    @property
    def growth(self) -> float:
        """Pool after / before."""
        return self.after / self.before if self.before else float(bool(self.after))

    @property
    def sentence(self) -> str:
        account = self.new.sentence
        if self.judged:
            shards = f"(of {self.new.read + self.judged} in all shards, {self.judged} were known already)"
            account = account.replace(" read", f" read {shards}", 1)
        pool = f"{_pool_sum(self.before, self.new.taken, self.gone, self.back)} (x {self.growth:.2f})"
        sentence = f"Cycle {self.cycle} merged: {account}; {pool}, in {self.seconds:.1f} s"
        return _with_lines(sentence, self.lines)


def consolidate(
    run: RunDir,
    cycle: int,
    config: DataConfig,
    sandbox: SandboxConfig | None = None,
    play: SelfPlayConfig | None = None,
) -> ConsolidationReport:
    """Builds the pool from all sources and writes what TRAIN of ``cycle`` starts from.

    Args:
        play: for a line about task types of the game that the pool has none of.

    Raises:
        DataError: an evaluation file was changed, no task is left, or, in the first cycle, a configured file
            is missing or gives not one task that holds, or a probe task does not hold.
        SandboxError: programs cannot be confined on this machine.
    """
    started = time.monotonic()
    settle_probes(run, config)
    require_true_probes(run, config, RerunStore(run.pool / RERUNS_FILE), sandbox or SandboxConfig())
    twofold = twofold_probes(run, config)
    prepare_probes(run, config)
    sources, missing = _all_sources(run, cycle, config)
    build = _build(run, sources, config, sandbox)
    useless = useless_sources(sources, build.entries) if cycle == 1 else []
    if useless:
        write_rejected(run, build)
        told = [*useless, *rejected_rows(build.entries, build)[:SHOWN_ROWS]]
        raise DataError(
            f"{'; '.join(told)}. {run.pool / REJECTED_FILE} says why; correct it, or remove it from the configuration"
        )
    if not build.kept:
        write_rejected(run, build)
        raise DataError(
            f"no task is left to start from: {Account.of(build.entries).sentence}; "
            f"reasons are in {run.pool / REJECTED_FILE}; check data.seeds and data.extra_files"
        )
    built = time.monotonic()
    changed = set_changed_pool_aside(run, build)
    manifest = publish_pool(run, cycle, cycle - 1, build, config)
    write_bytes_atomic(run.cycle_tasks(cycle), run.pool_tasks.read_bytes())
    now = time.monotonic()
    new = _new_entries(sources, build)
    phases = build.seconds | {"write": now - built}
    report = ConsolidationReport(
        cycle=cycle,
        before=int(_report(run, cycle - 1, MERGE_FILE).get("after", 0)),
        new=Account.of(new),
        tasks=manifest.tasks,
        by_type=manifest.by_type,
        by_source=manifest.by_source,
        manifest_hash=manifest.hash,
        tasks_hash=manifest.tasks_hash,
        verified=config.reexecute is not Reexecute.NEVER,
        seconds=now - started,
        phases={name: round(seconds, 3) for name, seconds in phases.items()},
        sources=build.entries,
        lines=[
            *changed,
            *(f"{item}; its tasks stay in the pool" for item in missing),
            *news(new, build),
            *(passed_over(config.extra_files) if cycle == 1 else ()),
            *twofold,
            *(lacking_types(build.kept, play) if play else ()),
        ],
        missing=missing,
        hashes=frozen_hashes(run.probes),
    )
    write_json_atomic(run.cycle(cycle) / CONSOLIDATION_FILE, asdict(report))
    return report


def merge_shard(
    run: RunDir, cycle: int, config: DataConfig, sandbox: SandboxConfig | None = None
) -> MergeReport:
    """Brings the cycle's shard into the pool; records of all attempts enter, duplicates leave.

    Raises:
        DataError: an evaluation file was changed during the cycle, or the cycle was never consolidated.
        SandboxError: programs cannot be confined on this machine.
    """
    started = time.monotonic()
    check_evaluation_files(run, config)
    start = run.cycle_tasks(cycle)
    if not start.is_file():
        raise DataError(f"{start} does not exist; cycle {cycle} must be consolidated before it is merged")
    before = sum(1 for _ in read_jsonl(start, strict=True))
    sources = [replace(_cycle_source(run, cycle), judged=True), *_shards(run, cycle, judged=cycle - 1)]
    build = _build(run, sources, config, sandbox)
    changed = set_changed_pool_aside(run, build)
    manifest = publish_pool(run, cycle, cycle, build, config)
    new = _new_entries(sources, build)
    start_entry, *earlier_shards = build.entries[: len(build.entries) - len(new)]
    earlier = Account.of(earlier_shards)
    report = MergeReport(
        cycle=cycle,
        before=before,
        new=Account.of(new),
        judged=earlier.read,
        gone=before - start_entry.taken,
        back=earlier.taken,
        after=manifest.tasks,
        by_type=manifest.by_type,
        manifest_hash=manifest.hash,
        seconds=time.monotonic() - started,
        sources=build.entries,
        lines=changed + news(new, build),
    )
    write_json_atomic(run.cycle(cycle) / MERGE_FILE, asdict(report) | {"growth": report.growth})
    check_evaluation_files(run, config)
    return report


def _build(
    run: RunDir, sources: Sequence[TaskSource], config: DataConfig, sandbox: SandboxConfig | None
) -> PoolBuild:
    return build_pool(
        sources,
        config,
        sandbox or SandboxConfig(),
        evaluation=protected_files(run, config),
        reruns=RerunStore(run.pool / RERUNS_FILE),
        behaviour=BehaviourStore(run.pool / BEHAVIOUR_FILE),
    )


def _all_sources(run: RunDir, cycle: int, config: DataConfig) -> tuple[list[TaskSource], list[str]]:
    users, missing = user_sources(config.extra_files)
    others, missing_runs = other_run_sources(config.other_runs, run.root)
    missing += missing_runs
    seeds: list[TaskSource] = []
    try:
        seeds += seed_sources(config)
    except DataError as error:
        if cycle == 1:
            raise
        missing.append(str(error).partition("; ")[0])
    sources = [*seeds, *users, *others]
    if cycle == 1:
        refuse_missing(missing)
    else:
        judged = _judged(run, cycle - 1)
        sources = [
            replace(source, judged=(source.name, file_hash(source.file)) in judged) for source in sources
        ]
        sources.append(replace(_cycle_source(run, cycle - 1), judged=True))
    return sources + _shards(run, cycle - 1, judged=cycle - 1), missing


def _judged(run: RunDir, cycle: int) -> set[tuple[str, str]]:
    """(name, hash) of what CONSOLIDATE of ``cycle`` read; a file that changed since is new, but for what it
    shares with the pool."""
    sources = _report(run, cycle, CONSOLIDATION_FILE).get("sources", [])
    return {(str(entry["name"]), str(entry["hash"])) for entry in sources}


def _report(run: RunDir, cycle: int, name: str) -> dict[str, Any]:
    """A report as it was written; empty where there is none."""
    file = run.cycle(cycle) / name
    return read_json(file) if file.is_file() else {}


def _new_entries(sources: Sequence[TaskSource], build: PoolBuild) -> list[SourceEntry]:
    """Those of the sources that were not judged before: the last ones, as ``build_pool`` orders them."""
    return build.entries[sum(source.judged for source in sources) :]


def _cycle_source(run: RunDir, cycle: int) -> TaskSource:
    """Tasks verified when the file was written are not run again, as long as it is the same file."""
    file, written = run.cycle_tasks(cycle), _report(run, cycle, CONSOLIDATION_FILE)
    verified = bool(written.get("verified")) and file.is_file()
    trusted = verified and file_hash(file) == written.get("tasks_hash")
    return TaskSource(Kind.CYCLE, f"cycles/{cycle:03d}/tasks.jsonl", file, trusted=trusted)


def _shards(run: RunDir, last: int, *, judged: int) -> list[TaskSource]:
    """Shards of the cycles up to ``last``, those up to ``judged`` merged before; a cycle that accepted
    nothing has none."""
    cycles = [cycle for cycle in range(1, last + 1) if run.shard(cycle).is_file()]
    return [
        TaskSource(Kind.SHARD, f"cycles/{cycle:03d}/shard.jsonl", run.shard(cycle), judged=cycle <= judged)
        for cycle in cycles
    ]


def _pool_sum(before: int, taken: int, gone: int, back: int) -> str:
    """``pool 323 + 14 taken - 2 replaced = 335``."""
    parts = [f"pool {before}", f"+ {taken} taken"]
    parts += [f"- {gone} replaced or evicted"] if gone else []
    parts += [f"+ {back} back"] if back else []
    return f"{' '.join(parts)} = {before + taken - gone + back}"


def _with_lines(sentence: str, lines: Sequence[str]) -> str:
    """One text; the campaign puts the last full stop."""
    return ".\n  ".join([sentence, *lines])
