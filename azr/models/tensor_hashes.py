"""The tensors of a model's weights by their content: the same however they are cut into files, and in which order they lie
there.

Every byte is read, because a few changed rows of a large tensor make another model. Of large files the result is kept
(``cache_dir()/hashes``), and used as long as size and times of the file are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO

from azr.config.paths import cache_dir
from azr.errors import DataError
from azr.models.weight_files import INDEX, MAX_HEADER_BYTES
from azr.system.files import read_json, write_json_atomic
from azr.system.hashes import text_hash
from azr.system.locks import to_stderr

KEPT_FROM_BYTES = 64 << 20
"""Smaller files are read faster than they are worth a file in the cache."""
TOLD_FROM_BYTES = 4 << 30
READ_BYTES = 1 << 24
THREADS = 4
SETTLED_S = 10.0
"""A file that was written so lately may be written again within one tick of its disk's clock."""


def tensor_hashes(files: Sequence[Path]) -> list[tuple[str, str]]:
    """(name, dtype with shape and hash) of every tensor in safetensors files, by name; of a file that is none, its own name
    and content.

    Raises:
        OSError: a file cannot be read.
    """
    known = {path: _kept(path) for path in files}
    absent = sum(path.stat().st_size for path, found in known.items() if found is None)
    if absent >= TOLD_FROM_BYTES:
        to_stderr(f"Reading {absent / 1e9:.1f} GB of weights in {files[0].parent}, to know them again.")
    found: list[tuple[str, str]] = []
    for path, tensors in known.items():
        found += (tensors if tensors is not None else _read(path)).items()
    # one matrix as embeddings and output head: some programs save it twice
    embeddings = {content for name, content in found if name.endswith("embed_tokens.weight")}
    return sorted(each for each in found if each[0] != "lm_head.weight" or each[1] not in embeddings)


def loaded_files(folder: Path, weights: Sequence[Path]) -> list[Path]:
    """Those of a folder's ``weights`` that its index names, where it has one: others are not loaded."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        named = set(json.loads((folder / INDEX).read_bytes())["weight_map"].values())
        return [path for path in weights if path.name in named] or list(weights)
    return list(weights)


def _read(path: Path) -> dict[str, str]:
    before = path.stat()
    with open(path, "rb") as file:
        spans = _spans(file, before.st_size) or {path.name: ("", 0, before.st_size)}
        descriptor = file.fileno()
        with ThreadPoolExecutor(THREADS) as threads:  # hashing and reading let go of the interpreter's lock
            digests = threads.map(lambda span: _digest(descriptor, *span[1:]), spans.values())
            tensors = {
                name: f"{kind} {digest}"
                for (name, (kind, *_)), digest in zip(spans.items(), digests, strict=True)
            }
    settled = time.time() - max(before.st_mtime, before.st_ctime) > SETTLED_S
    if before.st_size >= KEPT_FROM_BYTES and settled:
        # no home, or a cache that cannot be written: read again the next time
        with suppress(OSError, RuntimeError):
            write_json_atomic(_place(path), {"file": _stamp(before), "tensors": tensors})
    return tensors


def _kept(path: Path) -> dict[str, str] | None:
    """What an earlier reading found in a file that has not changed since; None where it has to be read."""
    now = path.stat()
    if now.st_size < KEPT_FROM_BYTES:
        return None
    with suppress(DataError, OSError, RuntimeError, KeyError, TypeError, AttributeError):
        kept = read_json(_place(path))
        if kept["file"] == _stamp(now):
            return {str(name): str(content) for name, content in kept["tensors"].items()}
    return None


def _place(path: Path) -> Path:
    return cache_dir() / "hashes" / f"{text_hash(str(path.resolve()), 32)}.json"


def _stamp(found: os.stat_result) -> list[int]:
    """Another file put in its place with its old date has a new time of change (``ctime``)."""
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _spans(file: IO[bytes], size: int) -> dict[str, tuple[str, int, int]]:
    """Of each tensor of an open file its dtype and shape, and where it begins and ends; empty where the header is not the
    safetensors header of a file this long."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
        return {}
    with suppress(ValueError, KeyError, TypeError, AttributeError, IndexError):
        header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        spans: dict[str, tuple[str, int, int]] = {}
        for name, entry in header.items():
            begin, end = (8 + length + int(offset) for offset in entry["data_offsets"])
            spans[name] = f"{entry['dtype']} {entry['shape']}", begin, end
        if all(8 + length <= begin <= end <= size for _, begin, end in spans.values()):
            return spans
    return {}


def _digest(descriptor: int, begin: int, end: int) -> str:
    content = hashlib.blake2b(digest_size=16)
    for block in _blocks(descriptor, begin, end):
        content.update(block)
    return content.hexdigest()


def _blocks(descriptor: int, begin: int, end: int) -> Iterator[bytes]:
    while begin < end:
        block = os.pread(descriptor, min(READ_BYTES, end - begin), begin)
        if not block:  # shortened while it was read
            return
        yield block
        begin += len(block)
