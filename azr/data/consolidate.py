"""CONSOLIDATE and MERGE: the pool from all sources, and the pool with a cycle's shard in it.

Both are pure functions of files that do not change while they run, and both end with the manifest. Killed at any byte, they
give the same files when run again:

* ``consolidate(cycle)`` reads seeds, user files, other runs, what the previous cycle started from, and all shards before this cycle;
* ``merge(cycle)`` reads what this cycle started from and all shards up to this cycle. It needs nothing outside the run.

Neither reads the pool it replaces, so a damaged pool heals by itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from azr.config.data import DataConfig, Reexecute
from azr.config.sandbox import SandboxConfig
from azr.data.behaviour import BEHAVIOUR_FILE, BehaviourStore
from azr.data.build import PoolBuild, build_pool
from azr.data.guard import check_evaluation_files, prepare_probes, protected_files
from azr.data.pool import REJECTED_FILE, publish_pool, write_rejected
from azr.data.reexecute import VERDICTS_FILE, VerdictStore
from azr.data.seeds import seed_sources
from azr.data.sources import Kind, Source, configured_files, other_run_sources
from azr.errors import DataError
from azr.files import file_hash, read_json, read_jsonl, write_bytes_atomic, write_json_atomic
from azr.rundir import RunDir

CONSOLIDATION_FILE = "consolidation.json"
"""In the cycle's folder: the report of what TRAIN starts from."""
MERGE_FILE = "merge.json"
"""In the cycle's folder: the report of what the cycle brought."""


@dataclass(frozen=True)
class ConsolidationReport:
    cycle: int
    tasks: int
    by_type: dict[str, int]
    by_source: dict[str, int]
    dropped: dict[str, int]
    """Reason -> tasks."""
    refused_rows: dict[str, int]
    """Reason -> rows that hold no task."""
    manifest_hash: str
    tasks_hash: str
    """Hash of ``cycles/NNN/tasks.jsonl``."""
    verified: bool
    """Every task was executed in this run, or comes from a shipped file of known hash."""
    seconds: float
    phases: dict[str, float]
    """Phase -> seconds, in order."""
    missing: list[str] = field(default_factory=list)
    """Configured files that are gone; their tasks are kept from the previous cycle."""

    @property
    def sentence(self) -> str:
        types = ", ".join(f"{count} {name}" for name, count in self.by_type.items())
        return f"{self.tasks} tasks ({types}){_left_out(self.dropped, self.refused_rows)} in {self.seconds:.1f} s"


@dataclass(frozen=True)
class MergeReport:
    cycle: int
    before: int
    """Tasks this cycle started from."""
    shard: int
    """Tasks in the cycle's shard, all attempts."""
    added: int
    """Tasks of this shard that are in the pool now."""
    after: int
    by_type: dict[str, int]
    dropped: dict[str, int]
    refused_rows: dict[str, int]
    manifest_hash: str
    seconds: float

    @property
    def growth(self) -> float:
        """Pool after / before."""
        return self.after / self.before if self.before else float(bool(self.after))

    @property
    def sentence(self) -> str:
        return (
            f"{self.shard} tasks of cycle {self.cycle} merged: {self.added} are new, pool {self.before} -> {self.after} "
            f"(x {self.growth:.2f}){_left_out(self.dropped, self.refused_rows)} in {self.seconds:.1f} s"
        )


def consolidate(run: RunDir, cycle: int, config: DataConfig, sandbox: SandboxConfig | None = None) -> ConsolidationReport:
    """Builds the pool from all sources and writes what TRAIN of ``cycle`` starts from.

    Raises:
        DataError: an evaluation file was changed, a configured file is missing in the first cycle, or no task is left.
        SandboxError: programs cannot be confined on this machine.
    """
    started = time.monotonic()
    prepare_probes(run, config)
    sources, missing = _all_sources(run, cycle, config)
    build = _build(run, sources, config, sandbox)
    if not build.kept:
        write_rejected(run, build)
        raise DataError(
            f"no task is left to start from: {sum(item.rows for item in build.entries)} rows read"
            f"{_left_out(build.dropped_counts, build.refused_counts)}; "
            f"reasons are in {run.pool / REJECTED_FILE}; check data.seeds and data.extra_files"
        )
    built = time.monotonic()
    manifest = publish_pool(run, cycle, cycle - 1, build, config)
    write_bytes_atomic(run.cycle_tasks(cycle), run.pool_tasks.read_bytes())
    now = time.monotonic()
    report = ConsolidationReport(
        cycle=cycle,
        tasks=manifest.tasks,
        by_type=manifest.by_type,
        by_source=manifest.by_source,
        dropped=manifest.dropped,
        refused_rows=build.refused_counts,
        manifest_hash=manifest.hash,
        tasks_hash=manifest.tasks_hash,
        verified=config.reexecute is not Reexecute.NEVER,
        seconds=now - started,
        phases={name: round(seconds, 3) for name, seconds in (build.seconds | {"write": now - built}).items()},
        missing=missing,
    )
    write_json_atomic(run.cycle(cycle) / CONSOLIDATION_FILE, asdict(report))
    return report


def merge(run: RunDir, cycle: int, config: DataConfig, sandbox: SandboxConfig | None = None) -> MergeReport:
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
    sources = [_cycle_source(run, cycle), *_shards(run, cycle)]
    build = _build(run, sources, config, sandbox)
    manifest = publish_pool(run, cycle, cycle, build, config)
    counts = {entry.name: entry.tasks for entry in build.entries}
    started_from = _task_ids(start)
    report = MergeReport(
        cycle=cycle,
        before=len(started_from),
        shard=counts.get(_shard_name(cycle), 0),
        added=sum(task.lineage.cycle == cycle and task.task_id not in started_from for task in build.kept),
        after=manifest.tasks,
        by_type=manifest.by_type,
        dropped=manifest.dropped,
        refused_rows=build.refused_counts,
        manifest_hash=manifest.hash,
        seconds=time.monotonic() - started,
    )
    write_json_atomic(run.cycle(cycle) / MERGE_FILE, asdict(report) | {"growth": report.growth})
    check_evaluation_files(run, config)
    return report


def _build(run: RunDir, sources: Sequence[Source], config: DataConfig, sandbox: SandboxConfig | None) -> PoolBuild:
    return build_pool(
        sources,
        config,
        sandbox or SandboxConfig(),
        evaluation=protected_files(run, config),
        verdicts=VerdictStore(run.pool / VERDICTS_FILE),
        behaviour=BehaviourStore(run.pool / BEHAVIOUR_FILE),
    )


def _all_sources(run: RunDir, cycle: int, config: DataConfig) -> tuple[list[Source], list[str]]:
    sources = list(seed_sources(config))
    files, missing = configured_files(config.extra_files, "data.extra_files")
    sources += [Source(Kind.USER, _short_name(file), file, origin="user") for file in files]
    others, missing_runs = other_run_sources(config.other_runs, run.root)
    sources += others
    missing += missing_runs
    if missing and cycle == 1:
        raise DataError("; ".join(missing) + "; correct the path, or take it out of the configuration")
    if cycle > 1:
        sources.append(_cycle_source(run, cycle - 1))
    return sources + _shards(run, cycle - 1), missing


def _cycle_source(run: RunDir, cycle: int) -> Source:
    """Tasks that were verified when the file was written are not run again, as long as it is the file that was written."""
    file, report = run.cycle_tasks(cycle), run.cycle(cycle) / CONSOLIDATION_FILE
    written = read_json(report) if report.is_file() else {}
    trusted = bool(written.get("verified")) and file.is_file() and file_hash(file) == written.get("tasks_hash")
    return Source(Kind.CYCLE, f"cycles/{cycle:03d}/tasks.jsonl", file, trusted=trusted)


def _shard_name(cycle: int) -> str:
    return f"cycles/{cycle:03d}/shard.jsonl"


def _shards(run: RunDir, last: int) -> list[Source]:
    """Shards of the cycles up to ``last``; a cycle that accepted nothing has none."""
    return [Source(Kind.SHARD, _shard_name(cycle), run.shard(cycle)) for cycle in range(1, last + 1) if run.shard(cycle).is_file()]


def _short_name(file: Path) -> str:
    return "/".join(file.parts[-2:])


def _task_ids(file: Path) -> set[str]:
    return {str(record.get("task_id")) for record in read_jsonl(file, strict=True)}


def _left_out(dropped: dict[str, int], refused_rows: dict[str, int]) -> str:
    """``, left out: 12 duplicate_exact, 3 schema``; empty where nothing was."""
    counts = Counter(dropped) + Counter(refused_rows)
    shown = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return f", left out: {shown}" if shown else ""
