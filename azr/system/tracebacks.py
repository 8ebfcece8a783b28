"""Finds in a log the exception that explains the others: under prefixes of Ray and vLLM, through chains, past
mere pointers.

The last exception of a log is often not the cause: a worker reports that an engine died, a library answers a failed
import with advice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

ANSI = re.compile(r"\x1b\[[0-9;]*m")
_PREFIX = re.compile(
    r"\((?:[\w.:-]+ )?pid=\d+[^)]*\) ?"  # (WorkerDict pid=12, ip=...)
    r"|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?"  # vLLM: ERROR 07-25 12:00:00 [core.py:843]
)
_FRAME = re.compile(r'\s+File "(?P<file>.+)", line \d+, in (?P<function>\S+)')
_RAISED = re.compile(r"(?P<kind>[A-Za-z_][\w.]*)(?:\([\w.]+\))?(?:: (?P<message>.*))?$")
_FATAL = re.compile(r"Fatal Python error: (?P<what>.+)$")
"""The last words of a process that a signal ended (bus error, segmentation fault)."""
_DURING = "During handling of the above exception"
_CAUSE = "The above exception was the direct cause"
_POINTERS = re.compile(
    r"ray::|actor died|worker died|actor is temporarily unavailable|root cause (above|below)|stack trace \(?(above|for root cause)"
    r"|look up to see its traceback|process was terminated|Worker unexpectedly exits",
    re.IGNORECASE,
)
_UNEXPECTED = re.compile(r"died unexpectedly|unexpectedly exits|process (has died|was terminated)|^$")
"""A process ended without an exception of its own."""
_FATAL_KIND = "Fatal Python error"
_ENGINE = re.compile(r"\((?:vLLMHttpServer|EngineCore\w*|Worker(?:_\w+)?) pid=")
FULL_CARD = "CUDA out of memory"
_FULL_CARD = re.compile(FULL_CARD + r".*?(?= If reserved but unallocated|$)")
_DIED = ("ActorDiedError", "RayActorError", "WorkerCrashedError")
_ELSEWHERE = (*_DIED, "EngineDeadError", "SystemExit", "BrokenProcessPool")


@dataclass(frozen=True)
class Raised:
    """One exception of a log."""

    kind: str
    """Its class, without the module."""
    message: str
    """The first line of it that says something."""
    functions: tuple[str, ...] = ()
    """Names of the functions on the stack, outermost first."""
    link: str = ""
    """How it came of the exception before it in the log: ``cause``, ``during``, or not at all."""

    @property
    def points_elsewhere(self) -> bool:
        """It only says that something else failed."""
        return self.kind in _ELSEWHERE or bool(_POINTERS.search(self.message))

    @property
    def without_exception(self) -> bool:
        """It says that a process was ended from outside or by the kernel; whatever that one had logged before, it had
        survived."""
        return self.kind in _DIED and bool(_UNEXPECTED.search(self.message))

    @property
    def is_import(self) -> bool:
        return self.kind in ("ImportError", "ModuleNotFoundError")

    def __str__(self) -> str:
        return ": ".join(part for part in (self.kind, self.message) if part)


def root_cause(text: str) -> Raised | None:
    """The exception that ended the program that wrote ``text``; where that one points elsewhere, the first
    that does not. Where a process died without one, only a fatal error of Python's explains more than that."""
    found = list(exceptions(text))
    if not found:
        return None
    last = _root(found, len(found) - 1)
    if not last.points_elsewhere:
        return last
    explains = [raised for raised in found if not raised.points_elsewhere]
    if last.without_exception:
        explains = [raised for raised in explains if raised.kind == _FATAL_KIND]
    return next(iter(explains), last)


def engine_error(lines: Iterable[str]) -> str:
    """What the generation engine's processes said in a trainer's log before they ended: of a full card the sentence
    with its figures (what follows may be an error of another kind), else their last exception. Empty: nothing.

    torch's advice is left out: an engine with expandable segments cannot sleep.
    """
    full_card = last = ""
    for line in lines:
        if not _ENGINE.search(line):
            continue
        cleaned = _clean(line)
        if full := _FULL_CARD.search(cleaned):
            full_card = full[0]
        elif (raised := _RAISED.match(cleaned)) and raised["kind"].endswith(("Error", "Exception")):
            error = Raised(raised["kind"].rpartition(".")[2], (raised["message"] or "").strip())
            last = last if error.points_elsewhere else str(error)
    return full_card or last


def _root(found: Sequence[Raised], index: int) -> Raised:
    """Down the chain of direct causes. What was raised while another was handled counts by itself: the other
    may have been expected."""
    while index and (found[index].link == "cause" or (found[index].link and found[index].points_elsewhere)):
        index -= 1
    return found[index]


@dataclass
class _TracebackReader:
    functions: list[str] = field(default_factory=list)
    in_stack: bool = False
    link: str = ""
    ignored: bool = False


def exceptions(text: str) -> Iterator[Raised]:
    """All exceptions of a log with their stacks, in the order in which they were written."""
    lines = [_clean(line) for line in text.splitlines()]
    state = _TracebackReader()
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        if fatal := _FATAL.match(line):
            yield Raised(_FATAL_KIND, fatal["what"].strip())
            state = _TracebackReader()
        elif line.startswith("Traceback (most recent call last)"):
            state.functions, state.in_stack = [], True
        elif frame := _FRAME.match(line):
            state.functions.append(frame["function"])
            state.in_stack = True
        elif line[0].isspace():
            continue
        elif line.startswith(_DURING):
            state.link = "during"
        elif line.startswith(_CAUSE):
            state.link = "cause"
        elif line.startswith("Exception ignored in"):
            state.ignored = True
        elif line.startswith("ray::"):  # the same exception as seen in another process
            state.functions, state.in_stack = [], True
        elif state.in_stack:
            raised = _RAISED.match(line)
            if raised and not state.ignored:
                message = (raised["message"] or "").strip()
                message = _telling(message, lines[index + 1 : index + 6])
                yield Raised(raised["kind"].rpartition(".")[2], message, tuple(state.functions), state.link)
            # then the exception of the other process follows, without a head
            state = _TracebackReader(in_stack="ray::" in line)
        else:
            state.link = ""


def _clean(line: str) -> str:
    line = ANSI.sub("", line)
    while prefix := _PREFIX.match(line):
        line = line[prefix.end() :]
    return line.rstrip()


def _telling(message: str, following: Sequence[str]) -> str:
    """The first line, and the next one where the first only announces it (``1 validation error for ...``)."""
    announces = not message or message.endswith(":") or re.match(r"\d+ validation errors? for", message)
    if not announces:
        return message
    more = next((line.strip() for line in following if line.strip()), "")
    return f"{message} {more}".strip()
