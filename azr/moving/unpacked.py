"""The folder into which a browser or a file manager has unpacked an archive by itself."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

from azr.moving.selection import is_debris


class UnpackedArchive:
    """What ``ZipFile`` says of an archive, said of such a folder, so that it is checked in the same way.

    Args:
        folder: it holds the archive's list itself, or one folder that does.
        manifest: name of the list.
    """

    def __init__(self, folder: Path, manifest: str) -> None:
        inside = [path for path in folder.iterdir() if path.is_dir() and (path / manifest).is_file()]
        self._root = inside[0] if len(inside) == 1 and not (folder / manifest).is_file() else folder
        is_one = (self._root / manifest).is_file()  # another folder may hold anything
        self._members = {
            member.filename: member
            for path in (sorted(self._root.rglob("*")) if is_one else ())
            if (member := self._member(path))
        }

    def _member(self, path: Path) -> zipfile.ZipInfo | None:
        name = path.relative_to(self._root).as_posix()
        if is_debris(name) or (path.is_dir() and not path.is_symlink()):
            return None
        status = path.lstat()
        member = zipfile.ZipInfo(name)
        member.file_size, member.external_attr = status.st_size, status.st_mode << 16
        return member

    @property
    def size_bytes(self) -> int:
        return sum(member.file_size for member in self._members.values())

    def infolist(self) -> list[zipfile.ZipInfo]:
        return list(self._members.values())

    def getinfo(self, name: str) -> zipfile.ZipInfo:
        """Raises: KeyError: there is no such file."""
        return self._members[name]

    def open(self, member: str | zipfile.ZipInfo) -> IO[bytes]:
        name = member if isinstance(member, str) else member.filename
        return open(self._root / name, "rb")

    def __enter__(self) -> UnpackedArchive:
        return self

    def __exit__(self, *_: Any) -> None:
        pass
