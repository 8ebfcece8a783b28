"""Appendix A of the specification, column "want", through the real sandbox; and Appendix B in
test_advantage.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
from selfplay_helpers import proposal_text, respond, task

from azr.config.selfplay import SelfPlayConfig
from azr.parsing import parse_proposal, parse_solution
from azr.prompts import PromptOptions, propose_prompt
from azr.selfplay.buffer import TaskBuffer
from azr.selfplay.credit import base_reward
from azr.selfplay.episode import play_propose, play_solve
from azr.selfplay.grading import grade
from azr.selfplay.rows import PromptRow
from azr.selfplay.validation import validate
from azr.tasks import Proposal, Rejection, Role, Stream, Task, TaskType

CONFIG = SelfPlayConfig()


async def propose(sandbox, answer: str, rules: SelfPlayConfig | None = None) -> Task | Rejection:
    proposal = parse_proposal(TaskType.DEDUCTION, answer, rules or SelfPlayConfig())
    return proposal if isinstance(proposal, Rejection) else await validate(proposal, sandbox, CONFIG)


ACCEPTED = {
    "identity": ("def f(x):\n    return x", "[1, 2]", "[1, 2]"),
    "set": ("def f(x):\n    return {1, 2, 3}", "0", "{1, 2, 3}"),
    "class with a method": (
        "class A:\n    def g(self, x):\n        return x + 1\ndef f(x):\n    return A().g(x)",
        "1",
        "2",
    ),
    "nested helper": ("def f(x):\n    def g(y):\n        return y * 2\n    return g(x)", "4", "8"),
    "named solve": ("def solve(x):\n    return 'solve(' + str(x)", "1", "'solve(1'"),
    "multi-line input": ("def f(a, b):\n    return a + b", "1,\n2", "3"),
    "nan, compared by text": ("def f(x):\n    return float(x)", "'nan'", "nan"),
    "import": ("import math\ndef f(x):\n    return math.gcd(x, 12)", "18", "6"),
}


@pytest.mark.parametrize("case", ACCEPTED)
async def test_accepted(sandbox, case):
    code, input_text, output = ACCEPTED[case]
    accepted = await propose(sandbox, proposal_text(code, input_text))
    assert isinstance(accepted, Task), accepted
    assert accepted.output == output
    assert "def f(" in accepted.code


async def test_input_block_before_the_code(sandbox):
    accepted = await propose(sandbox, "```input\n3\n```\n```python\ndef f(x):\n    return x + 1\n```")
    assert isinstance(accepted, Task) and accepted.output == "4"


REFUSED = {
    "generator": (
        "def f(x):\n    return (i for i in range(x))",
        "3",
        {"output_not_literal", "nondeterministic"},
    ),
    "iterator": ("def f(x):\n    return iter([x])", "3", {"output_not_literal", "nondeterministic"}),
    "bare Exception": ("def f(x):\n    raise Exception('boom')", "3", {"exception"}),
    "StopIteration": ("def f(x):\n    return next(iter([]))", "3", {"exception"}),
    "two-line message": ("def f(x):\n    raise ValueError('a\\nb')", "3", {"exception"}),
    "import os": ("import os\ndef f(x):\n    return x", "3", {"forbidden_import", "blocked", "exception"}),
    "import random": ("import random\ndef f(x):\n    return x", "3", {"banned_import"}),
    "from os.path": (
        "from os.path import join\ndef f(x):\n    return join('a', x)",
        "'b'",
        {"banned_import"},
    ),
    "two functions": ("def f(x):\n    return g(x)\ndef g(x):\n    return x", "3", {"multiple_functions"}),
    "too long an output": ("def f(x):\n    return 'a' * x", "500", {"output_too_long"}),
    "class instance": (
        "class A:\n    pass\ndef f(x):\n    return A()",
        "3",
        {"output_not_literal", "nondeterministic"},
    ),
    "Counter": (
        "from collections import Counter\ndef f(x):\n    return Counter(x)",
        "'aab'",
        {"output_not_literal"},
    ),
    "hash order": ("def f(x):\n    return list({'a', 'b', 'c', 'd', 'e', x})", "'z'", {"nondeterministic"}),
    "state on the function": (
        "def f(x):\n    f.n = getattr(f, 'n', 0) + 1\n    return f.n",
        "1",
        {"nondeterministic"},
    ),
    "endless loop": ("def f(x):\n    while True:\n        pass", "1", {"timeout"}),
    "input is an expression": ("def f(x):\n    return x", "__import__('os').getcwd()", {"input_not_literal"}),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused(sandbox, case):
    code, input_text, reasons = REFUSED[case]
    refused = await propose(sandbox, proposal_text(code, input_text))
    assert isinstance(refused, Rejection) and refused.reason in reasons, refused


async def test_two_functions_are_an_option(sandbox):
    code = "def f(x):\n    return g(x) + 1\ndef g(x):\n    return x * 2"
    accepted = await propose(
        sandbox, proposal_text(code, "3"), SelfPlayConfig(reject_multiple_functions=False)
    )
    assert isinstance(accepted, Task) and accepted.output == "7"


def gold(task_type: TaskType, code: str, input_text: str, output: str) -> Task:
    return Task(task_type=task_type, code=code, inputs=(input_text,), outputs=(output,))


ADD = "def f(a, b):\n    return a + b"
IDENTITY = "def f(x):\n    return x"
ABDUCTION, DEDUCTION = TaskType.ABDUCTION, TaskType.DEDUCTION

GRADED = {
    "abduction on two lines": (gold(ABDUCTION, ADD, "0, 3", "3"), "1,\n2", 1.0),
    "abduction closes the call": (gold(ABDUCTION, IDENTITY, "5", "5"), "0) == 0 or (True", 0.0),
    "deduction other spacing": (gold(DEDUCTION, IDENTITY, "[1, 2]", "[1, 2]"), "[1,2]", 1.0),
    "deduction True for 1": (gold(DEDUCTION, IDENTITY, "1", "1"), "True", 0.0),
    "deduction 1 for 1.0": (gold(DEDUCTION, IDENTITY, "1.0", "1.0"), "1", 1.0),
    "deduction tuple for list": (gold(DEDUCTION, IDENTITY, "[1]", "[1]"), "(1,)", 0.0),
    "deduction set order": (gold(DEDUCTION, IDENTITY, "{1, 2}", "{1, 2}"), "{2, 1}", 1.0),
    "deduction dict order": (gold(DEDUCTION, IDENTITY, "{1: 2, 3: 4}", "{1: 2, 3: 4}"), "{3: 4, 1: 2}", 1.0),
    "deduction permissive object": (
        gold(DEDUCTION, IDENTITY, "1", "1"),
        "type('A', (), {'__eq__': lambda s, o: True})()",
        0.0,
    ),
    "deduction nan": (gold(DEDUCTION, IDENTITY, "float('nan')", "nan"), "nan", 1.0),
}


@pytest.mark.parametrize("case", GRADED)
async def test_graded(sandbox, case):
    judged, answer, score = GRADED[case]
    solution = parse_solution(
        judged.task_type, f"```{'input' if judged.task_type is ABDUCTION else 'output'}\n{answer}\n```"
    )
    assert isinstance(solution, str)
    assert (await grade(judged, solution, sandbox, CONFIG)).score == score


async def test_equality_switches(sandbox):
    one = gold(DEDUCTION, IDENTITY, "1", "1")
    assert (await grade(one, "True", sandbox, replace(CONFIG, bool_equals_int=True))).score == 1
    assert (await grade(one, "1.0", sandbox, replace(CONFIG, int_equals_float=False))).score == 0


def induction_task(pairs: int = 10) -> Task:
    inputs = tuple(str(number) for number in range(pairs))
    outputs = tuple(str(number * 2) for number in range(pairs))
    return Task(
        task_type=TaskType.INDUCTION,
        code="def f(x):\n    return x * 2",
        inputs=inputs,
        outputs=outputs,
        message="doubles",
    )


async def test_induction_four_of_five(sandbox):
    almost = "def f(x):\n    return x * 2 if x != 9 else 0"
    for how, score in (("binary", 0.0), ("accuracy", 0.8), ("if_one", 1.0)):
        assert (
            await grade(induction_task(), almost, sandbox, replace(CONFIG, induction_reward=how))
        ).score == pytest.approx(score)
    row = PromptRow(
        stream=Stream(Role.SOLVE, TaskType.INDUCTION), prompt=open_prompt(), row_id="1", task=induction_task()
    )

    async def say(prompt, n):
        from azr.selfplay.outcomes import Completion

        return [Completion(respond(f"```python\n{almost}\n```"), 10, True)]

    assert base_reward(await play_solve(row, say, sandbox, CONFIG), CONFIG) == -0.5


def open_prompt():
    return propose_prompt(TaskType.DEDUCTION, [task()], PromptOptions())


def propose_row() -> PromptRow:
    return PromptRow(
        stream=Stream(Role.PROPOSE, DEDUCTION), prompt=open_prompt(), row_id="1", references=(task(),)
    )


VALID = respond(proposal_text("def f(x):\n    return x * 3", "5"))
RIGHT, WRONG = respond("```output\n15\n```"), respond("```output\n16\n```")


@pytest.mark.parametrize(("right", "reward"), [(3, 0.625), (0, -0.5), (8, -0.5), (1, 0.875), (7, 0.125)])
async def test_proposer_reward(sandbox, script, anything_fits, right, reward):
    model = script(VALID, *[RIGHT] * right, *[WRONG] * (8 - right))
    outcome = await play_propose(propose_row(), model, sandbox, CONFIG, anything_fits)
    assert base_reward(outcome, CONFIG) == pytest.approx(reward)
    assert (
        outcome.task is not None
        and outcome.task.lineage.accuracy == right / 8
        and outcome.task.lineage.parents == (task().task_id,)
    )


@pytest.mark.parametrize("right", [0, 8])
async def test_extremes_pay_nothing_in_the_paper(sandbox, script, anything_fits, right):
    model = script(VALID, *[RIGHT] * right, *[WRONG] * (8 - right))
    config = SelfPlayConfig(variant="paper")
    outcome = await play_propose(propose_row(), model, sandbox, config, anything_fits)
    assert base_reward(outcome, config) == 0


async def test_valid_without_closing_think_tag(sandbox, script, anything_fits):
    text = "<answer>" + proposal_text("def f(x):\n    return x * 3", "5") + "</answer>"
    outcome = await play_propose(propose_row(), script(text), sandbox, CONFIG, anything_fits)
    assert base_reward(outcome, CONFIG) == -1 and outcome.task is not None  # still buffered
    outcome = await play_propose(
        propose_row(), script(text), sandbox, replace(CONFIG, buffer_bad_format=False), anything_fits
    )
    assert (
        base_reward(outcome, CONFIG) == -1
        and outcome.task is None
        and outcome.rejection == Rejection("filtered")
    )


@pytest.mark.parametrize(("count", "used"), [(9, None), (10, range(10)), (12, range(2, 12))])
def test_induction_inputs(count, used):
    answer = "".join(f"```input\n{number}\n```\n" for number in range(count)) + "```message\ndoubles\n```"
    proposal = parse_proposal(TaskType.INDUCTION, answer, SelfPlayConfig(), program=task())
    if used is None:
        assert isinstance(proposal, Rejection) and proposal.reason == "too_few_inputs"
    else:
        assert isinstance(proposal, Proposal) and proposal.inputs == tuple(str(number) for number in used)


def test_buffer_at_capacity_evicts_the_oldest():
    buffer = TaskBuffer(capacity=100)
    tasks = [task(code=f"def f(x):\n    return x + {number}") for number in range(164)]
    for number, each in enumerate(tasks):
        assert buffer.add(each, 0 if number < 100 else 1) == ""
    assert [record.task for record in buffer] == tasks[64:]
    assert len(buffer) == 100 and buffer.evicted_old == 64
