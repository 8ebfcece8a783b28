"""Why a row or a task is not in the pool. The names are counted in manifests, logged and shown; docs/data.md
explains them."""

from __future__ import annotations

from enum import Enum


class Reason(str, Enum):
    UNREADABLE = "unreadable"
    """No object with fields: no JSON, another encoding, or, in a log of our own, a line torn by a crash."""
    SCHEMA = "schema"
    """A field is missing or has the wrong type."""
    TOO_LARGE = "too_large"
    """Longer than data.max_code_chars or data.max_value_chars."""
    NOT_PYTHON = "not_python"
    """The program does not parse, or defines no function f."""
    LEAKED = "leaked_evaluation"
    """Resembles an item of a probe or evaluation file."""
    EXACT = "duplicate_exact"
    """Same text as a better copy."""
    RENAMED = "duplicate_renamed"
    """Same as a better copy after renaming variables and dropping comments and layout."""
    NEAR = "duplicate_near"
    """An edited copy of a better one."""
    BEHAVIOUR = "duplicate_behaviour"
    """Other code, but the same outputs as a better copy on all shared inputs."""
    FAILED = "execution_failed"
    """Raised, was blocked, killed or refused when it was run again."""
    TIMEOUT = "execution_timeout"
    """Ran out of time twice when it was run again."""
    FLAKY = "nondeterministic"
    """Two runs disagreed."""
    OUTPUT = "output_mismatch"
    """Runs, but gives another output than the record says."""
    PROGRAM_CAP = "program_cap"
    """One more input of a program that has data.max_inputs_per_program already."""
    SHAPE_CAP = "shape_cap"
    """One more program of a shape that has data.max_per_shape already."""
    POOL_CAP = "pool_cap"
    """The pool is full; less useful than what stays."""


_COPIES = (Reason.EXACT, Reason.RENAMED, Reason.NEAR, Reason.BEHAVIOUR)
COPIES_AND_CAPS = frozenset[str]((*_COPIES, Reason.PROGRAM_CAP, Reason.SHAPE_CAP, Reason.POOL_CAP))
"""Left out since a better one of the kind is in the pool: the row was of use."""
