"""Records of the suites' files: read one by one, and refused with the field that is missing and its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from azr.data.readers import read_rows
from azr.errors import DataError
from azr.tasks import Task

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
        raise DataError(
            f"{path} does not exist; {suite} needs its authors' file, with the fields {', '.join(fields)} (docs/evaluate.md)"
        )
    empty = True
    for row in read_rows(path):
        empty = False
        place = f"{path}, {row.place}"
        if row.record is None:
            raise DataError(f"{place}: {row.problem}")
        for name, wanted in fields.items():
            kinds = wanted if isinstance(wanted, tuple) else (wanted,)
            value = row.record.get(name)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                what = (
                    "is missing"
                    if name not in row.record
                    else f"is not {' or '.join(NAMES[kind] for kind in kinds)}"
                )
                raise DataError(
                    f"{place}: field {name!r} {what}; {suite} needs {', '.join(fields)}. {_hint(row.record)}"
                )
        yield place, row.record
    if empty:
        raise DataError(f"{path} is empty; {suite} needs its authors' file (docs/evaluate.md)")


def tasks_in(path: Path) -> Iterator[Task]:
    """The tasks of a file of rows, as a run writes them.

    Raises:
        DataError: a row is not a task; names it.
    """
    for row in read_rows(path):
        if row.record is None:
            raise DataError(f"{path}, {row.place}: {row.problem}")
        try:
            yield Task.from_json(row.record)
        except DataError as error:
            raise DataError(f"{path}, {row.place}: {error}") from error


def stamp(path: Path) -> tuple[Path, int, int]:
    """Names the present content of a file, for what is kept as long as the file stays: large ones are read
    once for all styles and models.

    Raises:
        DataError: there is no such file.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(
            f"{path} does not exist; the suite needs its authors' file (docs/evaluate.md)"
        ) from error
    return path.resolve(), status.st_mtime_ns, status.st_size


def _hint(record: Mapping[str, Any]) -> str:
    """What the file seems to be, for who gave the wrong one."""
    names = ", ".join(sorted(str(name)[:40] for name in record)[:12])
    return f"This record has {names}" if names else "This record has no fields"
