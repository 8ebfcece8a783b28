"""Which programs may share a process with others, decided on their syntax tree."""

from __future__ import annotations

HARMLESS, ORDER_SENSITIVE = 1, 2


def harmless(code: str) -> bool:
    return bool(examine(code, "f") & HARMLESS)


def examine(code: str, entry: str) -> int:
    return ORDER_SENSITIVE
