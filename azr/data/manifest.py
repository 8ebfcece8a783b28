"""The pool's manifest: what is in the pool, from which sources, and what was left out for which reason.

It holds no times, machine names or absolute paths: the same inputs under the same policy give the same bytes, and so
the same ``hash``. It is written last; a pool whose files do not match it is the trace of a crash and is rebuilt.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from azr.errors import DataError
from azr.run.records import from_json
from azr.run.rundir import RunDir
from azr.system.files import file_hash, json_line, read_json, read_jsonl
from azr.system.hashes import text_hash
from azr.tasks import Task

MANIFEST_VERSION = 1
POLICY_LEFT_OUT = (
    "extra_files", "other_runs", "probe_files", "evaluation_files", "seeds", "workers", "backups_kept",
)  # fmt: skip
"""Configuration that says where to look or how fast, not what to keep."""


@dataclass(frozen=True)
class SourceEntry:
    name: str
    kind: str
    hash: str
    rows: int
    tasks: int
    """Tasks its rows hold (a published seed row holds two): ``known`` + ``taken`` + ``dropped``."""
    refused_rows: dict[str, int] = field(default_factory=dict)
    """Reason -> rows that hold no task."""
    known: int = 0
    """Tasks that another source brought as well, and is counted for; judged sources come first."""
    taken: int = 0
    """Tasks that are in the pool."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason -> tasks that are not."""


@dataclass(frozen=True)
class PoolManifest:
    version: int
    schema: int
    cycle: int
    through_shard: int
    """Latest cycle whose shard is in the pool."""
    python: str
    """``3.11``: gold outputs and canonical forms belong to one minor version."""
    policy: str
    """Hash of the settings that decide what is kept."""
    sources: list[SourceEntry]
    tasks: int
    by_type: dict[str, int]
    by_source: dict[str, int]
    """Lineage source -> tasks."""
    dropped: dict[str, int]
    """Reason -> tasks that are in a source but not in the pool. Over all sources of the pool, not the new ones alone:
    with ``tasks`` and what the sources have as ``known`` they add up to all tasks of the sources."""
    tasks_hash: str
    rejected_hash: str
    evaluation: dict[str, str]
    """File name -> hash of what the pool was compared with."""
    hash: str = ""

    def sealed(self) -> PoolManifest:
        return replace(self, hash=_body_hash(asdict(self)))

    def describes(self, run: RunDir) -> bool:
        """Whether the pool's tasks are the ones it was written for."""
        return run.pool_tasks.is_file() and file_hash(run.pool_tasks) == self.tasks_hash


def _body_hash(record: dict[str, Any]) -> str:
    body = {key: value for key, value in record.items() if key != "hash"}
    return text_hash(json.dumps(body, sort_keys=True, ensure_ascii=False))


def python_minor() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def tasks_text(tasks: Iterable[Task]) -> str:
    return "".join(json_line(task.to_json()) for task in tasks)


def read_manifest(run: RunDir) -> PoolManifest:
    """Raises:
    DataError: there is none, or it is damaged.
    """
    if not run.pool_manifest.exists():
        raise DataError(
            f"{run.root} has no pool of tasks (pool/{run.pool_manifest.name}): it has not consolidated any yet, or they were deleted, or "
            "left out when it was copied. The next cycle builds it anew"
        )
    value = read_json(run.pool_manifest)
    try:
        manifest = from_json(PoolManifest, value, run.pool_manifest)
    except DataError as error:
        raise DataError(f"{error}; the next consolidation rebuilds it") from error
    if _body_hash(value) != manifest.hash:  # of the file as it stands: an older version wrote fewer fields
        raise DataError(
            f"{run.pool_manifest} was changed by hand or damaged; the next consolidation rebuilds it"
        )
    return manifest


def load_pool(run: RunDir) -> list[Task]:
    """The verified tasks of the pool.

    Raises:
        DataError: the pool does not match its manifest.
    """
    if not read_manifest(run).describes(run):
        raise DataError(
            f"{run.pool_tasks} does not match its manifest; run the same command again; consolidation rebuilds it"
        )
    return [Task.from_json(record) for record in read_jsonl(run.pool_tasks, strict=True)]
