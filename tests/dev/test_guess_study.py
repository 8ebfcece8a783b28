"""scripts/dev/guess_study.py on tasks whose answer is known: a planted guess, and a planted nothing."""

from __future__ import annotations

import asyncio

import guess_study
from azr.sandbox import Sandbox
from azr.tasks import Task, TaskType


def hits_of(inputs: list[str]) -> list[int]:
    tasks = [
        Task(
            task_type=TaskType.ABDUCTION,
            code=f"def f(x):\n    return x + {at}",
            inputs=(text,),
            outputs=(str(int(text) + at),),
        )
        for at, text in enumerate(inputs)
    ]
    with Sandbox() as sandbox:
        return asyncio.run(guess_study.first_hits(tasks, sandbox))


def test_a_usual_input_is_found_and_inputs_without_a_pattern_are_not() -> None:
    # every third task has another input; the first has nothing before it
    usual = hits_of(["5", "5", "7", "5", "5", "9", "5", "5"])
    assert usual == [guess_study.MOST, 0, guess_study.MOST, 0, 0, guess_study.MOST, 0, 0]
    assert hits_of(["1", "2", "3", "4", "5", "6"]) == [guess_study.MOST] * 6
