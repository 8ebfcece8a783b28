"""Changes to checkpoints on disk: they are published whole, kept by policy, repaired, and taken out of use.

The trainer writes into ``staging_dir``; ``publish_checkpoint`` hashes and fsyncs every file, writes
``manifest.json``, renames the folder to ``step_NNNNNNNN`` and points ``latest.json`` to it. ``latest.json`` is for
people and other tools: the truth is the newest folder that verifies (``azr.run.checkpoints``), so a crash between the
two renames costs nothing.

Deleting goes through a rename to ``.trash-*``, so a half-deleted checkpoint never looks like one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from azr.errors import BudgetError, CheckpointError, DataError
from azr.run.checkpoints import (
    FORMAT,
    MANIFEST,
    THREADS,
    Checkpoint,
    checkpoint_problems,
    list_checkpoints,
    origin_of,
    read_checkpoint,
    step_folders,
    step_of,
)
from azr.run.rundir import RunDir
from azr.system import GIB
from azr.system.disks import explain_os_error, free_gib
from azr.system.files import (
    file_hash,
    fsync,
    fsync_directory,
    give_links_their_files,
    make_folder,
    move_over,
    read_json,
    write_json_atomic,
)
from azr.system.hashes import json_hash

_DEBRIS_PREFIXES = (".tmp-step_", ".trash-", "damaged-step_", "rejected-step_")


def staging_dir(run: RunDir, step: int) -> Path:
    """An empty folder to save the checkpoint of ``step`` into; leftovers of a crashed save are removed."""
    path = run.checkpoints / f".tmp-step_{step:08d}"
    if path.exists():
        shutil.rmtree(path)
    make_folder(path)
    return path


def publish_checkpoint(
    run: RunDir, step: int, staging: Path, info: dict[str, Any] | None = None
) -> Checkpoint:
    """Turns a filled staging folder into the checkpoint of ``step``; durable when it returns.

    Args:
        info: small JSON values to keep in the manifest (cycle, attempt, buffer hash).

    Raises:
        CheckpointError: the folder is empty, or the disk is full or read-only; earlier checkpoints are
            untouched.
    """
    target = run.checkpoint(step)
    if target.exists():
        if not checkpoint_problems(target):  # this very attempt saved the step already
            shutil.rmtree(staging)
            _write_latest(run, step)
            return read_checkpoint(target)
        _discard(target)
    try:
        paths = _files_in(staging)
        with ThreadPoolExecutor(THREADS) as writing, ThreadPoolExecutor(THREADS) as reading_back:
            flushed = writing.map(fsync, paths)
            hashes = reading_back.map(file_hash, paths)  # what is on its way to the disk is still in memory
            files = {
                path.relative_to(staging).as_posix(): {"bytes": path.stat().st_size, "blake2b": digest}
                for path, digest, _ in zip(paths, hashes, flushed, strict=True)
            }
        files.pop(MANIFEST, None)
        if not files:
            raise CheckpointError(f"{staging} is empty: the trainer saved nothing for step {step}")
        info = {**(info or {}), **origin_of(run)}
        manifest = {"format": FORMAT, "step": step, "unix_s": time.time(), "info": info, "files": files}
        manifest["total_bytes"] = sum(entry["bytes"] for entry in files.values())
        write_json_atomic(staging / MANIFEST, manifest | {"checksum": json_hash(manifest)})
        for folder in sorted({path.parent for path in _files_in(staging)}):
            fsync_directory(folder)
        move_over(staging, target)
        fsync_directory(run.checkpoints)
        _write_latest(run, step)
    except OSError as error:
        why = explain_os_error(error, run.checkpoints)
        raise CheckpointError(f"checkpoint of step {step} could not be written: {why}") from error
    return read_checkpoint(target)


def repair_checkpoints(run: RunDir) -> list[str]:
    """After an unclean end: removes debris, sets damaged checkpoints aside, points ``latest.json`` to the
    newest sound one.

    The newest sound checkpoint is found by reading it whole; older ones are checked by name and size.

    Returns:
        a sentence for each thing that was repaired.
    """
    sentences = []
    for path in _debris(run):
        _remove(path)
        if path.exists():
            sentences.append(f"{path} cannot be deleted by this user, and stays. Remove it to free its room.")
        elif path.name.startswith(".tmp-"):
            sentences.append(f"Removed {path.name}, a checkpoint whose saving was interrupted.")
    newest: int | None = None
    for path in reversed(step_folders(run)):
        problems = checkpoint_problems(path, hashes=newest is None)
        if not problems and newest is None:
            newest = step_of(path)
        if problems:
            _put_aside(path, "damaged-")
            sentences.append(f"Set {path.name} aside, which cannot be used: {problems[0]}.")
    latest = _read_latest(run)
    if latest != newest:
        _write_latest(run, newest)
        before, now = ("none" if step is None else f"step {step}" for step in (latest, newest))
        sentences.append(f"latest.json pointed to {before}; it now points to {now}.")
    return sentences


def reject_checkpoints_after(run: RunDir, step: int) -> list[int]:
    """Rollback: takes every checkpoint above ``step`` out of use, newest first. Safe to repeat.

    Raises:
        CheckpointError: ``step`` itself has no checkpoint; nothing is touched.
    """
    if step and not run.checkpoint(step).is_dir():
        raise CheckpointError(f"cannot roll back to step {step}: {run.checkpoint(step)} does not exist")
    rejected = []
    for checkpoint in reversed(list_checkpoints(run)):
        if checkpoint.step > step:
            _put_aside(checkpoint.path, "rejected-")
            rejected.append(checkpoint.step)
    _write_latest(run, step or None)
    return rejected


def steps_to_delete(
    steps: Iterable[int], *, keep_last: int, keep_every: int = 0, protected: Iterable[int] = ()
) -> list[int]:
    """The retention policy, pure: all but the last ``keep_last``, every multiple of ``keep_every``, and the
    protected.

    Args:
        keep_last: at least 1.
        keep_every: 0 = none.
        protected: the best one, the one that a trainer restores now.
    """
    ordered = sorted(steps)
    kept = set(ordered[-max(1, keep_last) :]) | set(protected)
    return [step for step in ordered if step not in kept and not (keep_every and step % keep_every == 0)]


def prune_checkpoints(
    run: RunDir, *, keep_last: int, keep_every: int = 0, protected: Iterable[int] = ()
) -> list[int]:
    """Deletes what the policy does not keep, after the newest has been read whole and found sound.

    Returns:
        the deleted steps; none while the newest checkpoint does not verify, so one sound checkpoint always
        remains.
    """
    checkpoints = list_checkpoints(run)
    doomed = steps_to_delete(
        (item.step for item in checkpoints), keep_last=keep_last, keep_every=keep_every, protected=protected
    )
    if doomed and checkpoint_problems(checkpoints[-1].path):
        return []
    for step in doomed:
        with contextlib.suppress(PermissionError):  # chattr +i, to keep it
            _discard(run.checkpoint(step))
    for path in _debris(run):
        if not path.name.startswith(".tmp-"):  # a save may be under way
            _remove(path)
    return [step for step in doomed if not run.checkpoint(step).exists()]


def require_disk_space(run: RunDir, *, keep_last: int, margin_gib: float) -> float:
    """Raises unless the next saves fit: each as large as the newest checkpoint; before the first one the
    margin alone counts (what a run will need is preflight's to say).

    Room is needed for one checkpoint under way beyond those that retention keeps.

    Returns:
        the GiB that are needed.

    Raises:
        BudgetError: with what is free, what is needed and what to do.
    """
    checkpoints = list_checkpoints(run)
    size_gib = checkpoints[-1].total_bytes / GIB if checkpoints else 0.0
    still_to_come = max(1, keep_last + 1 - len(checkpoints))
    needed, free = size_gib * still_to_come + margin_gib, free_gib(run.checkpoints)
    if free < needed:
        raise BudgetError(
            f"{run.checkpoints}: {free:.2f} GiB free, but {needed:.2f} GiB are needed ({still_to_come} more checkpoints of "
            f"{size_gib:.2f} GiB and a margin of {margin_gib:.2f} GiB). Free some space, or lower campaign.keep_last."
        )
    return needed


def _debris(run: RunDir) -> list[Path]:
    there = run.checkpoints.iterdir() if run.checkpoints.is_dir() else ()
    return sorted(path for path in there if path.name.startswith(_DEBRIS_PREFIXES))


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _discard(path: Path) -> None:
    """Takes a checkpoint out of sight by one rename, then deletes it; one that cannot be renamed by removing its manifest first."""
    give_links_their_files(path, path.parents[1], path.parent)  # which may be on another disk
    trash = path.with_name(f".trash-{path.name}")
    _remove(trash)
    try:
        os.replace(path, trash)
    except OSError:
        (path / MANIFEST).unlink(missing_ok=True)
        trash = path
    _remove(trash)


def _put_aside(path: Path, prefix: str) -> None:
    """Renames a checkpoint, in place of what was put aside under that name before."""
    give_links_their_files(path, path.parents[1], path.parent)  # which may be on another disk
    aside = path.with_name(f"{prefix}{path.name}")
    _remove(aside)
    try:
        move_over(path, aside)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(path, aside)  # a container's overlay renames no folder of the image's


def _remove(path: Path) -> None:
    """What cannot be deleted now (somebody reads it on NFS, another user's, ``chattr +i``) stays, for the next time."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(PermissionError):
            path.unlink(missing_ok=True)


def _write_latest(run: RunDir, step: int | None) -> None:
    if step is None:
        run.latest_checkpoint.unlink(missing_ok=True)
    else:
        write_json_atomic(run.latest_checkpoint, {"step": step, "path": run.checkpoint(step).name})


def _read_latest(run: RunDir) -> int | None:
    try:
        return int(read_json(run.latest_checkpoint)["step"])
    except (DataError, KeyError, TypeError, ValueError):
        return None
