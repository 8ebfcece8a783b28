"""Shared memory of a trainer's processes: recorded while they live, and removed if they were killed before
they could do so.

Only what a process of ours was seen to hold is ever removed, and only if nobody holds it any more.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from azr.errors import DataError
from azr.system.files import read_json, write_json_atomic
from azr.system.processes import ProcessId, boot_id

SHM = Path("/dev/shm")
_GONE = " (deleted)"


def no_shared_memory(folder: Path = SHM) -> str:
    """A sentence where Ray would not start for want of it; a full one is another matter, which is tidied up."""
    why = "cannot be written" if folder.is_dir() else "is not there"
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return ""
    return (
        f"{folder} {why}, and a run's processes share their memory in it: mount -t tmpfs -o size=8G tmpfs {folder}, "
        f"or for a container --shm-size=8g (a read-only one: --tmpfs {folder}:size=8g)"
    )


@dataclass(frozen=True)
class Segment:
    """A file of /dev/shm, unmistakably: a name may be used again, a name with its inode of the same boot is not."""

    name: str
    inode: int
    boot_id: str

    @property
    def is_there(self) -> bool:
        with contextlib.suppress(OSError):
            if "/" in self.name:
                return False
            found = (SHM / self.name).lstat()
            return (found.st_ino, self.boot_id, found.st_uid) == (self.inode, boot_id(), os.getuid())
        return False


class SegmentList:
    """``shared_memory.json`` of an attempt."""

    def __init__(self, path: Path) -> None:
        """Begins with what the file says; with nothing where it is missing or damaged."""
        self.path = path
        self._known: set[Segment] = set()
        with contextlib.suppress(DataError, KeyError, TypeError):
            self._known = {Segment(**entry) for entry in read_json(path)["segments"]}

    def remember(self, processes: Iterable[ProcessId], *, thorough: bool = False) -> None:
        """Adds what the processes hold now, and writes the file if that is new.

        Args:
            thorough: look at their maps too, not only at their open files; takes some milliseconds a process.
        """
        seen = set()
        for process in processes:
            for name in _held_by(process.pid, maps=thorough):
                with contextlib.suppress(OSError):
                    seen.add(Segment(name, (SHM / name).lstat().st_ino, boot_id()))
        if not seen <= self._known:
            self._known = {segment for segment in self._known | seen if segment.is_there}
            entries = [asdict(segment) for segment in sorted(self._known, key=lambda segment: segment.name)]
            write_json_atomic(self.path, {"segments": entries})

    def sweep(self) -> list[str]:
        """Removes the segments that nobody holds any more; returns their names."""
        left = {segment for segment in self._known if segment.is_there}
        if not left:
            return []
        held = {name for pid in psutil.pids() for name in _held_by(pid, maps=True)}
        removed = []
        for segment in sorted(left, key=lambda segment: segment.name):
            if segment.name not in held and segment.is_there:
                with contextlib.suppress(OSError):
                    (SHM / segment.name).unlink()
                    removed.append(segment.name)
        return removed


def _held_by(pid: int, *, maps: bool) -> Iterator[str]:
    """Names below /dev/shm that a process has open or mapped; none for a process that may not be looked at."""
    paths = []
    folder = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        for descriptor in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):
                paths.append(str(descriptor.readlink()))
    if maps:
        with contextlib.suppress(OSError):
            lines = (folder / "maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            paths += [line[line.index("/") :] for line in lines if str(SHM) in line]
    prefix = f"{SHM}/"
    for path in paths:
        if path.startswith(prefix) and not path.endswith(_GONE):
            yield path[len(prefix) :]
