"""Disks that are not there: links into one, and mount points where none is mounted."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

FSTAB = Path("/etc/fstab")
MOUNTS = Path("/proc/self/mountinfo")
KERNEL = Path("/proc/sys/kernel/osrelease")
_DRIVE = re.compile(r"/mnt/[a-z]")


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
        mounted = _mounted()
    except (OSError, RuntimeError):  # a link to itself
        return ""
    for place in (real, *real.parents):
        if (why := awaited.get(str(place), "")) and str(place) not in mounted and _is_empty(place):
            return (
                f"{place} is empty, and nothing is mounted there, although {why}; mount it first. To use the folder itself, make "
                f"one in it: mkdir {place}/runs"
            )
    return ""


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


def _mounted() -> set[str]:
    lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return {_plain(line.split()[4]) for line in lines}


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
