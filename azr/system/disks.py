"""How much room a disk has, and what its errors mean."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from azr.system.mounts import missing_disk

GIB = 2**30


def free_gib(path: Path) -> float:
    """Free space on the file system of ``path`` (or of its nearest existing parent), for this user."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free / GIB


def explain_os_error(error: OSError, path: Path) -> str:
    """A sentence for the errors of a disk, with what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {path} is full ({_what_is_free(path)}). Free some space and start the same command again"
    if error.errno == errno.EFBIG:
        return f"a file under {path} grew over the file size limit of this process (ulimit -f). Raise it and start again"
    if error.errno == errno.EROFS:
        read_only = f"the file system of {path} is read-only"
        return f"{read_only}. Remount it for writing and start the same command again"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"no permission to write {error.filename or path}. Give this user write access and start the same command again; "
            "a new run can lie elsewhere (runs_dir=FOLDER)"
        )
    return missing_disk(path) or f"{error.strerror or error} ({error.filename or path})"


def _what_is_free(path: Path) -> str:
    place = next(place for place in (path, *path.parents) if place.exists())
    status = os.statvfs(place)
    if status.f_files and not status.f_favail:
        return "it has no inodes left, so no more files can be made, however many bytes are free; df -i"
    return f"{free_gib(path):.2f} GiB free"
