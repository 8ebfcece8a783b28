"""Which folder this is: a rename leaves it the same, a copy is another."""

from __future__ import annotations

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

    @property
    def is_there(self) -> bool:
        """It still lies where it was seen."""
        try:
            return self.is_same(FolderId.of(Path(self.path)))
        except OSError:
            return False
