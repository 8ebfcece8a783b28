"""A table in text, row by row: the delimiter and the header line are read from the table itself."""

from __future__ import annotations

import csv
import io
import itertools
import re
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from azr.data.rows import PROGRAM_COLUMNS, Row, parsed_json, require_single_names
from azr.errors import DataError
from azr.sandbox.values import ValueReadError
from azr.sandbox.values import parse_literal as parse_value

_DELIMITERS = ",;\t|"
_LIST_COLUMNS = ("inputs", "outputs", "imports", "composite_functions", "lineage")
_KEPT_EMPTY = ("input", "output")
"""Cells that mean something when they are empty: ``f()`` has no arguments."""
_MAX_CELL = 1 << 24
_TITLE_LINES = 20
"""Lines among which the header is looked for."""


def is_header(line: str) -> bool:
    """Names of columns, and one of them a program's."""
    if line.lstrip()[:1] in ("{", "["):
        return False
    names = re.split(rf"[{_DELIMITERS}]", line.strip().lower())
    return len(names) > 1 and any(name.strip(' "') in PROGRAM_COLUMNS for name in names)


def csv_rows(path: Path, file: BinaryIO) -> Iterator[Row]:
    """Rows of a table in text. The header, or a line ``sep=;`` above it, decides which character stands between
    cells; empty lines and a title may be above it too.
    """
    with io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="") as text:
        first = list(itertools.islice(text, _TITLE_LINES))
        above, delimiter = _header_of(first)
        delimiter = delimiter or max(_DELIMITERS, key=first[above].count)
        previous = csv.field_size_limit(_MAX_CELL)
        try:
            reader = csv.reader(itertools.chain(first[above:], text), delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader)]
            if any("\n" in name or name.startswith(("def ", "import ")) for name in header):
                raise DataError(
                    f"{path}, line {above + 1} is a row where the columns' names belong; write snippet,input,output above it"
                )
            require_single_names(path, header)
            yield from _csv_records(path, reader, header, above)
        except csv.Error as error:
            raise DataError(
                f"{path}, line {above + reader.line_num}: not valid CSV: {error}; is a quotation mark missing?"
            ) from error
        finally:
            csv.field_size_limit(previous)


def _header_of(lines: Sequence[str]) -> tuple[int, str]:
    """Which of the lines is the header, and what stands between cells where Excel's line ``sep=;`` says it.

    Above a header that names a program's column and an input's may stand a title, one cell a line; any other
    header is the first line with text in it.
    """
    filled = [index for index, line in enumerate(lines) if line.strip()]
    delimiter = separator(lines[filled[0]]) if filled else ""
    filled = filled[1:] if delimiter else filled
    for index in filled:
        if is_header(lines[index]) and "input" in lines[index].lower():
            return index, delimiter
        if sum(bool(cell.strip()) for cell in re.split(rf"[{_DELIMITERS}]", lines[index])) > 1:
            break
    return filled[0] if filled else len(lines) - 1, delimiter


def separator(line: str) -> str:
    """What Excel's line ``sep=;`` names; empty for any other line."""
    found = re.fullmatch(r'"?sep=(.)"?', line.strip("\r\n "), re.IGNORECASE)
    return found[1] if found else ""


def _csv_records(path: Path, reader: Any, header: list[str], above: int) -> Iterator[Row]:
    line = above + reader.line_num + 1
    for cells in reader:
        start, line = line, above + reader.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue
        raw = reader.dialect.delimiter.join(cells).encode("utf-8", "surrogateescape")
        problem = _wrong_byte(raw)
        if not problem and len(cells) > len(header):
            problem = f"{len(cells)} cells, but the header names {len(header)} columns; a cell with a comma needs quotation marks"
        names = [cell.strip().removeprefix("\ufeff") for cell in cells]
        if sorted(names) == sorted(header):
            if names != header:
                told = "the columns' names again, in another order, as where two files are put together; give them one by one"
                raise DataError(f"{path}, line {start}: {told}")
            problem = "the columns' names again, as where two files are put together"
        if problem:
            yield Row(None, path, start, raw.decode("utf-8", "backslashreplace"), problem)
        else:
            named = zip(header, cells, strict=False)
            filled = ((name, cell) for name, cell in named if cell or name.lower() in _KEPT_EMPTY)
            yield Row({name: _cell(name, cell) for name, cell in filled}, path, start)


def _wrong_byte(raw: bytes) -> str:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} of the row (0x{raw[error.start]:02x}) is not UTF-8; save the file as CSV UTF-8"
    return ""


def _cell(name: str, cell: str) -> Any:
    """A cell; lists in it are JSON or Python literals."""
    if name.lower() not in _LIST_COLUMNS:
        return cell
    value = parsed_json(cell)
    if value is None:
        try:
            value = parse_value(_with_commas(cell))
        except (ValueReadError, ValueError):
            return cell
    return list(value) if isinstance(value, tuple) else value


def _with_commas(cell: str) -> str:
    """pandas writes a cell that holds an array as numpy prints it, ``['1' '2']``, which Python reads as one text,
    ``'12'``; a list of texts has no such neighbours.
    """
    parts: list[str] = []
    depth, after_text = 0, False
    try:
        for token in tokenize.generate_tokens(io.StringIO(cell).readline):
            if token.type in (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT):
                continue
            is_text = token.type == tokenize.STRING
            if is_text and after_text and depth == 1:
                parts.append(",")
            depth += (token.string in ("[", "(", "{")) - (token.string in ("]", ")", "}"))
            parts.append(token.string)
            after_text = is_text
    except (tokenize.TokenError, SyntaxError, ValueError):
        return cell
    return " ".join(parts)
