"""Induction proposals judged input by input (``selfplay.usable_inputs``): keeps what is usable, and says how
close a proposal came.

The published rule refuses a proposal for one bad input and gives it nothing but -1. Models of 0.5B and 1.5B
write one or two blocks where ten are required, so none of their proposals is ever valid, and no reward says
which of them came closer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from azr.copies import argument_key
from azr.prompts.examples import INDUCTION_EXAMPLES
from azr.sandbox import CallResult, Job, Sandbox, Status
from azr.selfplay.buffer import said
from azr.tasks import Rejection, Task

_SPARE = 4
"""Inputs run beyond twice the needed number: a bound on what a proposal of sixty blocks may cost."""
_INPUT_FAULTS = (Status.ERROR, Status.REFUSED)
"""How a call may end without counting against the program; anything else (time-out, a forbidden call) refuses
the proposal."""

CheckOutput = Callable[[CallResult], "str | Rejection"]


_EXAMPLE_INPUTS = frozenset(argument_key(text) for example in INDUCTION_EXAMPLES for text in example.inputs)
_EXAMPLE_MESSAGES = frozenset(said(example.message) for example in INDUCTION_EXAMPLES)


async def run_usable_inputs(
    task: Task, needed: int, most: int, sandbox: Sandbox, check: CheckOutput, markup: re.Pattern[str]
) -> Task | Rejection:
    """The task with its usable inputs and their outputs, at most ``most`` of them, in the order in which they
    were written.

    Args:
        check: the output of a call as text, or what is wrong with it.
        markup: text that no input may hold.

    Raises:
        SandboxError: the sandbox itself failed.
    """
    message = said(task.message)
    if message and message in _EXAMPLE_MESSAGES:
        return Rejection("copied_example", task.message[:200])

    inputs, fault = _distinct_literals(task.inputs, 2 * most + _SPARE, markup)
    outputs: list[str] = []
    while inputs:
        # inputs that failed are left out and the rest is run again: after a failure the second process was not asked
        result = await sandbox.run(Job(code=task.program, inputs=tuple(inputs)))
        if len(result.calls) != len(inputs):
            return Rejection("killed", result.reason)
        if refusing := [call for call in result.calls if call.status not in (Status.OK, *_INPUT_FAULTS)]:
            found = check(refusing[0])
            return found if isinstance(found, Rejection) else Rejection("killed", result.reason)

        checked = [(text, check(call)) for text, call in zip(inputs, result.calls, strict=True)]
        kept = [(text, output) for text, output in checked if isinstance(output, str)][:most]
        faults = (f"{bad.reason} {bad.detail}".strip() for _, bad in checked if isinstance(bad, Rejection))
        fault = fault or next(faults, "")
        inputs, outputs = [text for text, _ in kept], [output for _, output in kept]
        if result.ok:
            break

    # the message counts as much as an input; below 1 while something is missing
    progress = (min(len(inputs), needed) + bool(message)) / (needed + 1)
    if len(inputs) < needed:
        detail = f"{len(inputs)} usable of {needed}" + (f"; {fault}" if fault else "")
        return Rejection("too_few_inputs", detail[:300], progress)
    if not message:
        return Rejection("no_message", "it is missing, or says nothing", progress)
    return replace(task, inputs=tuple(inputs), outputs=tuple(outputs))


def _distinct_literals(texts: Sequence[str], most: int, markup: re.Pattern[str]) -> tuple[list[str], str]:
    """The inputs worth running, and the first fault found."""
    kept: dict[str, str] = {}
    fault = ""
    for text in texts:
        key = None if markup.search(text) else argument_key(text)
        if key is None:
            fault = fault or f"no list of literals: {text[:80]}"
        elif key in kept:
            fault = fault or f"written twice: {text[:80]}"
        elif key in _EXAMPLE_INPUTS:
            fault = fault or f"an input of the example: {text[:80]}"
        elif len(kept) < most:
            kept[key] = text
    return list(kept.values()), fault
