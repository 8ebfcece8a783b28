"""What the sandbox is asked to run, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from azr.config.sandbox import Limits


class Status(str, Enum):
    """How a call (or a whole job) ended."""

    OK = "ok"
    """It returned a value that has a canonical text."""
    ERROR = "error"
    """It raised the named exception: a syntax error, a missing function, a forbidden import too."""
    TIMEOUT = "timeout"
    """It was killed at its CPU or wall limit."""
    KILLED = "killed"
    """Its process died or was ended without a result: crash, exit, a flood of output, a damaged result."""
    BLOCKED = "blocked"
    """It tried what the confinement forbids: files, network, processes, signals."""
    NONDETERMINISTIC = "nondeterministic"
    """Repeated calls, or processes with different hash seeds, did not agree; or it asked for the time."""
    REFUSED = "refused"
    """It was not run (input is not a literal, program too long) or its value has no canonical text."""


class Profile(str, Enum):
    """Which modules a program may import, and whether the clock and randomness are there."""

    SELFPLAY = "selfplay"
    """The deterministic standard library."""
    EVALUATE = "evaluate"
    """Also random, hashlib, time and what else benchmarks import; one run, no determinism check."""


@dataclass(frozen=True)
class Job:
    """A program and the argument lists it is called with.

    ``inputs`` are argument-list texts as they stand between the parentheses of ``f(...)``: literals, positional or by
    keyword, over as many lines as they like. They are parsed in the program's process, anew for every call.
    """

    code: str
    inputs: tuple[str, ...] = ()
    entry: str = "f"
    """Function to call; empty: the program is only run, and there is one call with no value (test scripts)."""
    profile: Profile = Profile.SELFPLAY
    verify: bool = True
    """Call twice in each of two processes with different hash seeds, and demand agreement (selfplay profile only)."""
    verify_errors: bool = False
    """Also demand agreement on exceptions; otherwise the first exception is the answer and no second run is made."""
    every_input: bool = False
    """After a call that had to be killed, run the remaining inputs in new processes instead of giving up on them."""
    limits: Limits | None = None
    """None: the configuration's."""


@dataclass(frozen=True)
class CallResult:
    """One call of the entry function with one input."""

    status: Status
    value: str | None = None
    """Canonical text of the returned value (``azr.sandbox.values``) when ``status`` is ok and there was an entry."""
    exception: str | None = None
    """Class name of what was raised when ``status`` is error (or nondeterministic, or blocked by an exception)."""
    reason: str = ""
    """A sentence for people; may hold text of the program's own exception, so never trust or execute it."""
    cpu_s: float = 0.0
    """CPU seconds of this call as its process said; bounded by, but not as reliable as, the job's limit."""
    wall_s: float = 0.0

    @property
    def ok(self) -> bool:
        return self.status is Status.OK


@dataclass(frozen=True)
class JobResult:
    """``status`` is the first status among ``calls`` that is not ok, else ok; ``reason`` is that call's."""

    status: Status
    calls: tuple[CallResult, ...]
    reason: str = ""

    @classmethod
    def of(cls, calls: tuple[CallResult, ...]) -> JobResult:
        for call in calls:
            if call.status is not Status.OK:
                return cls(call.status, calls, call.reason)
        return cls(Status.OK, calls)

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    @property
    def values(self) -> tuple[str | None, ...]:
        return tuple(call.value for call in self.calls)
