"""Inside a program's own process: build its namespace, run it, call its entry, report values as text.

Runs after all confinement is in place. Nothing here is a security boundary: a program can reach and change everything
in this process, and so lie about its own values. What it cannot do is leave the process. Standard library only.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from azr.sandbox import frames
from azr.sandbox.frames import CallFrame, pack_call
from azr.sandbox.policy import ClockError
from azr.sandbox.values import ValueReadError, ValueWriteError, canonical, parse_arguments, type_name

MAX_REASON = 300
PROGRAM_NAME = "program"
"""``__name__`` of a program's namespace."""


@dataclass(frozen=True)
class Program:
    """A job as the zygote got it."""

    job_id: int
    evaluate: bool
    repeats: int
    """Calls with every input: 2 when verified, else 1."""
    reverse: bool
    """Inputs in reversed order, so that state carried from one to the next shows."""
    cpu_s: float
    wall_s: float
    memory_mib: int
    output_kib: int
    value_chars: int
    entry: str
    code: str
    inputs: tuple[str, ...]


_HEADER = struct.Struct("<Q?B?ddIII")
"""The fields of a ``Program`` before its texts, in their order."""


def read_program(data: bytes) -> Program:
    """Raises:
    FrameError, struct.error: the trainer and the zygote are of different versions.
    """
    header, *texts = frames.unpack_frame(data)
    entry, code, *inputs = map(frames.decode, texts)
    return Program(*_HEADER.unpack(header), entry=entry, code=code, inputs=tuple(inputs))


def pack_program(item: Program) -> bytes:
    """The frame whose body ``read_program`` reads."""
    *numbers, entry, code, inputs = vars(item).values()
    return frames.pack_frame(_HEADER.pack(*numbers), *map(frames.encode, (entry, code, *inputs)))


class _Sink:
    """Where prints go: nowhere."""

    encoding = "utf-8"
    errors = "strict"
    closed = False

    def write(self, text: str) -> int:
        return len(text)

    def writelines(self, lines: Any) -> None:
        pass

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


class _EmptyInput(_Sink):
    def read(self, size: int = -1) -> str:
        return ""

    readline = read

    def readlines(self) -> list[str]:
        return []

    def __iter__(self) -> Iterator[str]:
        return iter(())


def guard_imports(modules: dict[str, ModuleType]) -> None:
    """From here on programs can import ``modules`` only. It makes results reproducible; the kernel makes them harmless.

    The standard library's own imports, at a function's first call, go on as before. One set of builtins
    serves all: copying it for every program would touch a hundred pages of the forked process.
    """
    original = builtins.__import__

    def guarded_import(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> ModuleType:
        # a list as fromlist is how C code imports for its own needs (datetime.strptime does)
        if type(fromlist) is list or (globals or sys._getframe(1).f_globals).get("__name__") != PROGRAM_NAME:
            return original(name, globals, locals, fromlist, level)
        if level:
            raise ImportError("attempted relative import with no known parent package")
        module = modules.get(name)
        if module is None:
            raise ModuleNotFoundError(
                f"No module named {name!r} (or it is not available to programs here)", name=name
            )
        return module if fromlist or "." not in name else modules[name.partition(".")[0]]

    builtins.__import__ = guarded_import


def execute(program: Program, send: Callable[[bytes], object]) -> None:
    """Compiles and runs a program, and sends a frame per call (and one more per repeated call)."""
    recursion_limit = sys.getrecursionlimit()
    start = time.process_time()
    try:
        entry: Any = None
        failure: tuple[int, str, str] | None = None
        try:
            # a module, because dataclasses, enums and typing look the module of a class up by its name
            module = sys.modules[PROGRAM_NAME] = ModuleType(PROGRAM_NAME)
            scope = module.__dict__
            scope["__builtins__"] = builtins.__dict__
            exec(compile(program.code, "<program>", "exec", dont_inherit=True), scope)
            if program.entry:
                entry = scope.get(program.entry)
                if entry is None:
                    failure = (frames.ERROR, "NameError", f"the program defines no {program.entry[:80]!r}")
        except BaseException as error:  # noqa: BLE001 - whatever a program raises is its result
            failure = outcome_of(error)
        # what the program's top level set holds for every call, and for nothing of ours
        programs_limit = sys.getrecursionlimit()
        sys.setrecursionlimit(recursion_limit)
        if not program.entry:
            outcome, exception, reason = failure or (frames.OK, "", "")
            send(pack_call(CallFrame(0, outcome, 0, time.process_time() - start, "", exception, reason)))
            return
        order = range(len(program.inputs))
        for call in reversed(order) if program.reverse else order:
            first: tuple[int, str, str, str] | None = None
            for repeat in range(program.repeats):
                value = ""
                if failure:
                    outcome, exception, reason = failure
                else:
                    value, outcome, exception, reason = call_once(
                        entry, program.inputs[call], program.value_chars, programs_limit
                    )
                if first is None:
                    first = (outcome, value, exception, reason)
                elif (outcome, value, exception) != first[:3]:
                    gave, then = (first[1] or first[2])[:100], (value or exception)[:100]
                    reason = f"two calls with the same input gave {gave} and {then}"
                    outcome = frames.NONDETERMINISTIC
                else:
                    outcome = frames.OK
                if repeat:
                    value = exception = ""
                now = time.process_time()
                frame = CallFrame(call, outcome, min(repeat, 1), now - start, value, exception, reason)
                send(pack_call(frame))
                start = now
    finally:
        sys.setrecursionlimit(recursion_limit)
        sys.modules.pop(PROGRAM_NAME, None)


def call_once(
    entry: Any, arguments: str, value_chars: int, recursion_limit: int
) -> tuple[str, int, str, str]:
    """(value text, outcome, exception name, reason) of one call; arguments are parsed again, so that none is shared.

    A recursion limit that the call itself sets ends with it.
    """
    own_limit = sys.getrecursionlimit()
    try:
        positional, keywords = parse_arguments(arguments)
    except ValueReadError as error:
        return "", frames.REFUSED, "", f"the input is not a list of literals: {error}"
    try:
        try:
            sys.setrecursionlimit(recursion_limit)
            value = entry(*positional, **keywords)
        finally:
            sys.setrecursionlimit(own_limit)
    except BaseException as error:  # noqa: BLE001 - whatever a program raises is its result
        return ("", *outcome_of(error))
    try:
        return canonical(value, value_chars), frames.OK, "", ""
    except ValueWriteError as error:
        return "", frames.REFUSED, "", f"the value is refused: {error}"
    except (RecursionError, MemoryError, ValueError, RuntimeError) as error:
        return "", frames.REFUSED, "", f"the value cannot be written: {type(error).__name__}"


def outcome_of(error: BaseException) -> tuple[int, str, str]:
    """(outcome, exception class, message), calling nothing that the program wrote."""
    kind = type(error)
    name = type_name(kind)
    message = ""
    with contextlib.suppress(AttributeError, TypeError):
        arguments = BaseException.args.__get__(error)  # type: ignore[attr-defined]
        for argument in arguments[:2]:
            if type(argument) is str:
                message = argument[:MAX_REASON]
                break
    if kind is ClockError:
        return frames.NONDETERMINISTIC, name, message
    if isinstance(error, PermissionError) and kind is PermissionError and type(error.errno) is int:
        return frames.BLOCKED, name, f"a system call was refused: {os.strerror(error.errno)}"
    return frames.ERROR, name, message


def quiet_streams() -> None:
    """Replaces the standard streams; what programs print is thrown away."""
    sink = _Sink()
    sys.stdout = sys.__stdout__ = sink  # type: ignore[assignment]
    sys.stderr = sys.__stderr__ = sink  # type: ignore[assignment]
    sys.stdin = sys.__stdin__ = _EmptyInput()  # type: ignore[assignment]
