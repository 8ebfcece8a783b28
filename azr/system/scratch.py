"""Temporary folders that outlive nobody: removed when their block ends, also by SIGTERM, and, where their owner was
killed, by whoever makes the next one.

The owner holds a lock on the folder itself, which the kernel drops when the owner ends. A folder is only ever taken
for abandoned if it has our form of name, belongs to this user and can be locked; on a file system without such locks
none is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from azr.system.hashes import text_hash

_HERE = text_hash(os.uname().nodename, 4)
"""Names this machine, or container. Locks on a share may be each machine's own, so one leaves alone what another made."""
_OURS = re.compile(rf"azr-[a-z]+-{_HERE}[0-9a-f]{{4}}\.tmp")
"""Short: sockets lie in such folders."""
_UNBORN = ".azr-new-"
"""A folder's first name, under which nobody takes it for abandoned before it is locked."""


@contextlib.contextmanager
def scratch_folder(kind: str) -> Iterator[Path]:
    """A folder of this process in the temporary one.

    Args:
        kind: what it is for, in small letters; part of its name.
    """
    remove_abandoned_scratch()
    parent = Path(tempfile.gettempdir())
    names = iter(lambda: f"azr-{kind}-{_HERE}{secrets.token_hex(2)}.tmp", "")
    free = next(parent / name for name in names if not (parent / name).exists())
    with owned_folder(free, mode=0o700) as folder:
        yield folder


def staging_for(target: Path) -> Path:
    """Where a folder that is to become ``target`` is made. Others whose owner was killed are removed."""
    beginning = f".{target.name}.{_HERE}"
    remove_abandoned(target.parent, re.compile(rf"{re.escape(beginning)}[0-9a-f]{{4}}\.tmp"))
    return target.with_name(f"{beginning}{secrets.token_hex(2)}.tmp")


def remove_abandoned_scratch() -> None:
    """Removes what ``scratch_folder`` made for processes that were killed."""
    remove_abandoned(Path(tempfile.gettempdir()), _OURS)


@contextlib.contextmanager
def owned_folder(
    folder: Path, *, mode: int = 0o777, finish: Callable[[], object] = lambda: None
) -> Iterator[Path]:
    """Makes ``folder``, locked by this process, and removes it at the end.

    Args:
        finish: called when the block ends well, before what is then left is removed. The lock is given back already: a
            folder that is open cannot be renamed on drives of Windows.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unborn = folder.with_name(f"{_UNBORN}{secrets.token_hex(6)}")
    try:
        unborn.mkdir(mode)
    except OSError as error:
        error.filename = str(folder)
        raise
    try:
        with contextlib.ExitStack() as lock:
            lock.enter_context(_locked(unborn))
            try:
                unborn.rename(folder)
            except OSError:
                lock.close()
                unborn.rename(folder)
            yield folder
        finish()
    finally:
        shutil.rmtree(unborn, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path, names: re.Pattern[str]) -> None:
    """Removes the folders in ``parent`` whose owner was killed."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(parent)):
            if names.fullmatch(entry.name) and _is_own_folder(entry):
                with _locked(Path(entry.path)) as nobody_has_it:
                    if nobody_has_it:
                        shutil.rmtree(entry.path, ignore_errors=True)


def _is_own_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.getuid()
    except OSError:
        return False


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the folder could be locked: somebody may hold it, or its file system has no locks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
