"""The bytes of a data file as text or table: decompressed, decoded, and refused by name if they are something else.

What a file is, its first bytes say; its name decides only where they cannot (CSV, arrow streams).
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from azr.errors import DataError

PACKED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
_HEAD = 4096
_PACKINGS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_SAVE_AS = "save it as CSV (UTF-8) or JSON Lines"
_OTHERS = {
    b"\xd0\xcf\x11\xe0": f"an old Office document; {_SAVE_AS}",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"SQLite format 3": f"an SQLite database; {_SAVE_AS}",
    b"%PDF": "a PDF document",
    b"\x89HDF": f"an HDF5 file; {_SAVE_AS}",
    b"\x93NUMPY": f"a NumPy array; {_SAVE_AS}",
    b"\x04\x22\x4d\x18": "packed with lz4, which is not read here; unpack it first",
    b"version https://git-lfs": "a Git LFS pointer, not the data itself; run: git lfs pull",
}
_NO_PICKLE = f"a Python pickle, which is never opened, because opening it would run code; {_SAVE_AS}"


@dataclass(frozen=True)
class Opened:
    """A data file, ready to be read."""

    kind: str
    """``text``, ``parquet``, ``arrow file`` or ``arrow stream``."""
    file: BinaryIO
    """Positioned at the first byte; UTF-8 without a byte-order mark where ``kind`` is ``text``."""
    suffix: str
    """Of the name, without that of the packing; lower case."""


def open_data(path: Path) -> Opened:
    """Opens a data file; the caller closes ``file``.

    Raises:
        DataError: it is a folder, an archive or another format that is not read; the message names it and
            says what to do.
        OSError, EOFError, lzma.LZMAError, zlib.error, pyarrow.ArrowException: it cannot be read, or its
        packing is damaged.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the file in it")
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file (a pipe or a device); write the data to a file first")
    file, packed = _unpacked(path)
    try:
        suffix = data_suffix(path)
        head = _peek(file)
        kind = "arrow file" if head.startswith(b"ARROW1") else suffix
        if head.startswith(b"PAR1") or suffix == ".parquet":
            kind = "parquet"
        if kind in ("parquet", "arrow file", ".arrow"):
            table = io.BytesIO(file.read()) if packed else file  # tables are read from their end
            return Opened("arrow stream" if kind == ".arrow" else kind, table, suffix)
        _refuse_others(path, head)
        return Opened("text", _as_utf8(path, file, head), suffix)
    except BaseException:
        file.close()
        raise


def data_suffix(path: Path) -> str:
    """Of ``tasks.jsonl.gz`` it is ``.jsonl``."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in PACKED_SUFFIXES else suffix


def _unpacked(path: Path) -> tuple[BinaryIO, bool]:
    """The file's content, and whether it was packed."""
    file = open(path, "rb")  # noqa: SIM115
    head = _peek(file)
    packing = next((name for magic, name in _PACKINGS.items() if head.startswith(magic)), "")
    if not packing:
        return file, False
    file.close()
    if packing == "zstd":
        with pa.input_stream(str(path), compression="zstd") as stream:
            return io.BytesIO(stream.read()), True
    opener: Any = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}[packing]
    return opener(path, "rb"), True


def _peek(file: BinaryIO) -> bytes:
    head = file.read(_HEAD)
    file.seek(0)
    return head


def _refuse_others(path: Path, head: bytes) -> None:
    """Raises:
    DataError: the first bytes are those of something that is not text.
    """
    what = next((words for magic, words in _OTHERS.items() if head.startswith(magic)), "")
    if head.startswith(b"PK\x03\x04"):
        is_workbook = path.suffix.lower() in (".xlsx", ".xlsm")
        what = f"an Excel workbook; {_SAVE_AS}" if is_workbook else "a zip archive; unpack it first"
    elif head[257:262] == b"ustar":
        what = "a tar archive; unpack it first"
    elif head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        what = _NO_PICKLE
    elif head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        what = "a web page or XML, not data; if it was downloaded, use the link to the raw file"
    if what:
        raise DataError(f"{path} is {what}")


def _as_utf8(path: Path, file: BinaryIO, head: bytes) -> BinaryIO:
    """``file`` without a byte-order mark; UTF-16 and UTF-32, which say what they are, are converted."""
    encoding = json.detect_encoding(head)
    if encoding in ("utf-8", "utf-8-sig"):
        file.seek(3 if encoding == "utf-8-sig" else 0)
        if b"\x00" in head:
            raise DataError(f"{path} is not text: byte {head.index(0) + 1} is 0; {_SAVE_AS}")
        return file
    with file:
        data = file.read()
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not text: byte {error.start + 1} is not {encoding.upper()}; {_SAVE_AS}"
        ) from error
    return io.BytesIO(text.encode("utf-8"))
