"""Checkpoints on disk, read and verified by hash. ``azr.run.checkpoint_store`` makes and removes them.

A folder named ``step_*`` with a manifest whose hashes match is a checkpoint; anything else is debris.

Reading gigabytes takes longer than anything else that is done with them, so files are read side by side, and a process
reads none twice that the file system says is unchanged (``_hash_once``). A process that starts reads everything.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from azr.errors import AzrError, CheckpointError, DataError
from azr.run.asked_otherwise import Place
from azr.run.protocol import MetricsRecord
from azr.run.rundir import RunDir
from azr.system.files import file_hash, read_json
from azr.system.hashes import json_hash

FORMAT = 1
MANIFEST = "manifest.json"
THREADS = 8
"""Files that are read at a time; reading and hashing release the interpreter's lock."""
SETTLED_S = 3.0
"""A file that was changed so shortly before it was read may have been changed again without a newer time stamp."""
_STEP_NAME = re.compile(r"step_\d{8,}")


@dataclass(frozen=True)
class Checkpoint:
    """One folder under ``checkpoints/`` that has a manifest."""

    step: int
    path: Path
    total_bytes: int
    unix_s: float
    info: dict[str, Any]
    """What the trainer noted: cycle, attempt, buffer hash ..."""


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a manifest, checking the manifest alone.

    Raises:
        CheckpointError: there is no manifest, or it is damaged.
    """
    manifest = _read_manifest(path)
    return Checkpoint(manifest["step"], path, manifest["total_bytes"], manifest["unix_s"], manifest["info"])


def checkpoint_problems(path: Path, *, hashes: bool = True, only: str | tuple[str, ...] = "") -> list[str]:
    """What is wrong with a checkpoint, a sentence each; empty when every file is as its manifest says.

    Args:
        hashes: read every byte (about 1 GB/s of a file) that this process has not read yet; without it only names and sizes
            are compared.
        only: beginnings of the names of the files to look at; the others may be damaged.
    """
    try:
        manifest = _read_manifest(path)
    except CheckpointError as error:
        return [str(error)]
    with ThreadPoolExecutor(THREADS) as reading_files:
        found = reading_files.map(
            lambda item: _file_problem(path / item[0], item[1], hashes=hashes),
            [item for item in manifest["files"].items() if item[0].startswith(only)],
        )
        return [problem for problem in found if problem]


def require_sound(path: Path, *, hashes: bool = True, only: str | tuple[str, ...] = "") -> None:
    """Before a checkpoint is opened; ``hashes`` and ``only`` as in ``checkpoint_problems``.

    Raises:
        CheckpointError: it is damaged.
    """
    if problems := checkpoint_problems(path, hashes=hashes, only=only):
        raise CheckpointError(f"{path} is damaged: {problems[0]}; it was not opened")


def _file_problem(file: Path, entry: dict[str, Any], *, hashes: bool) -> str:
    shown = f"{file}, a link to {file.readlink()}," if file.is_symlink() else f"{file}"
    try:
        size = file.stat().st_size
        if size != entry["bytes"]:
            return f"{shown} has {size} bytes, its manifest says {entry['bytes']}"
        if hashes and _hash_once(file) != entry["blake2b"]:
            return f"{shown} has its {size} bytes, but not the content that its manifest records"
    except OSError as error:
        return f"{shown} cannot be read: {error.strerror}"
    return ""


_HASHES: dict[tuple[int, ...], str] = {}
_HASHES_REMEMBERED = 10_000


def _hash_once(file: Path) -> str:
    """``file_hash``; of a file that this process has read before and that was not changed since, from memory."""
    stat = file.stat()
    seen = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if seen in _HASHES:
        return _HASHES[seen]
    began_s = time.time()
    digest = file_hash(file)
    if began_s - max(stat.st_mtime, stat.st_ctime) > SETTLED_S:
        if len(_HASHES) >= _HASHES_REMEMBERED:
            _HASHES.clear()
        _HASHES[seen] = digest
    return digest


def list_checkpoints(run: RunDir) -> list[Checkpoint]:
    """All folders with a sound manifest, oldest step first; contents are not verified."""
    found = []
    for path in step_folders(run):
        try:
            found.append(read_checkpoint(path))
        except CheckpointError:
            continue
    return found


def latest_verified_checkpoint(run: RunDir, *, at_most_step: int | None = None) -> Checkpoint | None:
    """The newest checkpoint whose every byte matches its manifest; None when there is none.

    Args:
        at_most_step: look only at checkpoints up to this step (rollback).
    """
    for checkpoint in reversed(list_checkpoints(run)):
        is_looked_at = at_most_step is None or checkpoint.step <= at_most_step
        if is_looked_at and not checkpoint_problems(checkpoint.path):
            return checkpoint
    return None


def best_checkpoint(
    steps: Iterable[int], records: list[MetricsRecord], metric: str, changes: Collection[Place] = ()
) -> tuple[int | None, float | None]:
    """The checkpoint with the highest score, the latest of equals; (None, None) where none was scored. A score after one
    of ``changes`` (``azr.run.asked_otherwise``) is not compared with one before it, and takes its place.

    A checkpoint's score is the latest value of ``metric`` at or before its step, and after the checkpoint
    before it.
    """
    best: tuple[int | None, float | None] = (None, None)
    place, before = (0, 0), 0
    for step in sorted(steps):
        own = [record for record in records if before < record.step <= step and metric in record.values]
        before = step
        if not own or math.isnan(score := own[-1].values[metric]):
            continue
        now = (own[-1].cycle, own[-1].attempt)
        if best[1] is None or score >= best[1] or any(place <= change < now for change in changes):
            best, place = (step, score), now
    return best


@contextlib.contextmanager
def reading(checkpoint: Checkpoint) -> Iterator[None]:
    """Around whatever reads a checkpoint of a run that may go on, whose driver removes old ones.

    Raises:
        CheckpointError: it was removed meanwhile.
    """
    try:
        yield
    except (AzrError, OSError) as error:
        if (checkpoint.path / MANIFEST).exists():
            raise
        raise CheckpointError(
            f"{checkpoint.path} was removed while it was read: the run goes on, and keeps only its last checkpoints "
            "(campaign.keep_last). Run the command again, or name a step that it keeps"
        ) from error


def damaged_checkpoints(run: RunDir, *, after: int = -1, hashes: bool = True) -> list[str]:
    """A sentence for each checkpoint of a step above ``after`` that is damaged, for whoever takes another one;
    ``hashes`` as in ``checkpoint_problems``."""
    sentences = []
    for path in step_folders(run):
        if step_of(path) > after and (problems := checkpoint_problems(path, hashes=hashes)):
            sentences.append(f"{path.name} cannot be used and was passed over: {problems[0]}.")
    return sentences


def origin_of(run: RunDir) -> dict[str, str]:
    """What tells the checkpoints of a run, its copies included, from any other run's; empty where that is not recorded."""
    with contextlib.suppress(DataError, AttributeError):
        if origin := read_json(run.identity).get("origin"):
            return {"origin": str(origin), "run": run.root.name}
    return {}


def step_folders(run: RunDir) -> list[Path]:
    """The folders that are named like checkpoints, oldest first."""
    there = run.checkpoints.iterdir() if run.checkpoints.is_dir() else ()
    return sorted((path for path in there if _STEP_NAME.fullmatch(path.name) and path.is_dir()), key=step_of)


def step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step_"))


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = read_json(path / MANIFEST)
        checksum = manifest.pop("checksum")
        if checksum != json_hash(manifest):
            raise CheckpointError(f"{path / MANIFEST} differs from its own checksum")
        if _STEP_NAME.fullmatch(path.name) and step_of(path) != manifest["step"]:
            raise CheckpointError(
                f"{path} holds the checkpoint of step {manifest['step']}; call it step_{manifest['step']:08d}"
            )
        for name in manifest["files"]:
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise CheckpointError(f"{path / MANIFEST} names a file outside its folder: {name}")
        run = RunDir(path.parent.parent)
        saved_by, own = manifest["info"], origin_of(run)
        if own and saved_by.get("origin", own["origin"]) != own["origin"]:
            name = str(saved_by.get("run"))
            raise CheckpointError(
                f"{path} was saved by another run ({name}), and no figure of this one is of it. To begin from its model: azr export "
                f"{run.root.absolute().parent / name} --step {manifest['step']} --out FOLDER, then model.path=FOLDER and another name="
            )
    except (DataError, OSError) as error:
        raise CheckpointError(str(error)) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path / MANIFEST} is not a manifest: {error!r}") from error
    return manifest
