"""Judging solutions. The solver's text is read by a strict reader or executed in the
sandbox, never pasted.

The child process that runs the answer reports values only; gold values stay on this side and are compared as
canonical text.
"""

from __future__ import annotations

from dataclasses import dataclass

from azr.config.selfplay import SelfPlayConfig
from azr.sandbox import Job, Sandbox, Status, values
from azr.sandbox.values import ValueReadError, canonical_text, parse_arguments, same
from azr.selfplay.rewards import induction_score
from azr.tasks import Task, TaskType

GRADE_REASONS = {
    "right": "the answer is right",
    "wrong": "a well-formed answer with another value",
    "not_literal": "the answer is not a literal value or argument list",
    "failed": "the program raised, or could not be run with the answer",
    "timeout": "the execution ran into its time limit",
}


@dataclass(frozen=True)
class Grade:
    score: float
    """0 to 1; between only for induction graded by ``accuracy``."""
    reason: str
    """One of ``GRADE_REASONS``."""


WRONG = Grade(0.0, "wrong")
RIGHT = Grade(1.0, "right")
_NOT_LITERAL = Grade(0.0, "not_literal")


async def grade(task: Task, solution: str, sandbox: Sandbox, config: SelfPlayConfig) -> Grade:
    """Whether ``solution`` (as ``parse_solution`` returned it) solves the task.

    Raises:
        SandboxError: the sandbox itself failed; says nothing about the answer.
    """
    if task.task_type is TaskType.ABDUCTION:
        return await _grade_abduction(task, solution, sandbox, config)
    if task.task_type is TaskType.DEDUCTION:
        return grade_deduction(task.output, solution, config)
    if task.task_type is TaskType.ERROR:
        return grade_error(task.output, solution)
    return await _grade_induction(task, solution, sandbox, config)


def equivalent(gold: str, value: str, config: SelfPlayConfig) -> bool:
    """Whether two canonical texts mean the same, under the configured switches; dicts compare without order,
    as in Python."""
    if config.bool_equals_int:
        gold, value = _bools_as_ints(gold), _bools_as_ints(value)
    return same(gold, value, strict=not config.int_equals_float, dict_order=False)


def grade_deduction(gold: str, solution: str, config: SelfPlayConfig) -> Grade:
    """Compares literals; nothing is executed."""
    try:
        return RIGHT if equivalent(gold, canonical_text(solution), config) else WRONG
    except ValueReadError:
        return _NOT_LITERAL


def grade_error(gold: str, solution: str) -> Grade:
    """The answer up to its first blank or colon names the exception class, in any case."""
    words = solution.split(maxsplit=1)
    return RIGHT if words and words[0].split(":", 1)[0].lower() == gold.lower() else WRONG


async def _grade_abduction(task: Task, solution: str, sandbox: Sandbox, config: SelfPlayConfig) -> Grade:
    """Any input will do that gives the gold output; the gold input plays no part."""
    try:
        parse_arguments(solution)
    except ValueReadError:
        return _NOT_LITERAL
    result = await sandbox.run(Job(code=task.program, inputs=(solution,), verify=False))
    if not result.calls or not result.ok:
        return Grade(0.0, "timeout" if result.status is Status.TIMEOUT else "failed")
    return RIGHT if gives_output(task.output, result.calls[0].value, config) else WRONG


async def _grade_induction(task: Task, solution: str, sandbox: Sandbox, config: SelfPlayConfig) -> Grade:
    hidden = task.hidden_pairs
    job = Job(
        code=solution,
        inputs=tuple(pair[0] for pair in hidden),
        verify=False,
        every_input=config.induction_reward != "binary",  # binary is decided by the first failure
    )
    result = await sandbox.run(job)
    right = [
        index < len(result.calls)
        and result.calls[index].ok
        and gives_output(gold, result.calls[index].value, config)
        for index, (_, gold) in enumerate(hidden)
    ]
    score = induction_score(right, config.induction_reward)
    if score > 0:
        return Grade(score, "right" if all(right) else "wrong")
    return Grade(0.0, {Status.OK: "wrong", Status.TIMEOUT: "timeout"}.get(result.status, "failed"))


def gives_output(gold: str, value: str | None, config: SelfPlayConfig) -> bool:
    """Whether a call's value, None if it has none, is the gold output."""
    try:
        return value is not None and equivalent(gold, value, config)
    except ValueReadError:
        return False  # what a damaged child sent is not a value


def _bools_as_ints(text: str) -> str:
    def convert(value: object) -> object:
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, (list, tuple, set, frozenset)):
            return type(value)(convert(item) for item in value)
        if isinstance(value, dict):
            return {convert(key): convert(item) for key, item in value.items()}
        return value

    try:
        return values.canonical(convert(values.read(text)))
    except values.ValueWriteError as error:
        raise ValueReadError(str(error)) from error
