"""MBPP+'s inputs as Python values: JSON has no tuples, sets and complex numbers, so EvalPlus turns lists back
task by task (``mbpp_deserialize_inputs`` of evalplus 0.3.1, Apache-2.0). The numbers are MBPP's task ids.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
_BY_TASK = {task: rule for tasks, rule in _RULES for task in tasks}


def as_python(task_id: str, given: Inputs) -> Inputs:
    """One argument list of a task ``Mbpp/NUMBER``.

    Raises:
        ValueError, TypeError, IndexError, AttributeError: the values have not the form that this task's
        inputs have.
    """
    rule = _BY_TASK.get(int(task_id.rsplit("/", 1)[-1]))
    return list(rule(given)) if rule else given
