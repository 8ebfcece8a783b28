"""The file that a run travels in: a ZIP in which ``azr-run.json`` names every other member with its size and
hash.

Everything is deflated: tensors at the fastest level, where bfloat16 adapters come to 0.79 and 8-bit moments
to 0.85 of their size at 50 MB/s (xz: 0.72 and 0.87 at 3 MB/s), the rest at level 6. ZIP, because what is
inside can be judged before anything is unpacked, and because it has no devices or owners to be misused.

Reading trusts nothing: names, sizes and the list are checked before a byte is written, and what is written is
held to its size and hash.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from azr.errors import DataError
from azr.moving.selection import is_debris
from azr.run.records import from_json
from azr.system.hashes import json_hash
from azr.wording import first_line

FORMAT = 1
KIND = "azr run"
MANIFEST = "azr-run.json"
CONTENT = "run/"
TENSOR_LEVEL, TEXT_LEVEL = 1, 6
MAX_FILES = 100_000
MAX_MANIFEST_BYTES = 64 << 20
MAX_GROWTH, GROWTH_FLOOR_BYTES = 200, 64 << 20
"""An archive that unpacks to more than this many times its size, and more than the floor, is not a run: text
deflates to a tenth."""
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=@,-]*")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_BLOCK = 1 << 20
UNREADABLE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError,
)  # fmt: skip
"""What ``zipfile`` raises where an archive is damaged, of another kind, or made to be trouble."""


@dataclass(frozen=True)
class ArchiveMember:
    """A file of the run, by its path inside the run directory."""

    path: str
    bytes: int
    blake2b: str


@dataclass(frozen=True)
class ArchiveManifest:
    """Content of ``azr-run.json``, beside its checksum."""

    info: dict[str, Any]
    files: tuple[ArchiveMember, ...]
    kind: str = KIND
    format: int = FORMAT

    @property
    def total_bytes(self) -> int:
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class FileToPack:
    """What is to be packed under ``path``: a file, or its last ``data`` where only a part of it travels."""

    path: str
    file: Path
    data: bytes | None = None
    level: int = TEXT_LEVEL

    def blocks(self) -> Iterator[bytes]:
        if self.data is not None:
            yield self.data
            return
        with open(self.file, "rb") as file:
            while block := file.read(_BLOCK):
                yield block


def path_problem(path: str) -> str:
    """Why ``path`` cannot be a file of an unpacked run; empty where it can."""
    pure = PurePosixPath(path)
    if len(path) > 240 or str(pure) != path or not 1 <= len(pure.parts) <= 12:
        return "is not a plain path"
    if pure.is_absolute() or any(part in (".", "..") or not _PART.fullmatch(part) for part in pure.parts):
        return "is not a plain path inside a run"
    return ""


# ------------------------------------------------------------------------------------------------- writing


class ArchiveWriter(AbstractContextManager["ArchiveWriter"]):
    """Adds files one by one; ``finish`` writes the list of them, without which there is no archive."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._archive = zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, allowZip64=True)
        self._entries: list[ArchiveMember] = []

    @property
    def size_bytes(self) -> int:
        """With what ``finish`` will add, a little too high."""
        return self._target.tell() + 4096 + sum(300 + 3 * len(entry.path) for entry in self._entries)

    def add(self, source: FileToPack) -> None:
        """
        Raises:
            DataError: the name cannot travel.
            OSError: the file cannot be read, or the archive cannot be written.
        """
        problem = path_problem(source.path)
        if problem:
            raise DataError(f"{source.path} {problem}; rename or remove it, then pack again")
        digest, size = hashlib.blake2b(digest_size=16), 0
        member = _member(CONTENT + source.path, source.level)
        large = source.data is None and source.file.stat().st_size >= 1 << 31
        with self._archive.open(member, "w", force_zip64=large) as file:
            for block in source.blocks():
                digest.update(block)
                size += len(block)
                file.write(block)
        self._entries.append(ArchiveMember(source.path, size, digest.hexdigest()))

    def finish(self, info: dict[str, Any]) -> ArchiveManifest:
        manifest = ArchiveManifest(info, tuple(self._entries))
        record = asdict(manifest)
        self._archive.writestr(
            _member(MANIFEST), json.dumps(record | {"checksum": json_hash(record)}, indent=1)
        )
        self._archive.close()
        return manifest

    def __exit__(self, *_: object) -> None:
        self._archive.close()


def deflated_bytes(source: FileToPack) -> int:
    """Size of a file in the archive."""
    packer = zlib.compressobj(source.level)
    return 300 + sum(len(packer.compress(block)) for block in source.blocks()) + len(packer.flush())


def _member(name: str, level: int = TEXT_LEVEL) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _EPOCH)
    member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, (stat.S_IFREG | 0o644) << 16
    member._compresslevel = level  # pyright: ignore[reportAttributeAccessIssue]  (public only from Python 3.13 on)
    return member


# ------------------------------------------------------------------------------------------------- reading


class ArchiveReader:
    """An opened archive whose list was checked. ``extract`` may still find a file damaged."""

    def __init__(
        self, path: Path, archive: zipfile.ZipFile | UnpackedArchive, manifest: ArchiveManifest
    ) -> None:
        self._path, self._archive = path, archive
        self.manifest = manifest

    def extract(self, entry: ArchiveMember, target: Path) -> None:
        """Writes one file, durable when it returns.

        Raises:
            DataError: it is damaged.
            OSError: the disk is full.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, left = hashlib.blake2b(digest_size=16), entry.bytes
        with open(target, "xb") as file:
            try:
                with self._archive.open(CONTENT + entry.path) as member:
                    while left and (block := member.read(min(_BLOCK, left))):
                        digest.update(block)
                        left -= len(block)
                        file.write(block)
                    more = member.read(1)
            except UNREADABLE as error:
                raise DataError(
                    f"{self._path}: {entry.path} is damaged ({first_line(error)}); copy the archive again"
                ) from error
            file.flush()
            os.fsync(file.fileno())
        if left or more or digest.hexdigest() != entry.blake2b:
            raise DataError(
                f"{self._path}: {entry.path} is not what the archive's own list says; copy the archive again"
            )


class UnpackedArchive(AbstractContextManager["UnpackedArchive"]):
    """The folder into which a browser or a file manager has unpacked an archive by itself: what ``ZipFile`` says of an
    archive, said of such a folder, so that it is checked in the same way.

    Args:
        folder: it holds the archive's list itself, or one folder that does.
    """

    def __init__(self, folder: Path) -> None:
        inside = [path for path in folder.iterdir() if path.is_dir() and (path / MANIFEST).is_file()]
        self._root = inside[0] if len(inside) == 1 and not (folder / MANIFEST).is_file() else folder
        is_one = (self._root / MANIFEST).is_file()  # another folder may hold anything
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

    def __exit__(self, *_: object) -> None: ...


@contextmanager
def open_archive(path: Path) -> Iterator[ArchiveReader]:
    """Opens an archive, or the folder into which one was unpacked as it is, and checks its list against itself; nothing
    is written.

    Raises:
        DataError: it is not an archive of a run, damaged, cut short, or would write where it must not.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; give what `scripts/move_run.py pack` wrote")
    try:
        archive = UnpackedArchive(path) if path.is_dir() else _zip_file(path)
    except UNREADABLE as error:
        raise DataError(
            f"{path} is not an archive of a run, or was cut short on its way ({first_line(error)}); copy it again"
        ) from error
    with archive:
        manifest = _read_manifest(path, archive)
        _check_members(path, archive, manifest)
        yield ArchiveReader(path, archive, manifest)


def _zip_file(path: Path) -> zipfile.ZipFile:
    """Raises: BadZipFile: also where a file would begin before the archive does, which ``zipfile`` finds by a seek that fails as
    on a broken disk."""
    archive = zipfile.ZipFile(path)
    if any(member.header_offset < 0 for member in archive.infolist()):
        archive.close()
        raise zipfile.BadZipFile("its last bytes are damaged")
    return archive


def _read_manifest(path: Path, archive: zipfile.ZipFile | UnpackedArchive) -> ArchiveManifest:
    try:
        member = archive.getinfo(MANIFEST)
    except KeyError:
        raise DataError(
            f"{path} is a {'folder' if path.is_dir() else 'ZIP file'} but holds no packed run; give what `scripts/move_run.py pack` wrote"
        ) from None
    try:
        if member.file_size > MAX_MANIFEST_BYTES:
            raise ValueError("the list is too long")
        with archive.open(member) as file:
            record = json.loads(file.read(MAX_MANIFEST_BYTES))
        checksum = record.pop("checksum")
        kind, version = record["kind"], record["format"]
        if kind != KIND:
            raise ValueError(f"it holds a {str(kind)[:40]!r}")
        if version == FORMAT:
            if checksum != json_hash(record):
                raise ValueError("it differs from its own checksum")
            return from_json(ArchiveManifest, record, MANIFEST)
    except (*UNREADABLE, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}: its list of files is damaged ({first_line(error)}); copy the archive again"
        ) from error
    raise DataError(
        f"{path} has format {str(version)[:20]}, this version reads {FORMAT}; unpack it with the version that packed it"
    )


def _check_members(path: Path, archive: zipfile.ZipFile | UnpackedArchive, manifest: ArchiveManifest) -> None:
    def refuse(why: str) -> DataError:
        return DataError(
            f"{path} is not accepted: {why}. It was not made by `scripts/move_run.py pack`; nothing was written"
        )

    members = archive.infolist()
    if len(members) > MAX_FILES:
        raise refuse(f"it holds {len(members):,} files")
    listed = {CONTENT + entry.path: entry for entry in manifest.files}
    if len({name.casefold() for name in listed}) != len(manifest.files):
        raise refuse("two of its files have one name")
    if sorted(member.filename for member in members) != sorted([MANIFEST, *listed]):
        raise refuse("what it holds is not what its own list says")
    for entry in manifest.files:
        if problem := path_problem(entry.path):
            raise refuse(f"{entry.path[:120]!r} {problem}")
    files = set(listed)
    for name in listed:
        if any(str(parent) in files for parent in PurePosixPath(name).parents):
            raise refuse(f"{name[:120]!r} is inside another file")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or member.is_dir():
            raise refuse(f"{member.filename[:120]!r} is a link or no plain file")
        if member.flag_bits & 0x1 or member.compress_type not in (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED):
            raise refuse(f"{member.filename[:120]!r} is encrypted, or compressed in another way")
        entry = listed.get(member.filename)
        if entry is not None and (entry.bytes != member.file_size or entry.bytes < 0):
            raise refuse(f"{entry.path} has another size than its list says")
    packed_bytes = archive.size_bytes if isinstance(archive, UnpackedArchive) else path.stat().st_size
    limit = max(GROWTH_FLOOR_BYTES, MAX_GROWTH * packed_bytes)
    if manifest.total_bytes > limit:
        raise refuse(
            f"it would grow to {manifest.total_bytes / 2**30:.1f} GiB from {packed_bytes / 2**20:.1f} MiB"
        )
