"""Synthetic AZR dialogues: what a proposer and a solver of small means would say, in the compact prompt
frame.

The teacher is deliberately of mixed habits, so that self-play has something to improve (``Habits``): it often
answers without thinking, and then often carelessly; its traces hold slips; part of its proposals do not run.
Every answer of a careful dialogue is right, because outputs and traces come from execution.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from azr.prompts import PromptOptions, propose_prompt, solve_prompt
from azr.tasks import CORE_TASK_TYPES, Role, Stream, Task, TaskType
from tiny.execution import Execution, Unsuitable, execute
from tiny.programs import FAMILIES, VARIABLES, Sketch, draw_arguments, draw_program, draw_value, partition

OPTIONS = PromptOptions(frame="compact")
VAGUE_MESSAGES = (
    "find the rule",
    "what does f do",
    "guess the function",
    "one short rule",
    "look at the pairs",
)
END = "<|end|>"


@dataclass(frozen=True)
class Habits:
    """Shares of the teacher's habits, 0 to 1. The defaults are those of the shipped model's second stage (its
    card names the third's)."""

    hasty: float = 0.5
    """Solutions given without a think trace."""
    careless: float = 0.3
    """Hasty solutions that are wrong on purpose: one step early, or a little off."""
    slip: float = 0.05
    """Traced solutions in which the last state, and so the answer, is a little off."""
    faulty: float = 0.3
    """Proposals that do not run, or induction proposals with too few inputs."""
    planned: float = 0.5
    """Proposals that begin with a plan in words."""
    vague: float = 0.3
    """Induction messages that say nothing about the function."""
    propose: float = 0.4
    """Dialogues in which a task is proposed; the others solve one."""


CAREFUL = Habits(hasty=0.1, careless=0.0, slip=0.0, faulty=0.0, propose=0.25)
"""The teacher of the first lessons: thinks nearly always and is right."""

VARIED = Habits(hasty=0.6, careless=0.45, slip=0.12, faulty=0.28)
"""A mixture of everything, from whose texts the tokenizer is learned."""


@dataclass(frozen=True)
class Dialogue:
    stream: Stream
    prompt: str
    response: str
    """Ends with the end token's text."""


@dataclass(frozen=True)
class Drawn:
    """A program with a suitable input and what its execution showed."""

    sketch: Sketch
    arguments: str
    execution: Execution

    def task(self, task_type: TaskType) -> Task:
        return Task(
            task_type=task_type,
            code=self.sketch.code,
            inputs=(self.arguments,),
            outputs=(self.execution.output,),
        )


def draw_task(
    rng: Random, families: Sequence[str] = FAMILIES, *, part: str = "training", trace: bool = False
) -> Drawn:
    """A program of the named part of the data (``programs.partition``) with an input on which it runs well.

    ``trace`` also asks for its states, and that they be few enough for a think trace.
    """
    while True:
        sketch = draw_program(rng, rng.choice(families))
        if partition(sketch.code) != part:
            continue
        for _ in range(3):
            arguments = draw_arguments(rng, sketch)
            try:
                return Drawn(sketch, arguments, execute(sketch.code, arguments, trace=trace))
            except Unsuitable:
                continue


def draw_induction(
    rng: Random,
    families: Sequence[str] = FAMILIES,
    *,
    part: str = "training",
    vague: float = 0.3,
    pairs: int = 10,
) -> tuple[Drawn, Task]:
    """An induction task: one program, ``pairs`` different inputs that run, at least three different outputs,
    a message."""
    while True:
        drawn = draw_task(rng, families, part=part)
        seen: dict[str, str] = {}
        for _ in range(3 * pairs):
            arguments = draw_arguments(rng, drawn.sketch, small=True)
            try:
                seen[arguments] = execute(drawn.sketch.code, arguments).output
            except Unsuitable:
                continue
            if len(seen) == pairs:
                break
        if len(seen) < pairs or len(set(seen.values())) < 3:
            continue
        message = rng.choice(VAGUE_MESSAGES) if rng.random() < vague else drawn.sketch.phrase
        task = Task(
            task_type=TaskType.INDUCTION, code=drawn.sketch.code, inputs=tuple(seen), outputs=tuple(seen.values()),
            message=message,
        )  # fmt: skip
        if len("".join(task.inputs)) <= MAX_INPUT_CHARS:
            return drawn, task


MAX_INPUT_CHARS = 105
"""Ten inputs of an induction task together, so that a proposal fits 128 tokens."""


def nudge(rng: Random, text: str) -> str:
    """A value text a little off: the kind of slip that a careless reader makes. Several arguments: one of
    them is off."""
    value = ast.literal_eval(f"({text},)")
    position = rng.randrange(len(value))
    return ", ".join(
        repr(_nudged(rng, item) if index == position else item) for index, item in enumerate(value)
    )


def _nudged(rng: Random, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-2, -1, 1, 2))
    if isinstance(value, dict):
        if not value:
            return {"a": 1}
        key = rng.choice(list(value))
        return {**value, key: _nudged(rng, value[key])}
    if isinstance(value, str):
        if len(value) < 2:
            return value + rng.choice("abc")
        return rng.choice((value[1:], value[:-1], value + value[-1], value[::-1]))
    if len(value) < 2:
        return [*value, 1]
    position = rng.randrange(len(value))
    return rng.choice(
        (
            value[1:],
            value[:-1],
            [*value[:position], _nudged(rng, value[position]), *value[position + 1 :]],
            value[::-1],
        )
    )


def _write(states: Sequence[tuple[str, str]]) -> str:
    return "".join(f" {name}{text}" if name == "->" else f" {name}={text}" for name, text in states)


def _respond(think: str, *blocks: tuple[str, str]) -> str:
    body = "".join(f"```{label}\n{text}\n```\n" for label, text in blocks)
    return f"{think}</think><answer>\n{body}</answer>{END}"


def _solve_io(rng: Random, habits: Habits, task_type: TaskType) -> Dialogue:
    drawn = draw_task(rng, trace=True)
    states = list(drawn.execution.states)
    deduce = task_type is TaskType.DEDUCTION
    answer = drawn.execution.output if deduce else drawn.arguments
    if rng.random() < habits.hasty:
        think = ""
        if rng.random() < habits.careless:
            # Deduction: often one step early, the state before the result.
            earlier = [text for _, text in states[:-1] if text != answer]
            answer = earlier[-1] if deduce and earlier and rng.random() < 0.5 else nudge(rng, answer)
    else:
        if rng.random() < habits.slip:
            answer = nudge(rng, answer)
            if deduce:
                states[-1] = ("->", answer)
        think = _write(states if deduce else states[::-1])
    prompt = solve_prompt(drawn.task(task_type), OPTIONS).text
    return Dialogue(
        Stream(Role.SOLVE, task_type), prompt, _respond(think, ("output" if deduce else "input", answer))
    )


def _solve_induction(rng: Random, habits: Habits) -> Dialogue:
    drawn, task = draw_induction(rng, vague=habits.vague)
    code, think = drawn.sketch.code, f" {drawn.sketch.phrase}"
    if rng.random() < habits.hasty:
        think = ""
        if rng.random() < habits.careless:
            code = _careless_code(rng, code)
    elif rng.random() < habits.slip:
        code = _careless_code(rng, code)
    return Dialogue(
        Stream(Role.SOLVE, TaskType.INDUCTION),
        solve_prompt(task, OPTIONS).text,
        _respond(think, ("python", code)),
    )


def _careless_code(rng: Random, code: str) -> str:
    """The program with a constant or an operator changed; it still parses."""
    places = [
        i for i, char in enumerate(code) if char.isdigit() or (char in "+-" and code[i + 1 : i + 2] == " ")
    ]
    if not places:
        return code.replace("return ", "return not ")
    i = rng.choice(places)
    char = code[i]
    new = {"+": "-", "-": "+"}.get(char) or str((int(char) + rng.choice((1, 2, 9))) % 10)
    return code[:i] + new + code[i + 1 :]


def _faulty(rng: Random, sketch: Sketch, arguments: str) -> tuple[str, str]:
    """A program and an input that do not run: a broken line, an unknown name, or an input of another type."""
    code = sketch.code
    fault = rng.randrange(3)
    if fault == 0:
        places = [i for i, char in enumerate(code) if char in "):]"]
        i = rng.choice(places)
        return code[:i] + code[i + 1 :], arguments
    if fault == 1:
        head, _, result = code.rpartition("return ")
        unknown = rng.choice([name for name in VARIABLES if name not in code])
        return f"{head}return {unknown} + {result}", arguments
    kinds = sketch.kinds.split("+")
    other = [kind for kind in ("int", "ints", "str", "dict") if kind != kinds[0]]
    return code, ", ".join(
        [draw_value(rng, rng.choice(other)), *(draw_value(rng, kind) for kind in kinds[1:])]
    )


def _propose_io(rng: Random, habits: Habits, task_type: TaskType) -> Dialogue:
    references = [draw_task(rng) for _ in range(rng.choice((0, 1, 2, 2, 2)))]
    # Half of the new programs vary a theme of the references, the others change the subject.
    theme = (
        [reference.sketch.family for reference in references]
        if references and rng.random() < 0.5
        else FAMILIES
    )
    drawn = draw_task(rng, theme)
    code, arguments = drawn.sketch.code, drawn.arguments
    if rng.random() < habits.faulty:
        code, arguments = _faulty(rng, drawn.sketch, arguments)
    think = f" {drawn.sketch.phrase}" if rng.random() < habits.planned else ""
    prompt = propose_prompt(task_type, [reference.task(task_type) for reference in references], OPTIONS).text
    return Dialogue(
        Stream(Role.PROPOSE, task_type), prompt, _respond(think, ("python", code), ("input", arguments))
    )


def _propose_induction(rng: Random, habits: Habits) -> Dialogue:
    drawn, task = draw_induction(rng, vague=habits.vague)
    inputs = list(task.inputs)
    if rng.random() < habits.faulty:
        if rng.random() < 0.5:
            del inputs[rng.randint(6, 9) :]
        else:
            other = [kind for kind in ("int", "str", "dict") if kind != drawn.sketch.kinds.split("+")[0]]
            inputs[rng.randrange(len(inputs))] = draw_value(rng, rng.choice(other), small=True)
    prompt = propose_prompt(TaskType.INDUCTION, [drawn.task(TaskType.DEDUCTION)], OPTIONS).text
    blocks = [("message", task.message), *(("input", text) for text in inputs)]
    return Dialogue(Stream(Role.PROPOSE, TaskType.INDUCTION), prompt, _respond("", *blocks))


def draw_dialogue(rng: Random, habits: Habits) -> Dialogue:
    """One dialogue of a stream drawn uniformly; the same generator state gives the same dialogue."""
    task_type = rng.choice(CORE_TASK_TYPES)
    if rng.random() < habits.propose:
        return (
            _propose_induction(rng, habits)
            if task_type is TaskType.INDUCTION
            else _propose_io(rng, habits, task_type)
        )
    return (
        _solve_induction(rng, habits)
        if task_type is TaskType.INDUCTION
        else _solve_io(rng, habits, task_type)
    )


def draw_tasks(
    rng: Random, count: int, families: Sequence[str], task_types: Sequence[TaskType], *, part: str
) -> list[dict[str, Any]]:
    """``count`` different task records, families and task types in turn; each also names its family and
    difficulty."""
    records: dict[str, dict[str, Any]] = {}
    while len(records) < count:
        family = families[len(records) // len(task_types) % len(families)]
        task_type = task_types[len(records) % len(task_types)]
        if task_type is TaskType.INDUCTION:
            drawn, task = draw_induction(rng, (family,), part=part, vague=0.0 if part == "seeds" else 0.3)
        else:
            drawn = draw_task(rng, (family,), part=part, trace=family in FAMILIES)
            task = drawn.task(task_type)
        if partition(task.code) == part and task.task_id not in records:
            records[task.task_id] = task.to_json() | {"family": family, "difficulty": drawn.sketch.difficulty}
    return list(records.values())
