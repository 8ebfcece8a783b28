"""What a reply says, wherever it stands: programs, literals, numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.evaluate.extraction import (
    answer_in,
    expression_in,
    literal_in,
    longest_program,
    needed_parts,
    number_in,
    program_in,
)
from azr.tasks import TaskType

ADD = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    "reply",
    [
        f"Here it is:\n```python\n{ADD}\n```\nIt adds.",
        f"```python\n{ADD}\n```\nFor example:\n```python\nprint(add(1, 2))\n```",
        f"```python\n{ADD}",
        f"<think>I write it here\n```python\n{ADD}\n```\n",
        f"hm</think> <answer>\n```python\n{ADD}\n</answer>",
        f"Sure, this will do:\n\n{ADD}\n\nIt returns the sum of both.",
        f"```python\ndef add(a, b): pass\n```\nBetter:\n```python\n{ADD}\n```",
        f"```\n{ADD}\n```",
    ],
    ids=[
        "block",
        "example after it",
        "open fence",
        "in the think part",
        "open fence in the answer",
        "prose",
        "second try",
        "no label",
    ],
)
def test_a_program_is_found_wherever_it_stands(reply: str) -> None:
    assert program_in(reply, "add").strip() == ADD


def test_no_program_is_nothing() -> None:
    assert program_in("I do not know.", "add") == ""
    assert program_in("", "add") == ""


def test_a_program_inside_prose_is_cut_where_it_stops_being_one() -> None:
    text = f"The function is\nimport math\n\n{ADD}\n\nThis (as you see) works: it's easy.\n```"
    assert longest_program(text) == f"import math\n\n{ADD}"


def test_examples_and_tests_around_the_answer_are_left_away() -> None:
    source = (
        "import math\nLIMIT = 3\nUNUSED = print('x')\n\ndef helper(x):\n    return min(x, LIMIT)\n\ndef other():\n    return 1\n\n"
        "def add(a, b):\n    return helper(a) + b\n\nassert add(1, 2) == 4\nif True:\n    add(1, 2)\n"
    )
    kept = needed_parts(source, "add")
    assert "UNUSED" not in kept
    assert "other" not in kept
    assert "assert" not in kept
    scope: dict[str, object] = {}
    exec(kept, scope)  # our own program
    assert eval("add(5, 1)", scope) == 4  # noqa: S307 - our own text


def test_the_stub_of_a_problem_does_not_hide_the_function() -> None:
    source = f'def add(a, b):\n    """Adds."""\n\n{ADD}\n'
    assert needed_parts(source, "add") == ADD


def test_decorators_stay_and_what_does_not_parse_is_cut() -> None:
    source = (
        "import functools\n\n@functools.cache\ndef add(a, b):\n    return a + b\n\nThat is all, it's done"
    )
    assert (
        needed_parts(source, "add") == "import functools\n@functools.cache\ndef add(a, b):\n    return a + b"
    )


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("[ANSWER]\nassert f(17) == 18\n[/ANSWER]", "18"),
        ("assert f(17) == 18", "18"),
        (
            "[THOUGHT]\nf(17) == 3? No.\n[/THOUGHT]\n[ANSWER]\nassert f(17) == [1, 'a == b']\n",
            "[1, 'a == b']",
        ),
        ("It counts. So the output is `[1, 2]`.", "[1, 2]"),
        ("Therefore, the answer is:\n\n**{'a': 1}**", "{'a': 1}"),
        ("```output\n'x'\n```", "'x'"),
        ("```python\nassert f(1) == 'x'\n```", "'x'"),
        ("Output: (1, 2)", "(1, 2)"),
        ("hm</think>\n```output\n5\n", "5"),
        ("assert performOperation(s = 'hi') == 'bhihia'", "'bhihia'"),
        ("I cannot say", ""),
        ("f(1) + g(2)", ""),
    ],
)
def test_an_output_is_found_wherever_it_stands(reply: str, value: str) -> None:
    assert literal_in(TaskType.DEDUCTION, reply) == value


@pytest.mark.parametrize(
    ("reply", "arguments"),
    [
        ("[ANSWER]\nassert f('ba', 'nana') == 'banana'\n[/ANSWER]", "'ba', 'nana'"),
        ("assert f([')', 1]) == 'banana'", "[')', 1]"),
        ("```input\n3, [4]\n```", "3, [4]"),
        ("The input is f(3, x=4).", "3, x=4"),
        ("Input: [1, 2]", "[1, 2]"),
        ("hm </think><answer>```input\n7\n</answer>", "7"),
        ("assert f(g(1)) == 3", ""),
    ],
)
def test_an_input_is_found_wherever_it_stands(reply: str, arguments: str) -> None:
    assert literal_in(TaskType.ABDUCTION, reply) == arguments


def test_the_answer_tag_comes_first() -> None:
    assert (
        literal_in(TaskType.DEDUCTION, "<think>```output\n1\n```</think><answer>2</answer>\nOutput: 3", "2")
        == "2"
    )


def test_the_other_kinds_of_tasks_are_read_too() -> None:
    assert answer_in(TaskType.INDUCTION, "```python\ndef f(x):\n    return x") == "def f(x):\n    return x"
    assert answer_in(TaskType.ERROR, "It raises a ValueError first. No, a KeyError.") == "KeyError"
    assert answer_in(TaskType.ERROR, "It raises a ValueError.", "NoError") == "NoError"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("He has 3 + 4 = 7. \\boxed{7}", 7),
        ("\\boxed{5}\nNo: \\boxed{1,234.50}", Fraction("1234.5")),
        ("so $\\boxed{\\frac{3}{4}}$ of it", Fraction(3, 4)),
        ("\\boxed{\\$18}", 18),
        ("work 5\n#### 72", 72),
        ("The answer is 39. Next, Q: 5", 39),
        ("The answer is $1,000.", 1000),
        ("it costs 4 and then -2", -2),
        ("<answer>\n.5\n</answer>", Fraction(1, 2)),
        ("none", None),
        ("\\boxed{x} but 3", 3),
    ],
)
def test_numbers_are_read_as_harnesses_read_them(text: str, number: object) -> None:
    assert number_in(text) == number


PIECES = st.sampled_from(
    ["```", "```python\n", "def f(x):\n",
      "    return x\n", "f(", ")", "==", "assert ", "[ANSWER]", "[/ANSWER]", "\\boxed{", "}", "1,", "\n",
     "<answer>", "</answer>", "'", '"', "[", "]", "import a\n", "@", "####", "(" * 50, "\x00", "\ud800", "é", "output is", "input:"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=40).map("".join))
def test_nothing_raises_on_any_text(text: str) -> None:
    program = program_in(text, "f")
    assert isinstance(needed_parts(program, "f"), str)
    for task_type in TaskType:
        assert isinstance(answer_in(task_type, text, text[:20]), str)
    number_in(text)


@pytest.mark.parametrize("side", ["f\"{'\xa0'.join('ab')}\"", "0x" + "f" * 4000])
def test_an_answer_that_python_reads_and_cannot_write_is_no_expression(side):
    """It was a traceback, which ended the evaluation."""
    for task_type in (TaskType.ABDUCTION, TaskType.DEDUCTION):
        expression_in(task_type, f"assert f({side}) == {side}")
