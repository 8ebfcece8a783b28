"""LiveCodeBench's execution tasks (arXiv 2403.07974) from its authors' ``execution-v2`` file: what does this
call return?

They are CRUXEval's output prediction with other programs: the same prompts with the program's own names in
the native styles, our deduction prompts (where functions are called f) inside the frame.
"""

from __future__ import annotations

import ast
from pathlib import Path

from azr.config.selfplay import SelfPlayConfig
from azr.errors import DataError
from azr.evaluate.cruxeval import Assertion, assertion_suite
from azr.evaluate.items import CHAT, Speaker
from azr.evaluate.records import records
from azr.evaluate.tasks_suite import TaskSuite
from azr.programs.rename import NameConflict, rename_function
from azr.programs.source import SourceError
from azr.programs.syntax_tree import parse_tree
from azr.sandbox.values import ValueReadError, canonical_text, parse_arguments
from azr.tasks import Task, TaskType

NAME = "livecodebench-execution"
FIELDS = {"id": (str, int), "function_name": str, "code": str, "input": str, "output": str}


def execution_suite(
    path: Path, config: SelfPlayConfig, style: str = "frame", speaker: Speaker = CHAT
) -> TaskSuite:
    """
    Raises:
        DataError: no such file, or a record lacks a field.
    """
    asked, left_out = [], []
    for place, record in records(path, NAME, FIELDS):
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
    return assertion_suite(NAME, asked, left_out, config, style, speaker, prompts="cruxeval-o")


def _arguments(place: str, call: str, name: str) -> str:
    """``x = 1`` of ``name(x = 1)``; an argument list alone is one already."""
    call = call.strip()
    if not (call.startswith(f"{name}(") and call.endswith(")")):
        return call
    try:
        node = parse_tree(call, "eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{place}: field 'input' is not a call of {name}") from error
    if not isinstance(node, ast.Call) or node.end_col_offset is None:
        raise DataError(f"{place}: field 'input' is not a call of {name}")
    return call[len(name) + 1 : -1]
