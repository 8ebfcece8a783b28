"""MBPP (arXiv 2108.07732) from its authors' files: ``sanitized-mbpp.json`` and the plain ``mbpp.jsonl``.

* ``native``, chat: EvalPlus's prompt, the problem as a docstring with its first assertion.
* ``native``, plain: the authors' three worked examples, tasks 2, 3 and 4 of the file, before the problem and
    its assertions.
* ``frame``: the problem with its first assertion as a task inside the run's frame.

Asked are the tasks of the authors' test split, 11 to 510; a file that has none of them is asked whole.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from azr.errors import DataError
from azr.evaluate.checks import Script
from azr.evaluate.code_suite import CHAT_STOPS, CodeSuite, Problem, code_suite, evalplus_prompt
from azr.evaluate.items import Asking, Habits
from azr.evaluate.suite_records import records
from azr.evaluate.texts import filled
from azr.programs.source import SourceError, parse_program

FIELDS = {"task_id": (int, str), "code": str, "test_list": list}
TEST_SPLIT = range(11, 511)
EXAMPLES = (2, 3, 4)
PLAIN_STOPS = ("[DONE]", "\n[BEGIN]", "\nYou are an expert")


def mbpp_suite(path: Path, asking: Asking) -> CodeSuite:
    """
    Raises:
        DataError: no such file, or a record lacks a field or has no usable test.
    """
    found: dict[int, tuple[str, dict[str, Any]]] = {}
    for place, record in records(path, "mbpp", FIELDS):
        if not isinstance(record.get("prompt", record.get("text")), str):
            raise DataError(
                f"{place}: field 'prompt' (sanitized file) or 'text' (plain file) is missing; mbpp needs one of them"
            )
        if not record["test_list"] or not all(isinstance(test, str) for test in record["test_list"]):
            raise DataError(f"{place}: field 'test_list' holds no assertions")
        try:
            found[int(record["task_id"])] = place, record
        except ValueError as error:
            raise DataError(f"{place}: field 'task_id' is not a number") from error

    chosen = [number for number in sorted(found) if number in TEST_SPLIT] or sorted(found)
    examples = ""
    if asking.style != "frame" and asking.speaker.asked and not asking.speaker.chat:
        if not all(number in found for number in EXAMPLES):
            raise DataError(
                f"{path} lacks the tasks 2, 3 and 4, which are the worked examples for a model that continues plain text; take the "
                "authors' whole file (the hub has them in a split of their own, prompt), or ask with --native-form chat or --style frame"
            )
        examples = "".join(_shown(found[number][1], found[number][1]["code"]) for number in EXAMPLES)

    problems = [_problem(*found[number], examples) for number in chosen]
    return code_suite("mbpp", problems, asking, Habits(CHAT_STOPS, PLAIN_STOPS))


def _problem(place: str, record: dict[str, Any], examples: str) -> Problem:
    text, tests = _text(record), record["test_list"]
    entry = _entry(place, record)
    setup = [*(record.get("test_imports") or []), record.get("test_setup_code") or ""]
    return Problem(
        problem_id=f"mbpp/{record['task_id']}",
        entry=entry,
        check=Script("\n".join([*setup, *tests])),
        chat=evalplus_prompt(f'"""\n{text}\n{tests[0]}\n"""'),
        plain=examples + _shown(record, ""),
        frame_text=filled("mbpp.frame", text=text, test=tests[0]),
    )


def _text(record: dict[str, Any]) -> str:
    return str(record.get("prompt", record.get("text"))).strip()


def _shown(record: dict[str, Any], code: str) -> str:
    """The authors' form of a task for a model that continues it, with the answer where there is one."""
    tests = "\n".join(record["test_list"])
    head = f"You are an expert Python programmer, and here is your task: {_text(record)} Your code should pass these tests:"
    head += f"\n\n{tests}\n[BEGIN]\n"
    return f"{head}{code.strip()}\n[DONE]\n\n" if code else head


def _entry(place: str, record: dict[str, Any]) -> str:
    """The function that the assertions call."""
    try:
        defined = {
            node.name
            for node in parse_program(record["code"]).body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        }
        tests = parse_program("\n".join(record["test_list"]))
    except SourceError as error:
        raise DataError(f"{place}: its code or tests do not parse ({error})") from error
    for node in ast.walk(tests):
        if isinstance(node, ast.Name) and node.id in defined:
            return node.id
    raise DataError(f"{place}: its tests use nothing that its code defines")
