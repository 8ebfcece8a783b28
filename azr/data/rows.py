"""A row of a data file, and what all formats share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azr.errors import DataError

PROGRAM_COLUMNS = ("snippet", "code", "program")


@dataclass(frozen=True)
class Row:
    record: dict[str, Any] | None
    """None where there is no object with fields; ``text`` is then what stood there, and ``problem`` why it is none."""
    file: Path
    line: int
    """1-based line of a text file, or row of a table or list."""
    text: str = ""
    problem: str = ""
    unit: str = "line"

    @property
    def place(self) -> str:
        """``line 3`` or ``row 3``."""
        return f"{self.unit} {self.line}"


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    words = {list: "a list", dict: "an object", str: "a text", bool: "true or false", int: "a number"}
    words |= {float: "a number", type(None): "null"}
    return words.get(type(value), type(value).__name__)


def parsed_json(data: bytes | str) -> Any:
    """The JSON value, or None where it is none."""
    try:
        return json.loads(data if isinstance(data, str) else data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None


def require_single_names(path: Path, names: Sequence[str]) -> None:
    """Raises: DataError: two columns have one name (upper and lower case are alike), so that nobody can say
    which is meant.
    """
    seen = [name.lower() for name in names if name]
    double = next((name for name in seen if seen.count(name) > 1), None)
    if double is not None:
        raise DataError(f"{path}: two columns are called {double!r}; rename or remove one")
