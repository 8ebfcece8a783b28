"""Which folder this is: a rename leaves it the same, a copy is another."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FolderId:
    """A folder as the kernel knows it. Links and bind mounts lead to the same one."""

    path: str
    device: int
    inode: int

    @classmethod
    def of(cls, folder: Path) -> FolderId:
        """
        Raises:
            OSError: there is no such folder.
        """
        found = folder.stat()
        return cls(str(folder.resolve()), found.st_dev, found.st_ino)

    def is_same(self, other: FolderId) -> bool:
        return (self.device, self.inode) == (other.device, other.inode)

    def find_in(self, parent: Path) -> Path | None:
        """Under which name it lies in ``parent`` now."""
        with contextlib.suppress(OSError):
            return next((path for path in parent.iterdir() if self.is_same(FolderId.of(path))), None)
        return None

    @property
    def is_there(self) -> bool:
        """It still lies where it was seen."""
        try:
            return self.is_same(FolderId.of(Path(self.path)))
        except OSError:
            return False
