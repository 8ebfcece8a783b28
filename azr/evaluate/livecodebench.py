"""LiveCodeBench (arXiv 2403.07974): code generation, from its authors' ``test*.jsonl`` (code_generation_lite).

* ``native``: the authors' prompt, as chat messages or as one text.
* ``frame``: the problem as a task inside the run's frame.

A problem has tests of one of two kinds: a whole program reads a text and writes one, or a method of ``class Solution``
is called. Both run in the sandbox, after the authors' imports; outputs are compared here. The private tests of the
official files are text inside a pickle inside zlib inside base64. A pickle can run anything when it is opened, so this
one is not opened: it is walked through, and accepted only if it does nothing but hold one text.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any

from azr.data.rows import parsed_json
from azr.errors import DataError
from azr.evaluate.checks import CALL_LIMITS, PASSED, first_wrong
from azr.evaluate.code_suite import CodeSuite, Problem, code_suite
from azr.evaluate.items import Asking, Habits
from azr.evaluate.suite_records import records, stamp
from azr.evaluate.texts import filled
from azr.sandbox import Sandbox
from azr.sandbox.values import MAX_CHARS, ValueReadError, ValueWriteError, canonical, parse_arguments, read
from azr.tasks import Prompt

FIELDS = {
    "question_id": str, "question_content": str, "starter_code": str, "public_test_cases": str, "private_test_cases": str,
}  # fmt: skip
HABITS = Habits(plain_stops=("###",), response_tokens=2000)
MAX_UNPACKED = 1 << 28
"""Bytes of the private tests of one problem."""
_ENTRY = "_azr_run"
_TEXT_OPCODES = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_EMPTY_OPCODES = ("PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "STOP")

SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will generate a correct Python program "
    "that matches the specification and passes all tests."
)
_STAR = (
    "string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics", "itertools", "functools",
    "operator", "io", "sys", "json",
)  # fmt: skip
IMPORTS = "\n".join(
    [
        *(f"from {name} import *" for name in (*_STAR, "builtins", "typing")),
        *(f"import {name}" for name in _STAR),
        "sys.setrecursionlimit(50000)",
    ]
)
"""What the authors' harness puts before every program."""

_STDIN_RUNNER = """
import builtins, io, sys

def {entry}(text):
    before = sys.stdin, sys.stdout
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    try:
        exec(compile({program}, "program", "exec"), {{"__name__": "__main__"}})
    except SystemExit:
        pass
    finally:
        sys.stdout.flush()
        written = sys.stdout.buffer.getvalue().decode()
        sys.stdin, sys.stdout = before
    return written
"""


@dataclass(frozen=True)
class OutputCheck:
    """Tests of one kind: a method of ``class Solution`` is called, or a whole program reads a text and writes one."""

    method: str
    """Empty: whole programs."""
    inputs: tuple[str, ...]
    """Argument lists; of a whole program the literal of the text that it reads."""
    outputs: tuple[str, ...]
    """Canonical values; of a whole program what it has to write."""

    async def run(self, program: str, sandbox: Sandbox) -> tuple[float, str]:
        if self.method:
            runner = f"{IMPORTS}\n{program}\n\ndef {_ENTRY}(*arguments):\n    return Solution().{self.method}(*arguments)\n"
        else:  # the program is data of the runner, never part of its source
            runner = _STDIN_RUNNER.format(entry=_ENTRY, program=repr(f"{IMPORTS}\n{program}"))
        _, reason = await first_wrong(runner, _ENTRY, self.inputs, self._right, sandbox)
        return float(reason == PASSED), reason

    def _right(self, number: int, value: str) -> bool:
        wanted = self.outputs[number]
        try:
            found = read(value, CALL_LIMITS.value_chars)
            if not self.method:
                return same_lines(found if isinstance(found, str) else "", wanted)
            # plain data of our reader
            found = list(found) if isinstance(found, tuple) else found
            return found == read(wanted, CALL_LIMITS.value_chars)
        except ValueReadError:
            return False


def same_lines(written: str, wanted: str) -> bool:
    """The authors' rule: line by line without the blanks around, and where lines differ, as numbers."""
    ours, theirs = ([line.strip() for line in text.strip().split("\n")] for text in (written, wanted))
    if len(ours) != len(theirs):
        return False
    return all(one == other or _same_numbers(one, other) for one, other in zip(ours, theirs, strict=True))


def _same_numbers(one: str, other: str) -> bool:
    try:
        return [Decimal(word) for word in one.split()] == [Decimal(word) for word in other.split()]
    except InvalidOperation:
        return False


def livecodebench_suite(path: Path, asking: Asking) -> CodeSuite:
    """
    Raises:
        DataError: no such file, a record lacks a field, or its tests are not those of the official files.
    """
    problems, left_out, notes = _read(*stamp(path))
    return code_suite("livecodebench", problems, asking, HABITS, left_out, notes)


@lru_cache(maxsize=1)
def _read(path: Path, mtime_ns: int, size: int) -> tuple[list[Problem], list[str], list[str]]:
    """Problems, what was left out, and notes."""
    problems, left_out, passed_over, total = [], [], 0, 0
    for place, record in records(path, "livecodebench", FIELDS):
        tests = [
            *_tests(place, "public_test_cases", record["public_test_cases"]),
            *_private_tests(place, record["private_test_cases"]),
        ]
        check, skipped = _check(place, record, tests)
        total, passed_over = total + len(tests), passed_over + skipped
        if check is None:
            left_out.append(f"{record['question_id']}: none of its tests is small enough for the sandbox")
        else:
            problems.append(_problem(record, check))
    note = f"{passed_over} of {total} tests are too large for the sandbox's reader and were skipped"
    return problems, left_out, [note] if passed_over else []


def _problem(record: dict[str, Any], check: OutputCheck) -> Problem:
    shown = {"content": record["question_content"], "starter": record["starter_code"]}
    question = filled("livecodebench.native", **shown) + "\n\n"
    return Problem(
        problem_id=record["question_id"],
        entry="Solution" if check.method else "",
        check=check,
        chat=Prompt((("system", SYSTEM), ("user", question)), raw=False),
        plain=f"{SYSTEM}\n\n{question}",
        frame_text=filled("livecodebench.frame", **shown),
    )


# -------------------------------------------------------------------------------------------------------- tests


def _check(
    place: str, record: dict[str, Any], tests: Sequence[dict[str, str]]
) -> tuple[OutputCheck | None, int]:
    """The check, and how many tests are too large; no check where all are."""
    kinds = {test["testtype"] for test in tests}
    if kinds == {"stdin"}:
        pairs = [(canonical(test["input"], 1 << 26), test["output"]) for test in tests]
        method = ""
    elif kinds == {"functional"}:
        method = _method(place, record)
        pairs = [_call(place, test) for test in tests]
    else:
        raise DataError(
            f"{place}: its tests are of the kinds {', '.join(sorted(kinds)) or 'none'}; known are stdin and functional, not mixed"
        )
    fitting = [pair for pair in pairs if pair is not None and max(map(len, pair)) <= MAX_CHARS]
    if not fitting:
        return None, len(tests)
    inputs, outputs = zip(*fitting, strict=True)
    return OutputCheck(method, inputs, outputs), len(tests) - len(fitting)


def _method(place: str, record: dict[str, Any]) -> str:
    metadata: Any = record.get("metadata")
    try:
        name = (json.loads(metadata) if isinstance(metadata, str) else metadata)["func_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{place}: field 'metadata' has no func_name, which its functional tests need"
        ) from error
    if not isinstance(name, str) or not name.isidentifier():
        raise DataError(f"{place}: func_name {name!r} is not a name of a function")
    return name


def _call(place: str, test: dict[str, str]) -> tuple[str, str] | None:
    """Argument list and value of a functional test, a JSON value a line; None where they are too large."""
    try:
        arguments = [json.loads(line) for line in test["input"].split("\n") if line.strip()]
        value = json.loads(test["output"])
        pair = ", ".join(canonical(each) for each in arguments), canonical(value)
        parse_arguments(pair[0])
    except (ValueWriteError, ValueReadError):
        return None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: a functional test is not in JSON ({error})") from error
    return pair


def _private_tests(place: str, text: str) -> list[dict[str, str]]:
    """Plain JSON in older files, else base64, zlib, and a pickle that holds one text."""
    if text.lstrip().startswith("["):
        return _tests(place, "private_test_cases", text)
    try:
        unpacker = zlib.decompressobj()
        pickled = unpacker.decompress(base64.b64decode(text, validate=True), MAX_UNPACKED)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise DataError(
            f"{place}: field 'private_test_cases' is neither JSON nor base64 of zlib, as the official files have it"
        ) from error
    if not unpacker.eof:
        raise DataError(f"{place}: its private tests are damaged, or larger than {MAX_UNPACKED >> 20} MiB")
    return _tests(place, "private_test_cases", pickled_text(pickled, place))


def pickled_text(data: bytes, place: str = "") -> str:
    """The text that a pickle holds, without opening it.

    Raises:
        DataError: it is damaged, or it holds or does anything else.
    """
    texts = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in _TEXT_OPCODES and isinstance(argument, str):
                texts.append(argument)
            elif opcode.name not in _EMPTY_OPCODES:
                raise DataError(
                    f"{place}: its private tests are a pickle that does more than hold a text ({opcode.name}); it is not opened"
                )
    except (ValueError, IndexError, UnicodeError) as error:
        raise DataError(f"{place}: its private tests are a damaged pickle ({error})") from error
    if len(texts) != 1:
        raise DataError(
            f"{place}: its private tests are a pickle of {len(texts)} texts instead of one; it is not opened"
        )
    return texts[0]


def _tests(place: str, name: str, text: str) -> list[dict[str, str]]:
    tests, needed = parsed_json(text), ("input", "output", "testtype")
    if not isinstance(tests, list):
        raise DataError(f"{place}: field {name!r} holds no JSON list of tests")
    for test in tests:
        missing = [key for key in needed if not isinstance(test, dict) or not isinstance(test.get(key), str)]
        if missing:
            raise DataError(
                f"{place}: a test in {name!r} lacks {missing[0]!r}; needed are {', '.join(needed)}"
            )
    return tests
