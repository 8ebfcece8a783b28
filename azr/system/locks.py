"""A lock on a file, also where the file's own system has none: shares without a lock service, as homes of a
cluster may be."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from azr.errors import RunError
from azr.system.hashes import text_hash
from azr.system.places import private_folder

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""NFS without its lock service; SMB; FUSE and 9p, by how much of it they know."""


def to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def take_lock(path: Path, limit_s: float, say: Callable[[str], object] = to_stderr) -> filelock.FileLock:
    """The lock of ``path``, taken. The kernel lets go of it when its holder dies, so a stale file blocks nobody.

    Where the file system has no locks, a file of this user's on this machine stands for it, which keeps out
    everybody here and nobody on another machine.

    Args:
        limit_s: how long to wait for another holder.
        say: called with a sentence when another file is used for it.

    Raises:
        filelock.Timeout: somebody else holds it.
        RunError: nor does the temporary folder's file system have locks.
        OSError: it cannot be made.
    """
    lock, why = _taken(path, limit_s)
    if not why:
        return lock
    lock, nor_here = _taken(_in_its_place(path), limit_s)
    if nor_here:
        places = dict.fromkeys(map(str, (path.parent, Path(lock.lock_file).parent)))
        raise RunError(
            f"the file systems of {' and '.join(places)} have no locks ({nor_here}), so nothing keeps two processes from "
            "writing the same files; put the temporary folder on a disk of this machine (export TMPDIR=/dev/shm, or /var/tmp)"
        )
    say(
        f"The file system of {path.parent} has no locks ({why}), so {lock.lock_file} stands for one: "
        "work on it from one machine only."
    )
    return lock


def is_free(path: Path) -> bool:
    """Whether nobody on this machine, in a container of it or not, holds the lock of ``path`` (``take_lock``); False where that
    cannot be told."""
    for place in (path, _in_its_place(path)):
        try:
            with open(place, "rb") as file:
                fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)  # until the file is closed
            return True
        except FileNotFoundError:
            return place == path
        except OSError as error:
            if error.errno not in NO_LOCKS:
                return False
    return False


def _in_its_place(path: Path) -> Path:
    return private_folder() / f"{text_hash(str(path.resolve()))}.lock"


def has_locks(folder: Path) -> bool:
    """Whether files in ``folder`` can be locked; leaves an empty one there.

    Raises:
        OSError: it cannot be made.
    """
    lock, why = _taken(folder / ".lock", -1)
    lock.release()
    return not why


def _taken(path: Path, limit_s: float) -> tuple[filelock.FileLock, str]:
    """The lock, taken; or one that is not, and why its file system has none."""
    # filelock's own way out is a file beside the run that outlives its holder, and would take any older lock for a
    # living one
    lock = filelock.FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=limit_s)
    except OSError as error:
        if isinstance(error, filelock.Timeout) or error.errno not in NO_LOCKS:
            raise
        return lock, error.strerror or str(error)
    return lock, ""


@contextlib.contextmanager
def locked(path: Path, limit_s: float, refusal: str) -> Iterator[None]:
    """Holds the lock of ``path`` inside the ``with`` block.

    Raises:
        RunError: somebody else holds it, which ``refusal`` says; else as ``take_lock``.
    """
    try:
        lock = take_lock(path, limit_s)
    except filelock.Timeout as error:
        raise RunError(refusal) from error
    try:
        yield
    finally:
        lock.release()
