"""A data file, row by row, with the place of each row: JSON Lines, JSON, CSV, parquet and arrow, compressed or not.

What cannot be read becomes a row without a record that says why, so that nothing is lost uncounted.
"""

from __future__ import annotations

import io
import itertools
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from azr.data.csv_rows import csv_rows, is_header, separator
from azr.data.rows import PROGRAM_COLUMNS, Row, kind_of, parsed_json, require_single_names
from azr.data.unpack import open_data
from azr.errors import DataError
from azr.wording import first_line

_BATCH_ROWS = 1024
_NO_ROWS = {
    ".py": "Python source",
    ".yaml": "YAML",
    ".yml": "YAML",
    ".toml": "TOML",
    ".md": "Markdown",
    ".xml": "XML",
}
"""Text that is no JSON, by the ending of its name."""


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a data file; what it is, its content says.

    Raises:
        DataError: the file is missing, damaged or of a kind that is not read; the message names it.
    """
    try:
        opened = open_data(path)
        with opened.file as file:
            if opened.kind == "parquet":
                table: Any = pyarrow.parquet.ParquetFile(pa.PythonFile(file, "r"))
                yield from _table_rows(path, table.iter_batches(_BATCH_ROWS))
            elif opened.kind != "text":
                yield from _table_rows(path, _arrow_batches(file, opened.kind == "arrow file"))
            else:
                yield from _text_rows(path, file, opened.suffix)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be unpacked: {first_line(error)}; it is damaged or was not copied completely"
        ) from error
    except (pa.ArrowException, OSError) as error:
        kind = path.suffix.lstrip(".") or "data"
        raise DataError(f"{path} cannot be read as {kind}: {first_line(error)}") from error


# ---------------------------------------------------------------- text


def _text_rows(path: Path, file: BinaryIO, suffix: str) -> Iterator[Row]:
    start = file.tell()
    first = next((line for line in file if line.strip()), b"")
    rest = any(line.strip() for line in file) if first.strip() else False
    file.seek(start)
    if not first:
        return
    head = first.decode("utf-8", "replace")
    if suffix in (".csv", ".tsv") or is_header(head) or separator(head):
        yield from csv_rows(path, file)
    elif rest and isinstance(parsed_json(first), dict):
        yield from _lines(path, file)
    else:
        data = file.read()
        try:
            found = _json_rows(path, data)
        except DataError:
            if suffix not in _NO_ROWS:
                raise
            found = None
        if found is None and suffix in _NO_ROWS:
            raise DataError(
                f"{path} is {_NO_ROWS[suffix]}, not a file of rows; write it as JSON Lines (one object a line) or CSV"
            )
        yield from found if found is not None else _lines(path, io.BytesIO(data))


def _lines(path: Path, lines: Iterable[bytes]) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _row(line, path, number)


def _row(line: bytes, path: Path, number: int) -> Row:
    try:
        text = line.decode("utf-8", "surrogatepass")  # as azr/system/files.py writes it
        text = text.removeprefix("\ufeff")  # of a file that was put behind another
        value = json.loads(text, object_pairs_hook=_object)
        if isinstance(value, dict):
            return Row(value, path, number)
        problem = _no_object(value)
    except UnicodeDecodeError as error:
        problem = f"byte {error.start + 1} of the line (0x{line[error.start]:02x}) is not UTF-8; save the file as UTF-8"
    except _TwiceError as error:
        problem = str(error)
    except json.JSONDecodeError as error:
        quotes = (
            "; JSON has double quotes: write it with json.dumps" if line.lstrip().startswith(b"{'") else ""
        )
        problem = f"no JSON: {_told(error.doc, error)} (character {error.pos + 1}){quotes}"
    except ValueError:  # Python's own limit; inputs and outputs are texts, and shorter
        problem = "no JSON that is read here: a number has thousands of digits"
    except RecursionError:
        problem = "no JSON that is read here: nested too deeply"
    return Row(None, path, number, line.rstrip(b"\r\n").decode("utf-8", "backslashreplace"), problem)


def _no_object(value: Any) -> str:
    if isinstance(value, str) and isinstance(parsed_json(value), dict):
        return "a text that holds an object: it was written as JSON twice; write the object itself"
    return f"{kind_of(value)} where an object with fields is expected"


class _TwiceError(ValueError):
    """An object has a field twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(f"field {next(name for name in names if names.count(name) > 1)} appears twice")
    return record


def _json_rows(path: Path, data: bytes) -> Iterator[Row] | None:
    """One JSON value, or objects one after the other over several lines; None where it is neither."""
    try:
        text = data.decode("utf-8", "surrogatepass")
        records = _records(json.loads(text, object_pairs_hook=_object))
    except UnicodeDecodeError:
        return None
    except _TwiceError as error:
        raise DataError(f"{path}: {error} in one object; take one of the two out") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (ValueError, RecursionError) as error:
        records = _objects(text)
        if not records and isinstance(error, json.JSONDecodeError) and _begins_a_list(text):
            raise DataError(f"{path}, line {error.lineno}: no JSON: {_told(text, error)}") from error
    return _list_rows(path, records) if records else None


def _begins_a_list(text: str) -> bool:
    """A list over several lines."""
    first = text.lstrip().partition("\n")[0].strip()
    return first.startswith("[") and parsed_json(first.encode("utf-8", "surrogatepass")) is None


def _told(text: str, error: json.JSONDecodeError) -> str:
    before, after = text[: error.pos].rstrip(), text[error.pos :].lstrip()
    if after.startswith(("//", "/*", "#")):
        return "it has no comments; take them out"
    if before.endswith(",") and after[:1] in ("]", "}"):
        return f"a comma before {after[0]}; take it out"
    if error.msg == "Extra data" and after.strip() == ",":
        return "a comma behind the row; lines of JSON have nothing between them"
    if error.msg == "Extra data" and after[:1] in ("{", "["):
        return "a second one follows on it, as where files without a last line end are put together; write it on a line of its own"
    return error.msg.removesuffix(" at")


def _records(value: Any) -> list[Any]:
    """A list of objects, an object holding one, an object of objects (id -> record), columns, or a record by itself."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not value:
        return [value]
    columns = _columns(value)
    if columns is not None:
        return columns
    if any(isinstance(value.get(name), str) for name in PROGRAM_COLUMNS):  # a row, whatever lists are in it
        return [value]
    if all(isinstance(item, dict) for item in value.values()):
        return [{"id": name, **item} for name, item in value.items()]
    filled = {name: item for name, item in value.items() if isinstance(item, list) and item}
    lists = {name: item for name, item in filled.items() if all(isinstance(row, dict) for row in item)}
    lists.pop("features", None)  # what the hub's viewer says of the columns, beside its rows
    if len(lists) > 1:
        named = ", ".join(f"{name} ({len(item)})" for name, item in lists.items())
        raise DataError(
            f"several lists of rows in one object: {named}; save the one that is meant as a file of its own"
        )
    return next(iter(lists.values()), [value])


def _columns(value: dict[str, Any]) -> list[Any] | None:
    """Records of a table that was written column by column, as ``DataFrame.to_json`` does; None for anything else."""
    program = next((value[name] for name in PROGRAM_COLUMNS if name in value), None)
    if isinstance(program, dict):
        if all(isinstance(column, dict) and column.keys() == program.keys() for column in value.values()):
            return [{name: column[row] for name, column in value.items()} for row in program]
    elif isinstance(program, list) and all(
        isinstance(column, list) and len(column) == len(program) for column in value.values()
    ):
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    return None


def _objects(text: str) -> list[Any]:
    """Objects one after the other; empty where something else stands between them."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        if not isinstance(value, dict):
            return []
        found.append(value)
    return found


def _list_rows(path: Path, values: Iterable[Any]) -> Iterator[Row]:
    for number, value in enumerate(values, 1):
        if isinstance(value, dict):
            yield Row(value, path, number, unit="row")
        else:
            problem = _no_object(value)
            yield Row(None, path, number, json.dumps(value), problem, unit="row")


# ---------------------------------------------------------------- tables


def _arrow_batches(file: BinaryIO, is_file: bool) -> Iterator[pa.RecordBatch]:
    source: Any = pa.PythonFile(file, "r")
    if not is_file:
        yield from pyarrow.ipc.open_stream(source)  # what datasets.save_to_disk writes
        return
    reader = pyarrow.ipc.open_file(source)
    for index in range(reader.num_record_batches):
        yield reader.get_batch(index)


def _table_rows(path: Path, batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    numbers = itertools.count(1)
    for batch in batches:
        require_single_names(path, batch.schema.names)
        for record in batch.to_pylist():
            filled = {key: _plain(value) for key, value in record.items() if value is not None}
            yield Row(filled, path, next(numbers), unit="row")


def _plain(value: Any) -> Any:
    """As JSON has it: bytes that are UTF-8, dates and decimals become text."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)
