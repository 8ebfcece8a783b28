"""Executes the generator's own programs and records the states they pass through.

Only source written by ``programs.py`` comes here, never a model's: this is the one place beside the sandbox
that executes code, in the process that makes training data, and the pipeline does not import it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import FrameType
from typing import Any

MAX_EVENTS = 18
"""Programs that pass through more states than this are too long for a short think trace."""
MAX_LINES = 300
MAX_OUTPUT_CHARS = 40
MAX_ABS_INT = 999

HIDDEN_NAMES = frozenset({"e", "u"})
"""Variables of comprehensions, which some Python versions show as locals."""


class Unsuitable(Exception):
    """The call failed, ran long, or gave a value that makes a poor task."""


@dataclass(frozen=True)
class Execution:
    output: str
    states: tuple[tuple[str, str], ...]
    """(variable, value text) as they change, arguments first; ``->`` marks what a call returned, the last one
    the output."""


class _Tracer:
    def __init__(self) -> None:
        self.states: list[tuple[str, str]] = []
        self.known: dict[int, dict[str, str]] = {}
        self.lines = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_name != "f":
            return None
        known = self.known.setdefault(id(frame), {})
        for name, value in frame.f_locals.items():
            text = repr(value)
            if known.get(name) != text and name not in HIDDEN_NAMES:
                known[name] = text
                self.states.append((name, text))
        if event == "return":
            self.states.append(("->", repr(argument)))
            del self.known[id(frame)]
        self.lines += 1
        if len(self.states) > MAX_EVENTS or self.lines > MAX_LINES:
            raise Unsuitable("too long")
        return self


def execute(code: str, arguments: str, *, trace: bool = False) -> Execution:
    """Calls ``f`` of a generated program; all of them end. ``trace`` records the states, which costs several
    times more.

    Raises:
        Unsuitable: it raised, passed through too many states, or its result is long, large or no plain value.
    """
    space: dict[str, Any] = {}
    exec(compile(code, "<tiny>", "exec"), space)
    call = compile(f"f({arguments})", "<tiny>", "eval")
    tracer = _Tracer()
    previous = sys.gettrace()
    try:
        if trace:
            sys.settrace(tracer)
        result = eval(call, space)  # noqa: S307 (the generator's own program)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Unsuitable(f"{type(error).__name__}: {error}") from error
    finally:
        sys.settrace(previous)
    output = repr(result)
    if result is None or len(output) > MAX_OUTPUT_CHARS or not _plain(result):
        raise Unsuitable("poor output")
    return Execution(output=output, states=tuple(tracer.states))


def _plain(value: Any) -> bool:
    if isinstance(value, (bool, str)):
        return True
    if isinstance(value, int):
        return abs(value) <= MAX_ABS_INT
    if isinstance(value, list):
        return all(_plain(item) for item in value)
    return isinstance(value, dict) and all(_plain(item) for pair in value.items() for item in pair)
