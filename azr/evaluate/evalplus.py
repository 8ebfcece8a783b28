"""HumanEval+ and MBPP+ (arXiv 2305.01210) from EvalPlus's files, ``HumanEvalPlus.jsonl[.gz]`` and
``MbppPlus.jsonl[.gz]``.

A program is called with every input of the file, base and plus, and must return what the file's own solution returns.
Both run in the sandbox; their values are compared here, as text that is read back, by the rules of EvalPlus 0.3.1
(``evalplus/eval``, Apache-2.0): equality as in Python, floats with a tolerance, and the special rules of some tasks.
Inputs and values that are too large for the sandbox's reader are passed over, and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from azr.errors import DataError
from azr.evaluate.checks import PASSED, call_all, first_wrong
from azr.evaluate.code_suite import CHAT_STOPS, CodeSuite, Problem, code_suite, evalplus_prompt
from azr.evaluate.humaneval import preamble
from azr.evaluate.items import Asking, Habits
from azr.evaluate.suite_records import records, stamp
from azr.evaluate.texts import filled
from azr.sandbox import Sandbox
from azr.sandbox.values import MAX_CHARS, ValueWriteError, canonical, read

FIELDS = {
    "task_id": str, "prompt": str, "entry_point": str, "canonical_solution": str,
    "base_input": list, "plus_input": (list, dict), "atol": (int, float),
}  # fmt: skip
EOS = ("\nif __name__", "\ndef main(", "\nprint(")
HABITS = {
    "humaneval+": Habits(CHAT_STOPS, (*EOS, "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")),
    "mbpp+": Habits(CHAT_STOPS, (*EOS, '\n"""', "\nassert")),
}
NOT_NONE = ("check_str", "text_match_three", "text_starta_endb")
"""Tasks whose outputs are objects: judged is whether there is one."""
AS_SETS = (
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum", "intersection_array",
    "find_dissimilar", "Diff",
)  # fmt: skip
_WRAPPER = "_azr_judged_call"


@dataclass(frozen=True)
class PlusCheck:
    entry: str
    solution: str
    """The file's own program."""
    inputs: tuple[str, ...]
    """Argument lists; the first ``n_base`` are those of the original suite."""
    n_base: int
    atol: float
    mbpp: bool
    expected: list[tuple[int, str]] = field(default_factory=list)
    """Index of an input and its canonical value, where the solution gives one; computed at the first need."""

    async def run(self, program: str, sandbox: Sandbox) -> tuple[float, str]:
        if not self.expected:
            judged = self._judged(self.solution, own=True)
            calls = await call_all(*judged, self.inputs, sandbox, until_failure=False)
            known = ((index, call.value) for index, call in enumerate(calls) if call.ok)
            self.expected[:] = [(index, value) for index, value in known if value is not None]
            if not self.expected:
                return 0.0, "no_expected_value"

        inputs = [self.inputs[index] for index, _ in self.expected]

        def right(number: int, value: str) -> bool:
            return self._right(inputs[number], value, self.expected[number][1])

        number, reason = await first_wrong(*self._judged(program, own=False), inputs, right, sandbox)
        if reason == PASSED:
            return 1.0, PASSED
        return 0.0, reason if self.expected[number][0] < self.n_base else f"{reason}_plus"

    def _judged(self, program: str, *, own: bool) -> tuple[str, str]:
        """Program and entry; outputs that are objects become whether there is one, inside the process."""
        if not self.mbpp or self.entry not in NOT_NONE:
            return program, self.entry
        value = "value is not None" if own else "value if isinstance(value, bool) else value is not None"
        return (
            f"{program}\n\ndef {_WRAPPER}(*arguments):\n    value = {self.entry}(*arguments)\n    return {value}\n",
            _WRAPPER,
        )

    def _right(self, arguments: str, value: str, wanted: str) -> bool:
        try:
            out, expected = read(value), read(wanted)
            special = _SPECIAL.get((self.mbpp, self.entry))
            if special is not None:
                return bool(special(read(f"[{arguments}]") if arguments else [], out, expected, self.atol))
            if self.mbpp and self.entry in AS_SETS:
                return set(out) == set(expected)
            return evalplus_equal(out, expected, self.atol)
        except (TypeError, ValueError, ArithmeticError):  # ValueReadError is a ValueError
            return False


def evalplus_equal(out: Any, expected: Any, atol: float) -> bool:
    """EvalPlus's rule for values that ``read`` gave: plain data, so ``==`` calls nothing of the program's."""
    if out == expected:
        return True
    values = expected if isinstance(expected, (list, tuple)) and expected else [expected]
    if atol == 0 and all(isinstance(value, float) for value in values):
        atol = 1e-6
    return atol != 0 and type(out) is type(expected) and _close(out, expected, atol)


def _close(out: Any, expected: Any, atol: float) -> bool:
    """``numpy.allclose(out, expected, rtol=1e-07, atol=atol)`` for numbers and lists of equal lengths."""
    if isinstance(out, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(out) == len(expected) and all(
            _close(one, other, atol) for one, other in zip(out, expected, strict=True)
        )
    if not isinstance(out, (int, float, complex)) or not isinstance(expected, (int, float, complex)):
        return False
    return out == expected or abs(out - expected) <= atol + 1e-7 * abs(expected)


def _find_zero(arguments: list[Any], out: Any, expected: Any, atol: float) -> bool:
    return abs(sum(each * math.pow(out, power) for power, each in enumerate(arguments[0]))) <= atol


def _surface_area(arguments: list[Any], out: Any, expected: Any, atol: float) -> bool:
    base, height = arguments
    area = round(base**2 + 2 * base * math.sqrt((base / 2) ** 2 + height**2))
    return evalplus_equal(out, expected, atol) or abs(out - area) <= atol


def _digit_distance(arguments: list[Any], out: Any, expected: Any, atol: float) -> bool:
    one, other = (str(each) for each in arguments)
    width = max(len(one), len(other))
    return evalplus_equal(out, expected, atol) or out == sum(
        abs(int(a) - int(b)) for a, b in zip(one.zfill(width), other.zfill(width), strict=True)
    )


_SPECIAL: dict[tuple[bool, str], Callable[[list[Any], Any, Any, float], bool]] = {
    (False, "find_zero"): _find_zero,
    (True, "are_equivalent"): lambda arguments, out, expected, atol: True,
    (True, "sum_div"): lambda arguments, out, expected, atol: evalplus_equal(out, expected, atol) or out == 0,
    (True, "surface_Area"): _surface_area,
    (True, "digit_distance_nums"): _digit_distance,
}
"""Tasks of MBPP (True) and HumanEval (False) with a rule of their own."""


def plus_suite(path: Path, asking: Asking, name: str) -> CodeSuite:
    """
    Args:
        name: ``humaneval+`` or ``mbpp+``.

    Raises:
        DataError: no such file, or a record lacks a field.
    """
    problems, notes = _read(name, *stamp(path))
    return code_suite(name, problems, asking, HABITS[name], notes=notes)


@lru_cache(maxsize=2)
def _read(name: str, path: Path, mtime_ns: int, size: int) -> tuple[list[Problem], list[str]]:
    """Problems and notes. The expected values of a problem are computed once for all styles and models too."""
    problems, too_large, total = [], 0, 0
    for place, record in records(path, name, FIELDS):
        plus = record["plus_input"]
        if isinstance(plus, dict) and plus:  # the published MBPP+ file has {} where there is none
            raise DataError(f"{place}: field 'plus_input' is not a list; {name} needs EvalPlus's own file")
        base, more = record["base_input"], list(plus)
        inputs, n_base = _argument_lists(place, name, record["task_id"], base, more)
        too_large += len(base) + len(more) - len(inputs)
        total += len(base) + len(more)
        problems.append(_problem(name, record, inputs, n_base))
    note = f"{too_large} of {total} test inputs are too large for the sandbox's reader and were skipped"
    return problems, [note] if too_large else []


def _problem(name: str, record: dict[str, Any], inputs: tuple[str, ...], n_base: int) -> Problem:
    prompt, entry, mbpp = record["prompt"].strip() + "\n", record["entry_point"], name == "mbpp+"
    solution = record["prompt"] + record["canonical_solution"]
    return Problem(
        problem_id=record["task_id"],
        entry=entry,
        check=PlusCheck(entry, solution, inputs, n_base, float(record["atol"]), mbpp),
        chat=evalplus_prompt(prompt),
        plain=prompt,
        frame_text=filled("mbpp+.frame", text=prompt.strip())
        if mbpp
        else filled("humaneval.frame", prompt=prompt.strip()),
        context=prompt,
        preamble="" if mbpp else preamble(prompt, entry),
    )


def _argument_lists(
    place: str, name: str, task_id: str, base: Sequence[Any], plus: Sequence[Any]
) -> tuple[tuple[str, ...], int]:
    """Argument lists as text, without those that are too large, and how many of them are base inputs."""
    texts: list[str] = []
    n_base = 0
    for index, values in enumerate([*base, *plus]):
        if not isinstance(values, list):
            raise DataError(f"{place}: an input is not a list of arguments; {name} needs EvalPlus's own file")
        try:
            arguments = as_python(task_id, values) if name == "mbpp+" else values
            text = ", ".join(canonical(value) for value in arguments)
        except ValueWriteError:
            continue
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError(
                f"{place}: its inputs are not those of {task_id} in EvalPlus's file ({error})"
            ) from error
        if len(text) <= MAX_CHARS:
            texts.append(text)
            n_base += index < len(base)
    return tuple(texts), n_base


# ------------------------------------------------------------------------------------------------- MBPP+'s inputs

Inputs = list[Any]


def _tuples(values: Any) -> list[Any]:
    return [tuple(each) for each in values]


def _deep(value: Any) -> Any:
    return tuple(_deep(each) for each in value) if isinstance(value, list) else value


_PLAIN_TUPLES = (
    2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740, 744, 809,
)  # fmt: skip
_NESTED_TUPLES = (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780)
_RULES: tuple[tuple[tuple[int, ...], Callable[[Inputs], Any]], ...] = (
    (_PLAIN_TUPLES, _tuples),
    (_NESTED_TUPLES, lambda given: [_tuples(each) for each in given]),
    ((75, 413, 444, 753), lambda given: [_tuples(given[0]), given[1]]),
    ((106, 750), lambda given: [given[0], tuple(given[1])]),
    ((115,), lambda given: [[set(each) if isinstance(each, list) and each else {} for each in given[0]]]),
    ((124,), lambda given: [float(given[0]), complex(given[1])]),
    ((250, 405, 446, 617, 720, 763, 808), lambda given: [tuple(given[0]), given[1]]),
    ((259, 401, 445), lambda given: [tuple(_tuples(each)) for each in given]),
    ((278,), lambda given: [tuple(tuple(each) if isinstance(each, list) else each for each in given[0])]),
    ((307,), lambda given: [tuple(given[0]), given[1], given[2]]),
    ((722,), lambda given: [{key: tuple(value) for key, value in given[0].items()}, *given[1:]]),
    ((252,), lambda given: [complex(given[0])]),
    ((580, 615, 791), lambda given: [_deep(each) for each in given]),
)
"""MBPP's task ids, and how their inputs become Python values: JSON has no tuples, sets and complex numbers, so EvalPlus
turns lists back task by task (``mbpp_deserialize_inputs`` of evalplus 0.3.1, Apache-2.0)."""
_BY_TASK = {task: rule for tasks, rule in _RULES for task in tasks}


def as_python(task_id: str, given: Inputs) -> Inputs:
    """One argument list of a task ``Mbpp/NUMBER``.

    Raises:
        ValueError, TypeError, IndexError, AttributeError: the values have not the form that this task's
        inputs have.
    """
    rule = _BY_TASK.get(int(task_id.rsplit("/", 1)[-1]))
    return list(rule(given)) if rule else given
