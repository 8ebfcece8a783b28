"""Atomic files: what outlives a process is written under a temporary name, fsynced and renamed.

Also append-only JSONL logs, which survive a crash in the middle of a line.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from azr.errors import DataError
from azr.system.scratch import owned_folder, staging_for

_kept: dict[Path, tuple[Path, int]] = {}
"""Folder -> a file that lies in it, and its disk."""


def keep_to_disk(folder: Path, mark: Path) -> None:
    """From now on this process makes nothing below ``folder`` that would lie elsewhere: in the empty place of its disk,
    once that was unmounted, or in a new folder of its name, once it was renamed.

    Args:
        mark: a file in it by which it is known, if there is one.
    """
    _kept[folder] = mark, folder.stat().st_dev


def make_folder(path: Path) -> None:
    """Makes a folder, and those above it.

    Raises:
        OSError: it cannot be made, or it would lie elsewhere (``keep_to_disk``).
    """
    for folder, (mark, device) in _kept.items():
        if not path.is_relative_to(folder) or mark.exists():
            continue
        if not folder.is_dir() or folder.stat().st_dev != device:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), str(folder))
    path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that replaces ``path`` when the ``with`` block ends well: a reader sees the old file or the new one,
    never a part.

    Raises:
        OSError: the disk is full or read-only; the old file is untouched.
    """
    _refuse_device(path)
    make_folder(path.parent)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        set_mode(Path(temporary))
        move_over(Path(temporary), path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    fsync_directory(path.parent)


def move_over(source: Path, target: Path) -> None:
    """Renames in place of what is there. Refused while another program looks at a file (a virus scanner or a sync client
    of Windows, under ``/mnt/c`` and on SMB shares), it is tried again for three seconds.

    Raises:
        OSError: it is refused for longer, or for another reason.
    """
    for pause_s in (0.05, 0.2, 0.75, 2.0):
        try:
            os.replace(source, target)
            return
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EBUSY):
                raise
        time.sleep(pause_s)
    os.replace(source, target)


def _refuse_device(path: Path) -> None:
    """Raises: DataError: a device, a pipe or a link to one, which the renamed file would replace (/dev/null for
    everybody, where root writes)."""
    place = path.parent.resolve()
    if (path.exists() and not path.is_file()) or place == Path("/dev") or place.is_relative_to("/proc"):
        what = "a folder" if path.is_dir() else "a device or a pipe"
        raise DataError(f"{path} is {what}, not a file; give the name of a file")


def refuse_foreign(path: Path, beginning: bytes) -> None:
    """For a place that the user named: only an earlier file of the same kind is replaced.

    Raises:
        DataError: the file there does not begin so.
    """
    if path.is_file() and path.stat().st_size:
        with open(path, "rb") as file:
            if file.read(len(beginning)) != beginning:
                raise DataError(f"{path} exists and is something else; give another name, or remove it")


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """As ``whole_file``."""
    with whole_file(path) as file:
        file.write(data)


def set_mode(path: Path, mode: int = 0o666) -> None:
    """Permissions as ``open`` gives them: ``mode`` without what the user's umask withholds. For files that a library makes
    unreadable for others, whatever the umask. FAT, SMB and shares of others have none, and refuse."""
    with contextlib.suppress(PermissionError, NotImplementedError):
        path.chmod(mode & ~_umask())


def _umask() -> int:
    """Read without changing it, as ``os.umask`` would for the other threads."""
    told = re.search(r"^Umask:\s*([0-7]+)$", text_of(Path("/proc/self/status")), re.MULTILINE)
    return int(told[1], 8) if told else 0o022  # a kernel before 4.7 does not say


def fsync(path: Path) -> None:
    """Makes what was written into a file, or a rename inside a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_directory(path: Path) -> None:
    """As ``fsync``; a file system that cannot do this is left alone."""
    with contextlib.suppress(OSError):
        fsync(path)


@contextlib.contextmanager
def whole_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """A new folder that becomes ``target`` when the ``with`` block ends well: it appears whole or not at all.

    Raises:
        DataError: ``target`` is there by now, and is not to be replaced.
    """
    staging = staging_for(target)

    def publish() -> None:
        if replace:
            shutil.rmtree(target, ignore_errors=True)
        try:
            move_over(staging, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise DataError(
                f"{target} was written by another command meanwhile, and stays as that one left it; give another place, or remove it"
            ) from error

    with owned_folder(staging, finish=publish):
        yield staging


def give_links_their_files(going: Path, *folders: Path) -> None:
    """Links below ``folders`` to files of the folder ``going``, which a deduplicating tool has made of equal files, become
    files again."""
    below = itertools.chain.from_iterable(os.walk(folder) for folder in folders)
    for link in (Path(folder, name) for folder, _, names in below for name in names):
        if not link.is_symlink() or going in link.parents or not link.is_file():
            continue
        if link.resolve().is_relative_to(going.resolve()):
            spare = link.with_name(f".{link.name}.tmp")
            spare.unlink(missing_ok=True)
            try:
                os.link(link.resolve(), spare)  # takes no room
            except OSError:
                shutil.copy2(link, spare)
            os.replace(spare, link)


@contextlib.contextmanager
def safetensors_written_to(folder: Path) -> Iterator[None]:
    """Around code that writes weights.

    Raises:
        OSError: of the system, with its number: safetensors has an error of its own for a full disk.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(folder)) from error


def remove_leftovers(*folders: Path) -> None:
    """Deletes the temporary files of a writer that was killed. Only for folders in which nobody else writes
    at the moment."""
    for folder in folders:
        for path in folder.glob(".*.tmp"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def write_text_atomic(path: Path, text: str) -> None:
    write_bytes_atomic(path, text.encode("utf-8", "surrogatepass"))


def write_json_atomic(path: Path, value: Any) -> None:
    write_text_atomic(path, json_text(value))


def write_jsonl_atomic(path: Path, records: Iterable[dict[str, Any]]) -> None:
    write_text_atomic(path, "".join(json_line(record) for record in records))


def json_line(record: dict[str, Any]) -> str:
    return _json(record) + "\n"


def json_text(value: Any) -> str:
    """JSON for people and programs, a key a line."""
    return _json(value, indent=1) + "\n"


def _json(value: Any, indent: int | None = None) -> str:
    """Readable, but where a text holds what UTF-8 cannot (half of a surrogate pair, a file name of another
    encoding): there escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return json.dumps(value, indent=indent)
    return text


def append_jsonl(path: Path, records: Iterable[dict[str, Any]], *, durable: bool = True) -> None:
    """Appends whole lines in one write, and fsyncs where they are to be ``durable``. A torn last line of an earlier crash is
    ended first."""
    data = "".join(json_line(record) for record in records).encode("utf-8", "surrogatepass")
    if not data:
        return
    make_folder(path.parent)
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                data = b"\n" + data
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def text_of(path: Path) -> str:
    """What it says; empty where it is missing or cannot be read, as much of ``/proc`` and ``/sys`` is."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""


def read_json(path: Path) -> Any:
    """Raises:
    DataError: the file is missing or is not valid JSON; the message names it.
    """
    try:
        # Windows editors add a mark
        return json.loads(path.read_text(encoding="utf-8", errors="surrogatepass").removeprefix("\ufeff"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    # ValueError: no JSON, no UTF-8, a number of thousands of digits
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def read_jsonl(path: Path, *, strict: bool = False) -> Iterator[dict[str, Any]]:
    """Yields the records of a JSONL file; a missing file has none.

    A line that is not a JSON object (torn by a crash) is skipped, unless ``strict``.

    Raises:
        DataError: ``strict`` and a line is damaged; the message gives file and line.
    """
    if not path.exists():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8", "surrogatepass")
                record = json.loads(text.removeprefix("\ufeff") if number == 1 else text)
                if not isinstance(record, dict):
                    raise ValueError("not an object")
            except (ValueError, RecursionError) as error:
                if strict:
                    raise DataError(f"{path}, line {number}: {error}") from error
                continue
            yield record


def read_tail(path: Path, size: int = 20_000) -> list[str]:
    """Last lines of a text; none if it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - size))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def file_hash(path: Path) -> str:
    """blake2b of the content, 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
