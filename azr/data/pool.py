"""Replaces the pool on disk: backup, tasks, rejected rows, and last the manifest that makes them valid."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from azr.config.data import DataConfig
from azr.data.build import PoolBuild
from azr.data.guard import protected_files
from azr.data.manifest import (
    MANIFEST_VERSION,
    POLICY_LEFT_OUT,
    PoolManifest,
    python_minor,
    read_manifest,
    tasks_text,
)
from azr.errors import DataError
from azr.run.rundir import RunDir
from azr.system.files import (
    file_hash,
    fsync_directory,
    read_jsonl,
    remove_leftovers,
    whole_folder,
    write_bytes_atomic,
    write_json_atomic,
    write_jsonl_atomic,
    write_text_atomic,
)
from azr.system.hashes import json_hash
from azr.tasks import SCHEMA_VERSION

BACKUPS = "backups"
REJECTED_FILE = "rejected.jsonl"
"""``pool/rejected.jsonl``: every row and task that is not in the pool, with its source, line, reason and the copy
that is."""


CHANGED_FILE = "tasks.changed-{:03d}.jsonl"
"""In the pool's folder, with a number: its tasks as somebody else had left them, before they were built anew."""


def set_changed_pool_aside(run: RunDir, build: PoolBuild) -> list[str]:
    """Keeps a pool that is not what its manifest says (edited by hand, damaged, cut short) under another name, since
    ``build`` is made from its sources alone. One that was half replaced holds what ``build`` does.

    Returns:
        a sentence for the user; none where nothing was changed.
    """
    try:
        manifest = read_manifest(run)
    except DataError:
        return []
    if not run.pool_tasks.is_file() or manifest.describes(run):
        return []
    if run.pool_tasks.read_bytes() == tasks_text(build.kept).encode("utf-8", "surrogatepass"):
        return []
    number = next(n for n in itertools.count(1) if not (run.pool / CHANGED_FILE.format(n)).exists())
    kept = run.pool_tasks.rename(run.pool / CHANGED_FILE.format(number))
    return [
        f"pool/{run.pool_tasks.name} was changed since it was written, and is built anew from its sources; what it held is in "
        f"pool/{kept.name}. Your own tasks belong in data.extra_files"
    ]


def publish_pool(
    run: RunDir, cycle: int, through_shard: int, build: PoolBuild, config: DataConfig
) -> PoolManifest:
    """Writes the pool of ``build``; killed anywhere inside, the next call finishes the work."""
    remove_leftovers(run.pool, run.pool / BACKUPS, run.cycle(cycle))
    text = tasks_text(build.kept)
    back_up_pool(run, config.backups_kept, keep_current=text)
    write_text_atomic(run.pool_tasks, text)
    rejected = write_rejected(run, build)
    policy = {key: value for key, value in asdict(config).items() if key not in POLICY_LEFT_OUT}
    manifest = PoolManifest(
        version=MANIFEST_VERSION,
        schema=SCHEMA_VERSION,
        cycle=cycle,
        through_shard=through_shard,
        python=python_minor(),
        policy=json_hash(policy, 16),
        sources=build.entries,
        tasks=len(build.kept),
        by_type=_counts(task.task_type.value for task in build.kept),
        by_source=_counts(task.lineage.source for task in build.kept),
        dropped=_counts(item.reason.value for item in build.dropped),
        tasks_hash=file_hash(run.pool_tasks),
        rejected_hash=file_hash(rejected),
        evaluation={file.name: file_hash(file) for file in protected_files(run, config)},
    ).sealed()
    write_json_atomic(run.pool_manifest, asdict(manifest))
    return manifest


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def write_rejected(run: RunDir, build: PoolBuild) -> Path:
    """Writes what is not in the pool, with the reasons, beside it. What was said of a source that this build did
    not read (a merge reads no user files) stays."""
    path = run.pool / REJECTED_FILE
    read_now = {entry.name for entry in build.entries}
    records = [record for record in read_jsonl(path) if record.get("source") not in read_now]
    for item in build.refused:
        content = item.row.record if item.row.record is not None else item.row.text
        where = {"source": item.source, "line": item.row.line}
        records.append({"reason": item.reason.value, "detail": item.detail, **where, "record": content})
    for left, origin in zip(build.dropped, build.dropped_from, strict=True):
        where = {"source": build.entries[origin.source].name, "line": origin.line, "copy_of": left.copy_of}
        content = left.task.to_json()
        records.append({"reason": left.reason.value, "detail": left.detail, **where, "record": content})
    write_jsonl_atomic(path, records)
    return path


def back_up_pool(run: RunDir, kept: int, keep_current: str = "") -> None:
    """Puts the valid pool aside as ``pool/backups/CYCLE_HASH/`` unless it is what is about to be written;
    prunes old ones."""
    folder = run.pool / BACKUPS
    try:
        manifest = read_manifest(run)
    except DataError:
        return  # none yet, or half replaced: nothing worth keeping
    if not manifest.describes(run):
        return
    if kept and run.pool_tasks.read_text(encoding="utf-8", errors="surrogatepass") != keep_current:
        target = folder / f"{manifest.cycle:03d}_{manifest.through_shard:03d}_{manifest.hash}"
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with whole_folder(target) as staging:
                for file in (run.pool_tasks, run.pool_manifest):
                    write_bytes_atomic(staging / file.name, file.read_bytes())
            fsync_directory(folder)
    complete = sorted(path for path in folder.glob("[!.]*") if path.is_dir())
    for path in complete[: max(len(complete) - kept, 0)]:
        shutil.rmtree(path, ignore_errors=True)
