"""From a row of any source to tasks, or to the reason why not. Everything here may have been written by a model: nothing is run."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from azr.data.reasons import Reason
from azr.errors import DataError
from azr.sandbox.values import canonical_text
from azr.tasks import Lineage, Task, TaskType

_ENTRY = re.compile(r"^(?:async[ ]+)?def[ ]+f[ ]*\(", re.MULTILINE)
_ALIASES = {"code": "snippet", "program": "snippet"}
_TEXTS = ("snippet", "input", "output", "message", "thought", "original_snippet", "task_type")
_TEXT_LISTS = ("inputs", "outputs", "imports", "composite_functions")


@dataclass(frozen=True)
class Refused:
    reason: Reason
    detail: str


def tasks_of(record: dict[str, Any], *, origin: str = "", max_code_chars: int = 8000, max_value_chars: int = 4000) -> list[Task] | Refused:
    """The tasks a record holds.

    Reads our own records and the published formats (spec 1.1, 1.2). A single input/output record without ``task_type``, as
    in the published seed files, is two tasks: abduction and deduction both start from it (spec 5.3).

    Args:
        origin: replaces the lineage's source; empty keeps it.
    """
    record = {_ALIASES.get(key, key): value for key, value in record.items()} if "snippet" not in record else record
    wrong = _wrong_type(record)
    if wrong:
        return Refused(Reason.SCHEMA, wrong)
    try:
        task = _clean_lineage(Task.from_json(record), origin)
    except DataError as error:
        return Refused(Reason.SCHEMA, str(error))
    if len(task.code) > max_code_chars:
        return Refused(Reason.TOO_LARGE, f"program of {len(task.code)} characters; data.max_code_chars is {max_code_chars}")
    longest = max(len(text) for text in (*task.inputs, *task.outputs, task.message))
    if longest > max_value_chars:
        return Refused(Reason.TOO_LARGE, f"an input, output or message of {longest} characters; data.max_value_chars is {max_value_chars}")
    if task.task_type is not TaskType.ERROR:
        try:
            task = replace(task, outputs=tuple(canonical_text(output) for output in task.outputs))
        except ValueError as error:
            return Refused(Reason.SCHEMA, f"an output is no value: {error}")
    if not _ENTRY.search(task.code):
        return Refused(Reason.NOT_PYTHON, "defines no function f")
    if "inputs" not in record and "task_type" not in record:
        return [replace(task, task_type=TaskType.ABDUCTION), replace(task, task_type=TaskType.DEDUCTION)]
    return [task]


def _wrong_type(record: dict[str, Any]) -> str:
    """A sentence naming the first field of a wrong type; empty if there is none. Absent fields are Task.from_json's to find."""
    for key in _TEXTS:
        if key in record and record[key] is not None and not isinstance(record[key], str):
            return f"field {key} is no text"
    for key in _TEXT_LISTS:
        value = record.get(key)
        if value is not None and not (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)):
            return f"field {key} is no list of texts"
    lineage = record.get("lineage")
    if lineage is not None and not isinstance(lineage, dict):
        return "field lineage is no object"
    return ""


def _clean_lineage(task: Task, origin: str) -> Task:
    """Lineage with every field of its type.

    Raises:
        DataError: a field has another type.
    """
    lineage = task.lineage
    numbers = (lineage.cycle, lineage.attempt, lineage.step)
    texts = (lineage.source, lineage.run, lineage.model, *lineage.parents)
    if not all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in numbers):
        raise DataError("lineage has a cycle, attempt or step that is no count")
    if not all(isinstance(item, str) for item in texts):
        raise DataError("lineage has a source, run, model or parent that is no text")
    accuracy = lineage.accuracy
    if accuracy is not None and not (type(accuracy) in (int, float) and 0 <= accuracy <= 1):
        raise DataError(f"lineage has accuracy {str(accuracy)[:40]}; it is a share from 0 to 1")
    # what a shared file says about its own cycles is not this run's history
    return (
        replace(task, lineage=Lineage(source=origin, parents=lineage.parents, model=lineage.model, accuracy=accuracy)) if origin else task
    )
