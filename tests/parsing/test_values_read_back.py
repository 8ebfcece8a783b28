"""A right answer is read as itself, whatever its strings hold."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from azr.evaluate.extraction import answer_in
from azr.parsing import parse_solution, split_response
from azr.prompts import SHIPPED_FRAMES, PromptOptions, solve_prompt
from azr.sandbox.values import canonical
from azr.tasks import Task, TaskType

MARKS = [
    "the output is 5", "output(x)", "# Output: 3", "<output>3</output>", "</answer>q", "w<answer>", "<answer>5</answer>",
    "<input>3</input>", "input(3)", "the input is 5", "# Input: 3", "<think>", "</think>", "</think><answer>", "```",
    "```output\n4\n```", "```input 4```", "[ANSWER]", "[/ANSWER]", "[ANSWER]6[/ANSWER]", "assert f(1) == 2",
    "assert f(1) == 2# q", "f(1) == 2# q", "'", '"', "\n", "\\", " ", "#",
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(MARKS), st.text(max_size=3)), max_size=4).map("".join)
LEAVES = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.binary(max_size=3), st.floats(width=32))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(TEXTS, inner, max_size=2),
        st.frozensets(TEXTS, max_size=2).map(set),
    ),
    max_leaves=5,
)
ASKED = {
    kind: Task(task_type=kind, code="def f(x):\n    return x", inputs=("1",), outputs=("1",))
    for kind in (TaskType.ABDUCTION, TaskType.DEDUCTION)
}
LABELS = {TaskType.ABDUCTION: "input", TaskType.DEDUCTION: "output"}


def with_every_mark(test):
    for mark in MARKS:
        test = example([mark], TaskType.DEDUCTION)(example([mark], TaskType.ABDUCTION)(test))
    return test


def printed(values: list, task_type: TaskType) -> str:
    """As the product prints an output, or the arguments of a call."""
    text = ", ".join(map(canonical, values if task_type is TaskType.ABDUCTION else values[:1]))
    assume(text.count("```") < 8 and text.count("</answer>") < 8)  # so many ends of one are tried
    return text


@with_every_mark
@settings(max_examples=150, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=3), st.sampled_from(list(LABELS)))
def test_a_value_between_the_tags_of_any_frame_is_read_back(values, task_type):
    value = printed(values, task_type)
    for frame in SHIPPED_FRAMES:
        prefix = solve_prompt(ASKED[task_type], PromptOptions(frame=frame)).response_prefix
        for answer in (
            value,
            f"```{LABELS[task_type]}\n{value}\n```",
            f"\n```{LABELS[task_type]}\n{value}\n```\n",
        ):
            reply = f"<think>well</think>\n<answer>{answer}</answer>"[len(prefix) :]
            response = split_response(reply, prefix, strict=True)
            assert (response.format_ok, response.thought) == (True, "well")
            assert parse_solution(task_type, response.answer) == value
            assert answer_in(task_type, reply, response.answer) == value


@with_every_mark
@settings(max_examples=150, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=3), st.sampled_from(list(LABELS)))
def test_a_value_in_the_authors_form_is_read_back(values, task_type):
    value = printed(values, task_type)
    call = f"f({value}) == 1" if task_type is TaskType.ABDUCTION else f"f(1) == {value}"
    for reply in (
        f"[ANSWER]{value}[/ANSWER]",
        f"Well.\n[ANSWER]\n{value}",
        f"[ANSWER]\nassert {call}\n[/ANSWER]",
    ):
        assert answer_in(task_type, reply) == value


def test_tags_in_the_strings_of_a_program_are_text() -> None:
    """An answer broke off there, so that a right one to induction was wrong, and a proposal had "no_code_block", not the
    markup for which it is refused."""
    program = "def f(x):\n    return x.split('</answer>')[0] + f'<answer>{x}'"
    response = split_response(
        f"well</think><answer>\n```python\n{program}\n```\n</answer>", "<think>", strict=True
    )
    assert response.format_ok and parse_solution(TaskType.INDUCTION, response.answer) == program
    reply = "x</think><answer>```python\ndef f(x):\n    return '</answer>'  # </answer>\n```</answer>"
    assert split_response(reply, "<think>").answer.endswith("return '"), "outside of strings a tag is a tag"


WITHOUT_STRINGS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<answer>", "</answer>", "```python\n", "```output\n", "```input\n", "```", "\n", " ", "# it is ",
         "def f(x):\n", "    return x\n", "[1, 2]", "4", "(", "well"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(WITHOUT_STRINGS, st.sampled_from(["", "<think>"]))
def test_a_response_without_strings_is_read_by_the_published_rule(text, prefix):
    _, tag, after = (prefix + text).lstrip().rpartition("<answer>")
    assert split_response(text, prefix).answer == (after.split("</answer>")[0].strip("\n") if tag else "")


@pytest.mark.parametrize(
    ("reply", "answer", "format_ok"),
    [
        ("x</think><answer>'</answer>q'</answer><answer>4</answer>", "4", False),
        ("x</think><answer>3</answer> or <answer>'</answer>q'</answer>", "'</answer>q'", False),
        ("x</think><answer>'</answer>q'</answer> done", "'</answer>q'", False),
        ("x</think><answer>'</answer>q'</answer></answer>", "'</answer>q'", False),
        ("x</think><answer>'a'</answer> or <answer>'b'</answer>", "'b'", False),
        ("x</think><answer>3</answer> it's <answer>4</answer> isn't it</answer>", "4", False),
        ("x</think><answer>3 # three</answer><answer>4</answer>", "4", False),
        ("x</think><answer>```output\n3\n```</answer>\n<answer>```output\n4\n```</answer>", "```output\n4\n```", False),
        ("x</think><answer>'<answer>', 0x" + "f" * 9000 + "</answer>", "'<answer>', 0x" + "f" * 9000, True),
        ("an <answer> 'x' </think><answer>'</answer>q'</answer>", "'</answer>q'", False),
    ],
)  # fmt: skip
def test_a_second_answer_is_one_still(reply, answer, format_ok):
    response = split_response(reply, "<think>", strict=True)
    assert (response.answer, response.format_ok) == (answer, format_ok)
