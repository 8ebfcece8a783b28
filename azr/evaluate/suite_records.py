"""Records of the suites' files: read one by one, and refused with the field that is missing and its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from azr.config.paths import absent
from azr.data.readers import read_rows
from azr.data.sources import data_files
from azr.errors import DataError

NAMES = {str: "text", int: "a whole number", float: "a number", list: "a list", bool: "true or false"}


def records(
    path: Path, suite: str, fields: Mapping[str, type | tuple[type, ...]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and record of each row of a suite's file: JSON Lines, one JSON array, or parquet, packed or not.

    Args:
        fields: what every record needs, and of which type.

    Raises:
        DataError: no such file, it cannot be read, it is empty, or a record lacks a field or has another type there.
    """
    if not path.is_file():
        told = absent(path)
        if path.is_dir():
            inside = next(iter(data_files(path)), None)
            told = f"{path} is a folder; name the file in it{f', as {inside}' if inside else ''}"
        raise DataError(
            f"{told}; {suite} needs its authors' file, with the fields {', '.join(fields)} (docs/evaluate.md)"
        )
    place = ""
    for place, record in placed_records(path):
        for name, wanted in fields.items():
            kinds = wanted if isinstance(wanted, tuple) else (wanted,)
            value = record.get(name)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                wrong = f"is not {' or '.join(NAMES[kind] for kind in kinds)}"
                raise DataError(
                    f"{place}: field {name!r} {wrong if name in record else 'is missing'}; {suite} needs {', '.join(fields)}. "
                    f"{shown_fields(record)}"
                )
        yield place, record
    if not place:
        raise DataError(f"{path} is empty; {suite} needs its authors' file (docs/evaluate.md)")


def placed_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and record of each row of a file.

    Raises:
        DataError: the file, or one of its rows, cannot be read.
    """
    for row in read_rows(path):
        place = f"{path}, {row.place}"
        if row.record is None:
            raise DataError(f"{place}: {row.problem}")
        yield place, row.record


def stamp(path: Path) -> tuple[Path, int, int]:
    """Names the present content of a file, for what is kept as long as the file stays: large ones are read
    once for all styles and models.

    Raises:
        DataError: there is no such file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{absent(path)}; the suite needs its authors' file (docs/evaluate.md)") from error
    return path.resolve(), status.st_mtime_ns, status.st_size


def shown_fields(record: Mapping[str, Any]) -> str:
    """What the file seems to be, for who gave the wrong one."""
    names = ", ".join(sorted(str(name)[:40] for name in record)[:12])
    return f"This record has {names or 'no fields'}"
