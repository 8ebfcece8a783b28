"""Where task records come from: every place a run may take them, read row by row with file and line.

A source is opened read-only. What cannot be read becomes a row without a record, so that nothing is lost uncounted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from azr.errors import DataError
from azr.files import file_hash
from azr.rundir import RunDir

PROJECT = Path(__file__).resolve().parents[2]
SHIPPED_SEEDS = PROJECT / "data" / "seeds"
SHIPPED_PROBES = PROJECT / "data" / "probes" / "general.jsonl"
DATA_SUFFIXES = (".jsonl", ".json", ".parquet", ".arrow")
_NOT_DATA = ("dataset_info.json", "state.json", "dataset_dict.json", "manifest.json")
_BATCH_ROWS = 1024


class Kind(str, Enum):
    SEED = "seed"
    USER = "user"
    OTHER_RUN = "other_run"
    CYCLE = "cycle"
    """What an earlier cycle started from."""
    SHARD = "shard"
    """Tasks accepted in self-play."""


@dataclass(frozen=True)
class Row:
    record: dict[str, Any] | None
    """None where the line is no JSON object; ``text`` is then what stood there."""
    file: Path
    line: int
    """1-based line of a JSONL file, or row of a table."""
    text: str = ""


@dataclass(frozen=True)
class Source:
    kind: Kind
    name: str
    """Shown to people and written into the manifest; free of machine-specific folders."""
    file: Path
    origin: str = ""
    """Lineage source given to its tasks (``seed``, ``user``, the other run's name); empty keeps what the record says."""
    trusted: bool = False
    """Verified already (its hash is the one in the shipped manifest): not executed again."""
    judged: bool = False
    """An earlier consolidation or merge read it as it is now: nothing in it is new."""

    def rows(self) -> Iterator[Row]:
        return read_rows(self.file)

    def hash(self) -> str:
        return file_hash(self.file)


@dataclass(frozen=True)
class SourceList:
    sources: list[Source] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Configured paths that are not there (any more)."""


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a JSONL, JSON (list of objects), parquet or arrow file.

    Raises:
        DataError: the file is missing or is no such file; the message names it.
    """
    try:
        if path.suffix == ".parquet":
            yield from _table_rows(path, pyarrow.parquet.ParquetFile(path).iter_batches(_BATCH_ROWS))
        elif path.suffix == ".arrow":
            with pa.OSFile(str(path), "rb") as file:
                yield from _table_rows(path, _arrow_batches(file))
        elif path.suffix == ".json":
            yield from _json_rows(path)
        else:
            yield from _jsonl_rows(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix.lstrip('.') or 'text'}: {error}") from error


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _row(line, path, number)


def _row(line: bytes, path: Path, number: int) -> Row:
    try:
        record = json.loads(line.decode("utf-8", "surrogatepass"))  # as azr.files writes it
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict):
        return Row(record, path, number)
    return Row(None, path, number, line.rstrip(b"\n").decode("utf-8", "backslashreplace"))


def _json_rows(path: Path) -> Iterator[Row]:
    """A list of objects, an object holding one, an object of objects (id -> record), or lines after all."""
    try:
        value = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        yield from _jsonl_rows(path)
        return
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list)]
        if value and all(isinstance(item, dict) for item in value.values()):
            value = list(value.values())
        else:
            value = lists[0] if len(lists) == 1 and all(isinstance(item, dict) for item in lists[0]) else [value]
    for number, record in enumerate(value if isinstance(value, list) else [value], 1):
        yield Row(record, path, number) if isinstance(record, dict) else Row(None, path, number, json.dumps(record))


def _arrow_batches(file: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    try:
        yield from pyarrow.ipc.open_stream(file)  # what datasets.save_to_disk writes
    except pa.ArrowInvalid:
        file.seek(0)
        reader = pyarrow.ipc.open_file(file)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)


def _table_rows(path: Path, batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for record in batch.to_pylist():
            number += 1
            record = {key: value for key, value in record.items() if value is not None}
            yield Row(json.loads(json.dumps(record, default=str)), path, number)  # dates, decimals, bytes become text


def data_files(path: Path) -> list[Path]:
    """The data files at ``path``: the file itself, or those of a folder in name order.

    A Hugging Face ``datasets`` folder is one of arrow or parquet files (with one folder a split); its caches are left out.
    """
    if path.is_file():
        return [path]
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in DATA_SUFFIXES and file.name not in _NOT_DATA and not file.name.startswith((".", "cache-"))
    ]
    return [file for file in found if file.is_file()]


def resolve(name: str) -> Path:
    """A configured path: as it stands, else relative to the project's folder."""
    path = Path(name).expanduser()
    if not path.is_absolute() and not path.exists() and (PROJECT / path).exists():
        return PROJECT / path
    return path


def configured_files(names: Iterable[str], key: str) -> tuple[list[Path], list[str]]:
    """Data files of the configured paths, and the paths that hold none (each with a sentence)."""
    files: list[Path] = []
    missing: list[str] = []
    for name in names:
        path = resolve(name)
        found = data_files(path) if path.exists() else []
        if not found:
            what = "does not exist" if not path.exists() else f"holds no {', '.join(DATA_SUFFIXES)} file"
            missing.append(f"{key}: {path} {what}")
        files.extend(file for file in found if file not in files)
    return files, missing


def refuse_missing(missing: Sequence[str]) -> None:
    """Raises:
    DataError: something is missing; all of it is named at once.
    """
    if missing:
        raise DataError("; ".join(missing) + "; correct the path, or take it out of the configuration")


def other_run_sources(names: Iterable[str], own: Path) -> tuple[list[Source], list[str]]:
    sources: list[Source] = []
    missing: list[str] = []
    for name in names:
        root = resolve(name)
        run = RunDir(root)
        files = [run.pool_tasks, *sorted(root.glob("cycles/*/shard.jsonl"))]
        files = [file for file in files if file.is_file()]
        if root.resolve() == own.resolve():
            missing.append(f"data.other_runs: {root} is this very run; take it out")
        elif not files:
            missing.append(f"data.other_runs: {root} holds neither pool/tasks.jsonl nor cycles/*/shard.jsonl")
        for file in files:
            sources.append(Source(Kind.OTHER_RUN, f"{root.name}/{file.relative_to(root).as_posix()}", file, origin=root.name))
    return sources, missing
