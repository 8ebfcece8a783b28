"""Tasks from programming problems with assertions, as MBPP and HumanEval have them. They are only read here;
consolidation runs them."""

from __future__ import annotations

import ast
from typing import Any

from azr.errors import DataError
from azr.programs.rename import NameConflict, rename_function
from azr.programs.source import SourceError, parse_program, print_tree, top_level_functions
from azr.sandbox.values import canonical_text, parse_arguments


def tasks_of_problem(record: dict[str, Any], passed_over: list[str] | None = None) -> list[dict[str, Any]]:
    """Records of tasks: one of abduction and deduction for each assertion, and one of induction for all.

    An assertion counts if it is ``assert name(literals) == literal``; others are added to ``passed_over``.

    Raises:
        DataError: it is no such problem, or none of its assertions is of that form; the message says which.
    """
    if "test_list" in record:
        code, tests, called = _text(record, "code"), _joined(record["test_list"]), ""
        message = record.get("text") or record.get("prompt")
    elif "canonical_solution" in record:
        code = _text(record, "prompt") + _text(record, "canonical_solution")
        tests, called, message = _text(record, "test"), "candidate", ""
    else:
        raise DataError("has neither test_list (MBPP) nor canonical_solution (HumanEval)")
    try:
        program = parse_program(code)
        asserts = [node for node in ast.walk(parse_program(tests)) if isinstance(node, ast.Assert)]
    except SourceError as error:
        raise DataError(f"does not parse: {error}") from error
    functions = {function.name: function for function in top_level_functions(program)}
    tested = (name for node in asserts if (name := _called(node)) in functions)
    entry = str(record.get("entry_point") or "") or next(tested, "")
    if entry not in functions:
        raise DataError("its assertions call no function that it defines")
    found = [(node, _pair(node, called or entry)) for node in asserts]
    pairs = [pair for _, pair in found if pair is not None]
    if not pairs:
        raise DataError(f"no assertion of the form: assert {entry}(literals) == literal")
    try:
        snippet = rename_function(code, entry, "f").strip() + "\n"
    except (NameConflict, SourceError) as error:
        raise DataError(str(error)) from error
    if passed_over is not None:
        passed_over += [ast.get_source_segment(tests, node) or "" for node, pair in found if pair is None]
    tasks: list[dict[str, Any]] = [
        {"snippet": snippet, "input": given, "output": wanted} for given, wanted in pairs
    ]
    message = message if isinstance(message, str) and message else ast.get_docstring(functions[entry]) or ""
    if len(pairs) > 1 and message:
        inputs, outputs = map(list, zip(*pairs, strict=True))
        tasks.append({"snippet": snippet, "inputs": inputs, "outputs": outputs, "message": message})
    return tasks


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise DataError(f"field {key} is missing or not text")
    return value


def _joined(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError("field test_list is not a list of texts")
    return "\n".join(value)


def _called(node: ast.Assert) -> str:
    call = node.test.left if isinstance(node.test, ast.Compare) else node.test
    return call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""


def _pair(node: ast.Assert, entry: str) -> tuple[str, str] | None:
    """(input, output) of ``assert entry(literals) == literal``; None for anything else."""
    match node.test:
        case ast.Compare(
            left=ast.Call(func=ast.Name(id=name)) as call, ops=[ast.Eq() | ast.Is()], comparators=[wanted]
        ):
            if name != entry:
                return None
        case _:
            return None
    try:
        keywords = [f"{keyword.arg}={print_tree(keyword.value)}" for keyword in call.keywords if keyword.arg]
        given = ", ".join([*map(print_tree, call.args), *keywords])
        parse_arguments(given)
        return given, canonical_text(print_tree(wanted))
    except ValueError:
        return None
