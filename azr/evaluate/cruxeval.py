"""CRUXEval (arXiv 2401.03065), and LiveCodeBench's execution tasks (arXiv 2403.07974): their authors' prompts in the
native styles, our task prompts inside the frame.

The execution tasks, from the ``execution-v2`` file, are CRUXEval's output prediction with other programs: the same prompts
with the program's own names in the native styles, our deduction prompts (where functions are called f) inside the frame.

Values compare as in Python (True equals 1). In the native styles an answer that is an expression such as ``2
+ 3`` is evaluated in the sandbox, as the authors' harness evaluates it; inside the frame an answer is a
literal, as in training.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from azr.errors import DataError
from azr.evaluate.items import Asking, Habits, Item
from azr.evaluate.suite_records import records
from azr.evaluate.tasks_suite import TaskSuite, framed_item
from azr.evaluate.texts import filled
from azr.programs.rename import NameConflict, rename_function
from azr.programs.source import SourceError
from azr.programs.syntax_tree import parse_tree
from azr.sandbox.values import ValueReadError, canonical_text, parse_arguments
from azr.tasks import Prompt, Task, TaskType

TYPES = {"cruxeval-i": TaskType.ABDUCTION, "cruxeval-o": TaskType.DEDUCTION}
FIELDS = {"code": str, "input": str, "output": str, "id": (str, int)}
EXECUTION = "livecodebench-execution"
EXECUTION_FIELDS = {"id": (str, int), "function_name": str, "code": str, "input": str, "output": str}
_STOPS = ("[/ANSWER]",)
HABITS = {"native": Habits(_STOPS, _STOPS, 512), "native-cot": Habits(_STOPS, _STOPS, 1536)}


@dataclass(frozen=True)
class Assertion:
    """``assert f(x) == y`` about a program, of which one side is asked."""

    item_id: str
    task: Task
    shown: Mapping[str, str]
    """What the authors' prompts are filled with: ``code``, ``call`` and ``output``."""


def cruxeval_suite(path: Path, asking: Asking, name: str) -> TaskSuite:
    """An item whose output is not a literal cannot be judged without evaluating text; it is left out and named.

    Raises:
        DataError: no such file, or a record lacks a field.
    """
    asked, left_out = [], []
    for _, record in records(path, name, FIELDS):
        item_id, code, given, output = str(record["id"]), record["code"], record["input"], record["output"]
        try:
            gold = canonical_text(output)
        except ValueReadError as error:
            left_out.append(f"{item_id}: its output is not a literal ({error})")
            continue
        task = Task(task_type=TYPES[name], code=code, inputs=(given,), outputs=(gold,))
        asked.append(Assertion(item_id, task, {"code": code, "call": f"f({given})", "output": output}))
    return assertion_suite(name, asked, left_out, asking, prompts=name)


def assertion_suite(
    name: str, asked: Sequence[Assertion], left_out: Sequence[str], asking: Asking, *, prompts: str
) -> TaskSuite:
    """
    Args:
        prompts: the suite whose authors' prompts are used in the native styles.

    Raises:
        DataError: two items have one id, or there are none.
    """
    config = replace(asking.config, format_reward=True, bool_equals_int=True, int_equals_float=True)

    def item(each: Assertion) -> Item:
        if asking.style == "frame":
            return framed_item(each.item_id, name, each.task, config)
        text = filled(f"{prompts}.{asking.style}", **each.shown)
        chat = Prompt((("user", text),), raw=False)
        return asking.item(each.item_id, name, "", chat, f"{text}\n", HABITS[asking.style])

    return TaskSuite(
        name=name,
        style=asking.style,
        tasks={each.item_id: each.task for each in asked},
        config=config,
        items=list(map(item, asked)),
        left_out=left_out,
        brought=True,
    )


def execution_suite(path: Path, asking: Asking) -> TaskSuite:
    """
    Raises:
        DataError: no such file, or a record lacks a field.
    """
    asked, left_out = [], []
    for place, record in records(path, EXECUTION, EXECUTION_FIELDS):
        item_id = str(record["id"])
        arguments = _arguments(place, record["input"], record["function_name"])
        try:
            code = rename_function(record["code"], record["function_name"], "f")
            gold = canonical_text(record["output"])
            parse_arguments(arguments)
        except (ValueReadError, NameConflict, SourceError) as error:
            left_out.append(f"{item_id}: {error}")
            continue
        task = Task(task_type=TaskType.DEDUCTION, code=code, inputs=(arguments,), outputs=(gold,))
        shown = {"code": record["code"], "call": record["input"], "output": record["output"]}
        asked.append(Assertion(item_id, task, shown))
    return assertion_suite(EXECUTION, asked, left_out, asking, prompts="cruxeval-o")


def _arguments(place: str, call: str, name: str) -> str:
    """``x = 1`` of ``name(x = 1)``; an argument list alone is one already."""
    call = call.strip()
    if not (call.startswith(f"{name}(") and call.endswith(")")):
        return call
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        if isinstance(parse_tree(call, "eval").body, ast.Call):
            return call[len(name) + 1 : -1]
    raise DataError(f"{place}: field 'input' is not a call of {name}")
