"""From a row of any source to its tasks, or to the reason why it has none. Everything here may have been
written by a model: nothing is run."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from azr.data.manifest import python_minor
from azr.data.reasons import Reason
from azr.data.rows import PROGRAM_COLUMNS, kind_of
from azr.errors import DataError
from azr.programs.source import SourceError, parse_program
from azr.sandbox.values import ValueReadError, canonical_text, parse_arguments
from azr.tasks import Lineage, Task, TaskType

_ENTRY = re.compile(r"^(?:async[ ]+)?def[ ]+f[ ]*\(", re.MULTILINE)
_FENCED = re.compile(r"\s*(```|~~~)[ \t]*(?:python3?|py)?[ \t]*\r?\n(.*?)\s*\1\s*", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_ESCAPED = re.compile(r"[^\n]*\\n[^\n]*")
_ERROR = re.compile(r"[A-Z]\w*(Error|Exception|Interrupt|Exit|Iteration)")
_OBJECT = re.compile(r"\s*(<|[A-Za-z_][\w.]*\()")
"""Begins the repr of an object that has no literal: ``Counter({...})``, ``datetime.date(...)``, ``<generator ...>``."""
_SPREADSHEET = re.compile(r"\s*(TRUE|FALSE|#[A-Z][A-Z0/]+[!?]?)\s*")
"""What a spreadsheet made of a cell: its true and false, or its name of an error (#NAME?, #REF!, #DIV/0!, #N/A)."""
_CALL = re.compile(r"\s*(?:assert\s+)?f\s*\(")
_OTHER_PROGRAMS = (
    (_FENCE, "is in a Markdown fence, with other text around it; leave the program alone there"),
    (_ESCAPED, "has \\n as two characters where its lines end: it was escaped twice"),
    (re.compile(r"^>>> ", re.MULTILINE), "is a console session with >>>; write the program alone"),
    (
        re.compile(r"^[ \t]+def[ ]+f[ ]*\(", re.MULTILINE),
        "has its def f indented; it begins at the left edge",
    ),
    (re.compile(r"^f\s*=\s*lambda\b", re.MULTILINE), "has a lambda for f; write it as def f(...)"),
    (
        re.compile(r"^(?:async[ ]+)?def[ ]+(?P<name>\w+)", re.MULTILINE),
        "defines no function f but {name}; call it f",
    ),
    (
        re.compile(r"^class[ ]+(?P<name>\w+)", re.MULTILINE),
        "defines no function f but the class {name}; write its method as def f(...), without self",
    ),
    (
        re.compile(r"\binput\(|\bsys\.stdin\b"),
        "defines no function f but reads standard input; write it as def f(...), with its input as an argument",
    ),
)
"""What a text that is not a task's program looks like, and what to say of it."""
_ALIASES = {"code": "snippet", "program": "snippet"}
_VALUES = ("input", "output")
"""Texts of values: a number means the text that it is written as."""
_TEXTS = ("snippet", "message", "thought", "original_snippet", "task_type")
_VALUE_LISTS = ("inputs", "outputs")
_TEXT_LISTS = ("imports", "composite_functions")
_NAMES = frozenset((*_ALIASES, *_VALUES, *_TEXTS, *_VALUE_LISTS, *_TEXT_LISTS, "lineage"))
_KINDS = {kind.value: kind.value for kind in TaskType} | {
    "code_i": "abduction",
    "code_o": "deduction",
    "code_f": "induction",
    "code_e": "error",
}
"""Values of ``task_type`` in lower case -> ours; the published code names its kinds code_i, code_o ..."""
_SHOWN_FIELDS = 8
_CONVERT = "scripts/convert_problems.py makes tasks of such a file"
_A_TASK = "a task is a program with an input and its output"
_OTHER_SHAPES = (
    (("prompt", "canonical_solution"), f"a HumanEval-like row; {_CONVERT}"),
    (("test_list",), f"an MBPP-like row; {_CONVERT}"),
    (("messages",), f"a conversation; {_A_TASK}"),
    (("conversations",), f"a conversation; {_A_TASK}"),
    (("reward_model",), f"a row made for verl; {_A_TASK}"),
    (("input_output",), f"a problem with texts for standard input; {_A_TASK}"),
    (("public_test_cases",), f"a problem of LiveCodeBench; {_A_TASK}"),
    (("chosen", "rejected"), f"a pair of answers; {_A_TASK}"),
    (("instruction",), f"an instruction with its answer; {_A_TASK}"),
    (("question", "answer"), f"a question with its answer; {_A_TASK}"),
)
"""Fields of well-known data sets, and what to say of a row that has them."""


@dataclass(frozen=True)
class Refused:
    reason: Reason
    detail: str


def tasks_of(
    record: dict[str, Any], *, origin: str = "", max_code_chars: int = 8000, max_value_chars: int = 4000
) -> list[Task] | Refused:
    """The tasks a record holds.

    Reads our own records and the published formats. A single input/output record without ``task_type``,
    as in the published seed files, is two tasks: abduction and deduction both start from it.

    Args:
        origin: replaces the lineage's source; empty keeps it.
    """
    try:
        record = _as_task_record(record)
        task = _clean_lineage(Task.from_json(record), origin)
    except DataError as error:
        return Refused(Reason.SCHEMA, str(error))
    if len(task.code) > max_code_chars:
        told = f"program of {len(task.code)} characters; data.max_code_chars is {max_code_chars}"
        return Refused(Reason.TOO_LARGE, told)
    longest = max(len(text) for text in (*task.inputs, *task.outputs, task.message))
    if longest > max_value_chars:
        told = (
            f"an input, output or message of {longest} characters; data.max_value_chars is {max_value_chars}"
        )
        return Refused(Reason.TOO_LARGE, told)
    if task.task_type is not TaskType.ERROR:
        try:
            task = replace(task, outputs=tuple(canonical_text(output) for output in task.outputs))
        except ValueError as error:
            error_name = _ERROR.fullmatch(record.get("output", "").strip())
            way = '; of a task about the error that f raises: "task_type": "error"' if error_name else ""
            if not way and any(_OBJECT.match(output) for output in task.outputs):
                way = "; have f return what can be typed in: dict(...), list(...) or str(...) of this object"
            return Refused(Reason.SCHEMA, f"an output is not a value: {error}{way}")
    if problem := _no_program(task.code):
        return Refused(Reason.NOT_PYTHON, problem)
    if "inputs" not in record and "task_type" not in record:
        return [replace(task, task_type=TaskType.ABDUCTION), replace(task, task_type=TaskType.DEDUCTION)]
    return [task]


def _as_task_record(record: dict[str, Any]) -> dict[str, Any]:
    """The record under our names, with texts where texts belong. Other fields stay as they are.

    Raises:
        DataError: a field is missing, or not of its type.
    """
    record = _our_names(_unwrapped(record))
    empty = {key for key in _NAMES if key in record and record[key] is None}
    record = _single_pair(_our_kind({key: value for key, value in record.items() if key not in empty}))
    needed = ("snippet", "inputs", "outputs") if "inputs" in record else ("snippet", "input", "output")
    lacking = [key for key in needed if key not in record]
    if lacking and lacking[0] in empty:
        raise DataError(f'field {lacking[0]} is null; if that is the value, write it as text, "None"')
    if lacking:
        raise DataError(_lacks(record, lacking))
    for key in _VALUES:
        if key in record and "inputs" not in record:
            record[key] = _value_text(key, record[key])
    for key in _VALUE_LISTS:
        if key in record:
            listed = enumerate(_list(key, record[key]))
            record[key] = [_value_text(f"{key}[{index}]", item) for index, item in listed]
    for key in _TEXT_LISTS:
        if key in record and not all(isinstance(item, str) for item in _list(key, record[key])):
            raise DataError(f"field {key} is not a list of texts")
    for key in _TEXTS:
        if not isinstance(record.get(key, ""), str):
            raise DataError(f"field {key} is {kind_of(record[key])}, not text")
    fenced = _FENCED.fullmatch(record["snippet"])
    if fenced and not _FENCE.search(fenced[2]):
        record["snippet"] = fenced[2]
    if not isinstance(record.get("lineage", {}), dict):
        raise DataError("field lineage is not an object")
    return record


def _unwrapped(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a row that has it one level down: ``{"id": 7, "task": {...}}``, the rows of the hub's viewer."""

    def names(of: dict[str, Any]) -> set[str]:
        return {str(key).strip().lower() for key in of}

    inner = [
        value
        for value in record.values()
        if isinstance(value, dict)
        and names(value) & {*PROGRAM_COLUMNS}
        and names(value) & {"input", "inputs"}
    ]
    return record if names(record) & {*PROGRAM_COLUMNS} or len(inner) != 1 else inner[0]


def _our_kind(record: dict[str, Any]) -> dict[str, Any]:
    """The record with its ``task_type`` as we write it, or without one that is blank.

    Raises:
        DataError: there is no such kind of task.
    """
    kind = record.get("task_type")
    if not isinstance(kind, str):
        return record  # absent; or told with the other texts
    name = kind.strip().lower()
    if name and name not in _KINDS:
        raise DataError(
            f"task_type is {kind[:40]!r}; it is abduction (to find the input), deduction (the output), "
            "induction (the program) or error"
        )
    rest = {key: value for key, value in record.items() if key != "task_type"}
    return {**rest, "task_type": _KINDS[name]} if name else rest


def _single_pair(record: dict[str, Any]) -> dict[str, Any]:
    """A deduction or abduction task with lists of one input and one output, as an export of tasks has all kinds."""
    kind = record.get("task_type") or TaskType.INDUCTION.value
    if record.get("task_type") == kind == TaskType.INDUCTION.value and "inputs" not in record:
        raise DataError(
            "task_type is induction, which needs lists of inputs and outputs; the row has one input"
        )
    inputs, outputs = (record.get(key) for key in _VALUE_LISTS)
    if not isinstance(inputs, (list, tuple)) or not isinstance(outputs, (list, tuple)):
        return record
    if kind == TaskType.INDUCTION.value:
        return record
    if not len(inputs) == len(outputs) == 1:
        raise DataError(
            f"task_type is {kind}, which has one input and one output, and the row has {len(inputs)} and {len(outputs)}"
        )
    plain = {key: value for key, value in record.items() if key not in _VALUE_LISTS}
    return {**plain, "input": inputs[0], "output": outputs[0]}


def _no_program(code: str) -> str:
    """Why this is not a program with a function f; empty where it may be one."""
    doubtful = _FENCE.search(code) or _ESCAPED.fullmatch(code.strip())
    if _ENTRY.search(code) and not (doubtful and parse_problem(code)):
        return ""
    for pattern, words in _OTHER_PROGRAMS:
        if found := pattern.search(code):
            return words.format(**found.groupdict())
    return "defines no function f"


def parse_problem(code: str) -> str:
    """Why the code does not parse, with line and character: pasted spaces and quotation marks look like the right ones; empty
    where it does."""
    try:
        parse_program(code)
    except SourceError as error:
        return f"does not parse: {error.detail.replace('<unknown>, ', '')}, for Python {python_minor()}"
    return ""


def _our_names(record: dict[str, Any]) -> dict[str, Any]:
    """``Code``, ``program `` and the like are ``snippet`` where nothing else is; the same for the other names."""
    plain = {key.strip().lower(): key for key in reversed(record)}
    named = {key: record[key if key in record else plain[key]] for key in _NAMES if key in plain}
    for alias, name in _ALIASES.items():
        if alias in named and name not in named:
            named[name] = named.pop(alias)
    return {key: value for key, value in record.items() if key.strip().lower() not in _NAMES} | named


def _lacks(record: dict[str, Any], lacking: list[str]) -> str:
    what = next((words for keys, words in _OTHER_SHAPES if all(key in record for key in keys)), "")
    fields = ", ".join(str(key)[:40] for key in list(record)[:_SHOWN_FIELDS]) or "none"
    more = ", ..." if len(record) > _SHOWN_FIELDS else ""
    shape = f": {what}" if what else ""
    return f"no field {' and no field '.join(lacking)} (a task has snippet, input and output); the row has {fields}{more}{shape}"


def _list(key: str, value: Any) -> list[Any]:
    """Raises:
    DataError: it is not a list.
    """
    if not isinstance(value, (list, tuple)):
        raise DataError(f"field {key} is not a list of texts")
    return list(value)


def _value_text(key: str, value: Any) -> str:
    """The text of a value: a number or true and false can mean one text only."""
    if isinstance(value, str):
        if cell := _SPREADSHEET.fullmatch(value):
            told = "an error of a spreadsheet, which took the value for a formula: format the column as Text and write it again"
            if not cell[1].startswith("#"):
                word = cell[1].title()
                told = f"which a spreadsheet made of {word}: format the column as Text and write {word}"
            raise DataError(f"field {key} is {cell[1]}, {told}")
        return _between_parentheses(key, value) if key.startswith("input") else value
    if isinstance(value, (bool, int)):
        return repr(value)
    how = 'write the repr of the value as text, such as "[1, 2]"'
    if key.startswith("input"):
        how = 'write what is between the parentheses of f(...) as text, such as "[3, 1], 2"'
    if isinstance(value, float):
        if math.isfinite(value) and not value.is_integer():
            return repr(value)
        if math.isnan(value):
            raise DataError(f"field {key} is NaN, an empty cell of a table")
        if not math.isfinite(value):
            raise DataError(f"field {key} is {value}; {how}")
        raise DataError(
            f'field {key} is {value}: this is what a table makes of a whole number; write it as text, "{value:.0f}" or "{value}"'
        )
    raise DataError(f"field {key} is {kind_of(value)}; {how}")


def _between_parentheses(key: str, text: str) -> str:
    """``f(3)``, which is not a value, means the input ``3``."""
    call = _CALL.match(text)
    if call is None:
        return text
    inner = text[call.end() : text.rindex(")")] if ")" in text else ""
    try:
        if not text.rstrip().endswith(")"):
            raise ValueReadError("more than a call")
        parse_arguments(inner)
    except ValueReadError:
        raise DataError(
            f'field {key} is {text[:60]!r}; write what is between the parentheses of one call, such as "[3, 1], 2"'
        ) from None
    return inner


def _clean_lineage(task: Task, origin: str) -> Task:
    """Lineage with every field of its type."""
    lineage = task.lineage
    numbers = (lineage.cycle, lineage.attempt, lineage.step)
    texts = (lineage.source, lineage.run, lineage.model, *lineage.parents)
    if not all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in numbers):
        raise DataError("lineage has a cycle, attempt or step that is not a count")
    if not all(isinstance(item, str) for item in texts):
        raise DataError("lineage has a source, run, model or parent that is not text")
    accuracy = lineage.accuracy
    if accuracy is not None and not (type(accuracy) in (int, float) and 0 <= accuracy <= 1):
        raise DataError(f"lineage has accuracy {str(accuracy)[:40]}; it must be a share from 0 to 1")
    if not origin:
        return task
    # what a shared file says about its own cycles is not this run's history
    kept = Lineage(source=origin, parents=lineage.parents, model=lineage.model, accuracy=accuracy)
    return replace(task, lineage=kept)
