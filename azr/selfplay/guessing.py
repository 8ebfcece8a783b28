"""Whether a typical input solves an abduction task, so that its program need not be followed.

A proposer that is paid for tasks of middling difficulty can get them by asking for one and the same input again and
again: the solver answers with the input that is usual lately, and unlearns to work backwards. What a step records of
its own tasks does not tell, since they are solved. So the most frequent inputs of the latest tasks are tried on each
new one, and graded as a solver's answers are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from azr.config.selfplay import SelfPlayConfig
from azr.sandbox import Job, Sandbox
from azr.sandbox.values import ValueReadError, parse_arguments
from azr.selfplay.grading import gives_output
from azr.tasks import Task

CPU_S = 0.1
WALL_S = 1.0
"""Limits of each guess, where the sandbox's own are not lower: a program may hang on every one of them."""


def typical_inputs(inputs: Iterable[str], most: int) -> tuple[str, ...]:
    """The most frequent of these inputs, the most frequent first and of equals the one that came first; at most ``most``
    of each number of arguments. What is no list of literals is left out."""
    kept: Counter[int] = Counter()
    found: list[str] = []
    for text, _ in Counter(inputs).most_common():
        number = argument_count(text)
        if number >= 0 and kept[number] < most:
            kept[number] += 1
            found.append(text)
    return tuple(found)


def guesses(own: str, typical: Sequence[str]) -> list[str]:
    """The typical inputs with as many arguments as a task's own input, in their order."""
    number = argument_count(own)
    return [text for text in typical if number >= 0 and argument_count(text) == number]


@lru_cache(maxsize=8192)  # the latest inputs come back with every step
def argument_count(text: str) -> int:
    """Arguments of an input, positional and by keyword; -1 for what is no list of literals."""
    try:
        positional, keywords = parse_arguments(text)
    except ValueReadError:
        return -1
    return len(positional) + len(keywords)


async def solving_guesses(
    task: Task, typical: Sequence[str], sandbox: Sandbox, config: SelfPlayConfig
) -> list[str]:
    """Those of the typical inputs, in their order, that solve a verified abduction task. One that fails or runs into its
    limit does not, and takes nothing from the others.

    Raises:
        SandboxError: the sandbox itself failed; says nothing about the task.
    """
    tried = guesses(task.inputs[0], typical)
    if not tried:
        return []
    own = sandbox.config.limits
    limits = replace(own, cpu_s=min(own.cpu_s, CPU_S), wall_s=min(own.wall_s, WALL_S))
    job = Job(code=task.program, inputs=tuple(tried), verify=False, every_input=True, limits=limits)
    result = await sandbox.run(job)
    answered = zip(tried, result.calls, strict=False)  # fewer calls where the job itself was refused
    return [text for text, call in answered if call.ok and gives_output(task.output, call.value, config)]
