"""Turns what a program's process sent, and how it ended, into call results. None of it can be trusted, so all
of it is checked."""

from __future__ import annotations

import signal
from dataclasses import replace

from azr.sandbox import frames
from azr.sandbox.frames import CallFrame, FrameError, take_frames, unpack_call
from azr.sandbox.job import CallResult, Status
from azr.sandbox.program import Program
from azr.sandbox.values import ValueReadError, read
from azr.sandbox.worker import ChildExit
from azr.sandbox.zygote import CPU_LIMIT, FLOOD, WALL_LIMIT

_STATUS = (Status.OK, Status.ERROR, Status.BLOCKED, Status.NONDETERMINISTIC, Status.REFUSED)
"""By the number of the outcome in ``frames``."""


def call_results(report: ChildExit, program: Program) -> tuple[CallResult, ...]:
    """Results of a program's process, one per input in the inputs' order.

    Calls that did not end have the status that the process's end gives them: the first such call in the order
    of execution for its own sake, the later ones because they were not run (``not run`` opens their reason).
    """
    seen: dict[tuple[int, int], CallFrame] = {}
    damage = ""
    buffer = bytearray(report.data)
    try:
        for body in take_frames(buffer):
            frame = unpack_call(body)
            seen.setdefault((frame.call, frame.repeat), frame)
    except FrameError as error:
        damage = f"its process sent a damaged result: {error}"
    if buffer and not damage and report.verdict == 0 and not report.signal:
        damage = "its process sent a damaged result: bytes left over"

    ending = CallResult(Status.KILLED, reason=damage) if damage else _ending(report, program)
    calls = len(program.inputs) if program.entry else 1
    found: dict[int, CallResult] = {}
    for call in reversed(range(calls)) if program.reverse else range(calls):
        result = None if damage else _one(seen, call, program)
        if result is None:
            found[call] = ending
            if not ending.reason.startswith("not run"):
                ending = replace(ending, reason=f"not run: {ending.reason}", cpu_s=0.0)
        else:
            found[call] = replace(result, wall_s=report.wall_s / calls)
    return tuple(found[call] for call in range(calls))


def _one(seen: dict[tuple[int, int], CallFrame], call: int, program: Program) -> CallResult | None:
    """The result of one call, or None when it did not end."""
    first = seen.get((call, 0))
    if first is None:
        return None

    cpu_s = first.cpu_s
    if program.repeats > 1 and program.entry:
        again = seen.get((call, 1))
        if again is None:
            return None
        cpu_s += again.cpu_s
        if again.outcome == frames.NONDETERMINISTIC:
            return CallResult(
                Status.NONDETERMINISTIC,
                exception=first.exception[:80] or None,
                reason=again.reason[:400],
                cpu_s=cpu_s,
            )

    status = _STATUS[first.outcome]
    exception, reason = first.exception[:80] or None, first.reason[:400]
    if status is not Status.OK:
        return CallResult(status, exception=exception, reason=reason, cpu_s=cpu_s)
    if not program.entry:
        return CallResult(Status.OK, cpu_s=cpu_s)
    try:
        read(first.value, program.value_chars)
    except ValueReadError as error:
        return CallResult(Status.REFUSED, reason=f"the value's text is refused: {error}", cpu_s=cpu_s)
    return CallResult(Status.OK, value=first.value, cpu_s=cpu_s)


def _ending(report: ChildExit, program: Program) -> CallResult:
    """What the end of the process means for a call that was running."""
    status = Status.KILLED
    if report.verdict == CPU_LIMIT:
        status, reason = Status.TIMEOUT, f"more than {program.cpu_s:g} s of CPU time"
    elif report.verdict == WALL_LIMIT:
        status, reason = Status.TIMEOUT, f"more than {program.wall_s:g} s of wall-clock time"
    elif report.verdict == FLOOD:
        reason = f"more than {program.output_kib} KiB of results"
    elif report.signal == signal.SIGSYS:
        status, reason = Status.BLOCKED, "a forbidden system call (file, network, process or signal)"
    elif report.signal == signal.SIGKILL:
        reason = "killed by the kernel, most likely because memory ran out"
    elif report.signal:
        known = report.signal in set(signal.Signals)
        reason = f"its process crashed ({signal.Signals(report.signal).name if known else report.signal})"
    else:
        reason = "its process ended without a result"
    return CallResult(status, reason=reason, cpu_s=report.cpu_s, wall_s=report.wall_s)


def run_difference(left: CallResult, right: CallResult) -> str:
    """'' when two runs of a call agree, else a sentence."""
    if (left.status, left.value, left.exception) == (right.status, right.value, right.exception):
        return ""

    def shown(call: CallResult) -> str:
        return (call.value or call.exception or call.status.value)[:100]

    return f"processes with different hash seeds gave {shown(left)} and {shown(right)}"
