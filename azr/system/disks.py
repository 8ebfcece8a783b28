"""Disks: those that are not there, how much room the others have, and what their errors mean."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from pathlib import Path

from azr.system import GIB

FSTAB = Path("/etc/fstab")
MOUNTS = Path("/proc/self/mountinfo")
KERNEL = Path("/proc/sys/kernel/osrelease")
_DRIVE = re.compile(r"/mnt/[a-z]")
_GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT)
"""What a drive that was unplugged, or a share whose server is gone, answers."""
_OF_ONE_MACHINE = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "jfs", "reiserfs", "tmpfs", "ramfs", "overlay", "vfat",
     "exfat", "ntfs3", "fuseblk", "hfsplus"}
)  # fmt: skip
"""Disks, and what lies in memory; others are shares, or not known here."""
_NOT_ON_WINDOWS = frozenset('<>:"|?*\\')
"""What its file systems refuse in names, wherever they are mounted."""


def free_gib(path: Path) -> float:
    """Free space on the file system of ``path`` (or of its nearest existing parent), for this user. Some shares (FUSE) answer
    zeros alone; as much is taken to be free then as others of them say, a pebibyte."""
    while not path.exists():
        path = path.parent
    room = shutil.disk_usage(path)
    return room.free / GIB if room.total else 2.0**20


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
        if place := _left_by_sudo(Path(error.filename or path), path):
            return (
                f"no permission to write {error.filename or path}: {place} belongs to root, as after a start with sudo. Give all of it "
                f"back, then start again: sudo chown -R {os.geteuid()} {path}"
            )
        return (
            f"no permission to write {error.filename or path}. Give this user write access and start the same command again; "
            "a new run can lie elsewhere (runs_dir=FOLDER)"
        )
    if error.errno in _GONE:
        return (
            f"{error.strerror} ({error.filename or path}): the disk fails, or was unplugged or lost. Once it can be read, "
            "the same command goes on"
        )
    told = missing_disk(path) or f"{error.strerror or error} ({error.filename or path})"
    marks = " ".join(sorted(_NOT_ON_WINDOWS & set(path.name)))
    if error.errno in (errno.ENOENT, errno.EINVAL) and marks:
        return f"{told}. A disk of Windows (exFAT, FAT) takes no {marks} in a name: choose another one"
    return told


def _left_by_sudo(file: Path, path: Path) -> Path | None:
    """What of ``path``, in a folder of this user's, is root's, so that ``file`` cannot be written; else None: root's own folders
    (``/opt``), and a colleague's run, are not this user's to take."""
    with contextlib.suppress(OSError):
        place = next(place for place in (file, *file.parents) if place.exists())
        is_own = any(_owner(parent) == os.geteuid() for parent in path.parents)
        if is_own and place.is_relative_to(path) and _owner(place) == 0 != os.geteuid():
            return place
    return None


def _owner(path: Path) -> int:
    return path.stat().st_uid


def _what_is_free(path: Path) -> str:
    place = next(place for place in (path, *path.parents) if place.exists())
    status = os.statvfs(place)
    if status.f_files and not status.f_favail:
        return "it has no inodes left, so no more files can be made, however many bytes are free; df -i"
    return f"{free_gib(path):.2f} GiB free"


def missing_disk(path: Path) -> str:
    """A sentence where the path, or a folder that leads to it, is a link to nothing, or the empty place of a disk that
    is not mounted; else empty."""
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            if place.is_symlink() and not place.exists():
                return f"{place} is a link to {place.readlink()}, which does not exist; is its disk mounted?"
    try:
        real = path.resolve()
        awaited = _awaited()
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        mounted = {_plain(line.split()[4]) for line in lines}
    except (OSError, RuntimeError):  # a link to itself
        return ""
    for place in (real, *real.parents):
        if (why := awaited.get(str(place), "")) and str(place) not in mounted and _is_empty(place):
            return (
                f"{place} is empty, and nothing is mounted there, although {why}; mount it first. To use the folder itself, make "
                f"one in it: mkdir {place}/runs"
            )
    return ""


def share_without_locks(path: Path) -> str:
    """The kind of file system of ``path`` (``9p``, ``fuse.sshfs``) where another machine may write there and its locks are not known
    to keep that one out; else empty."""
    best, kind, options = -1, "", ""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        real = path.resolve()
        for line in MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            fields = line.split()
            place, after = Path(_plain(fields[4])), fields.index("-")
            # of two at one place the later one hides the other
            if len(place.parts) >= best and real.is_relative_to(place):
                best, kind, options = len(place.parts), fields[after + 1], fields[after + 3]
    locks = kind.startswith("nfs") and "local_lock=none" in options.split(",")
    return "" if kind in _OF_ONE_MACHINE or locks else kind


def _awaited() -> dict[str, str]:
    """Folder -> why a disk belongs there."""
    found = {}
    with contextlib.suppress(OSError):
        for line in FSTAB.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            fields = line.split()
            if len(fields) >= 2 and not line.lstrip().startswith("#") and fields[1].startswith("/"):
                found[_plain(fields[1]).rstrip("/") or "/"] = f"{FSTAB} names it"
    if "microsoft" in KERNEL.read_text(encoding="ascii", errors="replace").lower():
        found |= {str(drive): "it is the place of a drive of Windows" for drive in _drives()}
    return found


def _drives() -> list[Path]:
    with contextlib.suppress(OSError):
        return [path for path in Path("/mnt").iterdir() if _DRIVE.fullmatch(str(path))]
    return []


def _plain(text: str) -> str:
    r"""Without the escapes of fstab and mountinfo (``\040`` for a space)."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:
        return True
    except OSError:
        return False
