"""When a task counts as a copy of another: one rule for buffer and pool."""

from __future__ import annotations

from collections.abc import Iterable

from azr.sandbox.values import canonical, parse_arguments


def argument_key(text: str) -> str | None:
    """Equal for inputs that give a program equal arguments; None for what is not a list of literals."""
    try:
        return canonical(parse_arguments(text))
    except ValueError:  # ValueReadError, ValueWriteError
        return None


def input_key(text: str) -> str:
    """An input without differences of spelling; without those of spacing where it is not a list of literals."""
    return argument_key(text) or " ".join(text.split())


def renamed_key(fingerprint: str, inputs: Iterable[str]) -> str:
    """Equal for tasks that differ in variable names, comments, layout, the spelling or order of their inputs,
    or the message.

    Args:
        fingerprint: of the program's canonical form (``azr.programs.canonical``).
    """
    return f"{fingerprint}:{'|'.join(sorted(map(input_key, inputs)))}"
