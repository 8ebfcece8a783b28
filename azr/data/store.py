"""What executions found, on disk: a cache by content and Python version, which may be deleted."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from azr.errors import DataError
from azr.run.records import from_json
from azr.system.files import append_jsonl, read_jsonl

_BATCH = 256
"""Findings written at a time; what a crash loses is found again."""

Found = TypeVar("Found")


class Store(Generic[Found]):
    """Key -> what was found, in a JSONL file."""

    kind: ClassVar[type]
    """The dataclass of what is found."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Found] = {}
        self._unsaved: list[dict[str, Any]] = []
        for record in read_jsonl(path):
            if isinstance(key := record.get("key"), str):
                with contextlib.suppress(DataError):  # of another version: found again
                    self._known[key] = from_json(self.kind, record, path)

    def get(self, key: str) -> Found | None:
        return self._known.get(key)

    def add(self, key: str, found: Found) -> None:
        """``save`` has to follow in the end."""
        self._known[key] = found
        self._unsaved.append({"key": key, **asdict(found)})  # type: ignore[call-overload]  (every kind is a dataclass)
        if len(self._unsaved) >= _BATCH:
            self.save()

    def save(self) -> None:
        append_jsonl(self.path, self._unsaved)
        self._unsaved = []
