"""What happened to a run, from ``incidents.jsonl``: what went wrong, and what the user asked for. The log holds both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

ASKED = frozenset({"stop", "pause", "resume", "budget", "checkpoint", "extended", "retry"})
"""Kinds that a person caused (Ctrl+C, ``scripts/control.py``, a changed configuration, the same command again): no faults."""


@dataclass(frozen=True)
class Incident:
    """One line of ``incidents.jsonl``."""

    unix_s: float
    """NaN where it was not written down."""
    kind: str
    cause: str
    action: str
    cycle: int | None = None
    attempt: int | None = None
    step: int | None = None

    @property
    def asked(self) -> bool:
        """The user wanted it; otherwise it is a fault, or what was done about one."""
        return self.kind in ASKED


def incident_from_json(record: dict[str, Any]) -> Incident:
    """Reads older versions too; what is missing is empty."""

    def first(*keys: str) -> str:
        return next((str(record[key]) for key in keys if record.get(key)), "")

    def integer(key: str) -> int | None:
        return record[key] if isinstance(record.get(key), int) else None

    unix_s = record.get("unix_s")
    return Incident(
        unix_s=float(unix_s) if isinstance(unix_s, (int, float)) else math.nan,
        kind=first("kind", "verdict", "type") or "incident",
        cause=first("cause", "reason", "message"),
        action=first("action"),
        cycle=integer("cycle"),
        attempt=integer("attempt"),
        step=integer("step"),
    )
