"""Running a program's tests in the sandbox. The right values never enter the process that runs a model's
program, except in test scripts (HumanEval, MBPP), which hold them as their authors wrote them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from azr.config.sandbox import Limits
from azr.sandbox import CallResult, Job, Profile, Sandbox, Status

LIMITS = Limits(cpu_s=3.0, wall_s=10.0, memory_mib=2048)
CALL_LIMITS = Limits(cpu_s=6.0, wall_s=20.0, memory_mib=2048, output_kib=1 << 14, value_chars=1 << 20)
CALLS_AT_ONCE = 256
PASSED, WRONG = "passed", "wrong"


class Check(Protocol):
    """The tests of one problem."""

    async def run(self, program: str, sandbox: Sandbox) -> tuple[float, str]:
        """Score (1 or 0) and reason.

        Raises:
            SandboxError: the sandbox itself failed; says nothing about the program.
        """
        ...


@dataclass(frozen=True)
class Script:
    """Source that stands after the program and raises when it is wrong."""

    source: str

    async def run(self, program: str, sandbox: Sandbox) -> tuple[float, str]:
        job = Job(code=f"{program}\n{self.source}", entry="", profile=Profile.EVALUATE, limits=LIMITS)
        result = await sandbox.run(job)
        return (1.0, PASSED) if result.ok else (0.0, reason_of(result.calls[0]))


def reason_of(call: CallResult) -> str:
    """Of a call that did not end well."""
    if call.status is Status.ERROR and call.exception == "AssertionError":
        return WRONG
    return {Status.TIMEOUT: "timeout", Status.ERROR: "failed"}.get(call.status, call.status.value)


async def first_wrong(
    program: str, entry: str, inputs: Sequence[str], right: Callable[[int, str], bool], sandbox: Sandbox
) -> tuple[int, str]:
    """Calls with each argument list until one is wrong.

    Args:
        right: whether the value of the call of this number is what it should be.

    Returns:
        the number of the wrong call and its reason; the number of calls and ``PASSED`` where all are right.
    """
    calls = await call_all(program, entry, inputs, sandbox, until_failure=True)
    for number, call in enumerate(calls):
        if not call.ok or call.value is None:
            return number, reason_of(call)
        if not right(number, call.value):
            return number, WRONG
    return len(calls), PASSED if len(calls) >= len(inputs) else "failed"


async def call_all(
    program: str, entry: str, inputs: Sequence[str], sandbox: Sandbox, *, until_failure: bool
) -> list[CallResult]:
    """Calls with each argument list, in order. With ``until_failure`` a part that holds a failed call is the last."""
    results: list[CallResult] = []
    job = Job(program, (), entry, Profile.EVALUATE, verify=False, limits=CALL_LIMITS)
    for start in range(0, len(inputs), CALLS_AT_ONCE):
        part = tuple(inputs[start : start + CALLS_AT_ONCE])
        result = await sandbox.run(replace(job, inputs=part, every_input=not until_failure))
        results += result.calls
        if until_failure and not result.ok:
            break
    return results
