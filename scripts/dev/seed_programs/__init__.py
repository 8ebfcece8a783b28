"""Hand-written programs that the shipped seeds and probes are made of, one module a family.

``scripts/dev/make_seeds.py`` runs them in the sandbox and writes ``data/seeds`` and ``data/probes``. Rules
for a new program: imports and classes on top, one function ``f``, no global variables, deterministic, plain
values (``azr.sandbox.values``) in and out, ten different inputs that show what it does, and a message that
helps to find it without holding its code.
"""

from __future__ import annotations

from dataclasses import dataclass

DIFFICULTIES = ("easy", "medium", "hard")


@dataclass(frozen=True)
class SeedProgram:
    code: str
    inputs: tuple[str, ...]
    """Argument-list texts, the most telling first: it becomes the seed's single input."""
    message: str
    difficulty: str = ""
    """One of ``DIFFICULTIES``, as its author judged it; probes only."""


def program(message: str, code: str, inputs: str, difficulty: str = "") -> SeedProgram:
    """A program from raw texts; ``inputs`` holds one argument list a line."""
    lines = tuple(line for line in inputs.strip("\n").split("\n") if line.strip())
    return SeedProgram(code.strip("\n"), lines, message, difficulty)
