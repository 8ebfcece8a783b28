# ruff: noqa: E501
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.config.selfplay import SelfPlayConfig
from azr.parsing import Block, fenced_blocks, parse_proposal, parse_solution, split_response
from azr.tasks import Proposal, Rejection, Task, TaskType

PROGRAM = Task(task_type=TaskType.DEDUCTION, code="def f(x):\n    return x", inputs=("1",), outputs=("1",))

RESPONSES = {
    "plain": ("so </think> <answer>4</answer>", "<think>", "so", "4", True),
    "text after the answer": ("so </think><answer>4</answer> done", "<think>", "so", "4", True),
    "no closing answer tag": ("so </think><answer>4", "<think>", "so", "4", False),
    "no closing think tag": ("so <answer>4</answer>", "<think>", "so <answer>4</answer>", "4", False),
    "text between the tags": ("so </think> hm <answer>4</answer>", "<think>", "so", "4", False),
    "no tags": ("four", "<think>", "four", "", False),
    "last answer counts": ("a</think><answer>3</answer><answer>4</answer>", "<think>", "a", "4", True),
    "chat frame": ("  <think>so</think>\n<answer>4</answer>", "", "so", "4", True),
    "chat frame without think": ("<answer>4</answer>", "", "<answer>4</answer>", "4", False),
    "something before the think tag": ("Sure! <think>so</think><answer>4</answer>", "", "so", "4", False),
    "a second turn": (
        "a</think><answer>4</answer>\nUser: more\nAssistant: <think>b",
        "<think>",
        "b",
        "4",
        True,
    ),
    "the word Assistant: in it": (
        "Assistant: x</think><answer>'Assistant:'</answer>",
        "<think>",
        "Assistant: x",
        "'Assistant:'",
        True,
    ),
}


@pytest.mark.parametrize("case", RESPONSES)
def test_split_response(case):
    text, prefix, thought, answer, format_ok = RESPONSES[case]
    response = split_response(text, prefix)
    assert (response.thought, response.answer, response.format_ok) == (thought, answer, format_ok)


STRICT = {
    "plain": ("so </think> <answer>4</answer>", "<think>", True),
    "white space at the end": ("so</think>\n<answer>4</answer>\n \n", "<think>", True),
    "the reply is begun further": (
        "[1]\n```\n</answer>",
        "<think> so </think>\n<answer>\n```input_1\n",
        True,
    ),
    "tags after the answer": ("so </think><answer>4</answer></think></answer>", "<think>", False),
    "text after the answer": ("so </think><answer>4</answer> done", "<think>", False),
    "a second answer": ("so </think><answer>3</answer><answer>4</answer>", "<think>", False),
    "a second closing tag": ("so </think><answer>4</answer></answer>", "<think>", False),
    "a second thought": ("<think>so</think><answer>4</answer>", "<think>", False),
    "an answer inside the thought": ("so <answer>3</answer> hm </think><answer>4</answer>", "<think>", False),
    "unclosed answer": ("so </think><answer>4", "<think>", False),
    "unclosed thought": ("so <answer>4</answer>", "<think>", False),
    "closed before it was opened": ("</think>so<answer>4</answer>", "", False),
}


@pytest.mark.parametrize("case", STRICT)
def test_strict_form_is_each_tag_once_and_nothing_after(case):
    text, prefix, format_ok = STRICT[case]
    assert split_response(text, prefix, strict=True).format_ok is format_ok


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "x", " ", "\n"]), max_size=12
    ).map("".join)
)
def test_strict_form_is_good_form_too(text):
    strict = split_response(text, strict=True)
    assert not strict.format_ok or split_response(text).format_ok
    assert strict.answer == split_response(text).answer


BLOCKS = {
    "two blocks": ("```python\nx = 1\n```\n```input\n5\n```", [("python", "x = 1"), ("input", "5")]),
    "on one line": ("```input 5```", [("input", "5")]),
    "no label": ("```\nx = 1\n```", [("", "x = 1")]),
    "no label, on one line": ("```x = 1```", [("", "x = 1")]),
    "other label": ("```json\n{}\n```", [("json", "{}")]),
    "upper case": ("```Python\nx = 1\n```", [("python", "x = 1")]),
    "numbered": ("```input_3\n5\n```", [("input_3", "5")]),
    "number beside the label": ("```input 2\n'a', 5\n```", [("input_2", "'a', 5")]),
    "number and colon beside the label": ("```input #12:\n5\n```", [("input_12", "5")]),
    "a number on the fence's line is the input": ("```input 5\n```", [("input", "5")]),
    "shared fence": ("```python\nx = 1\n```input\n5\n```", [("python", "x = 1"), ("input", "5")]),
    "unclosed": ("```python\nx = 1\n", []),
    "fence in a program's string": (
        "```python\nx = '''\n```\n'''\n```\n```input\n1\n```",
        [("python", "x = '''\n```\n'''"), ("input", "1")],
    ),
    "fence in an input's string": ("```input\n'a```b'\n```", [("input", "'a```b'")]),
    "program that does not parse": (
        "```python\nx = = 1\n```\n```input\n1\n```",
        [("python", "x = = 1"), ("input", "1")],
    ),
    "fence inside a message line": (
        "```message\nuse ``` here\n```\n```input\n1\n```",
        [("message", "use ``` here"), ("input", "1")],
    ),
    "indentation is kept": ("```input\n  1,\n  2\n```", [("input", "  1,\n  2")]),
    "four backticks": ("````python\nx = 1\n````", [("python", "x = 1")]),
}


@pytest.mark.parametrize("case", BLOCKS)
def test_fenced_blocks(case):
    text, expected = BLOCKS[case]
    found = fenced_blocks(text)
    assert found[: len(expected)] == [Block(*each) for each in expected] and (
        len(found) == len(expected) or "````" in text
    )


def proposal(code: str, input_text: str = "1", **rules) -> Proposal | Rejection:
    return parse_proposal(
        TaskType.DEDUCTION, f"```python\n{code}\n```\n```input\n{input_text}\n```", SelfPlayConfig(**rules)
    )


REFUSED = {
    "": "no_answer",
    "```input\n1\n```": "no_code_block",
    "```python\ndef f(x):\n    return x\n```": "no_input_block",
    "```python\ndef f(x):\n    return x\n```\n```input\n\n```": "empty_input",
    "```python\nx = 1\n```\n```input\n1\n```": "no_function",
    "```python\nasync def f(x):\n    return x\n```\n```input\n1\n```": "no_function",
    "```python\nf = lambda x: x\n```\n```input\n1\n```": "no_function",
    "```python\ndef f(x:\n```\n```input\n1\n```": "syntax_error",
    "```python\ndef a(x):\n    f = 1\n    return a(f)\n```\n```input\n1\n```": "name_conflict",
    "```python\n" + "x = 1\n" * 5000 + "```\n```input\n1\n```": "program_too_long",
    "```python\ndef g(x):\n    return x ^ 0x" + "f" * 4000 + "\n```\n```input\n1\n```": "syntax_error",
}


@pytest.mark.parametrize("answer", REFUSED)
def test_proposals_refused_with_a_reason(answer):
    found = parse_proposal(TaskType.DEDUCTION, answer, SelfPlayConfig())
    assert isinstance(found, Rejection) and found.reason == REFUSED[answer]


def test_input_heading_is_read_too():
    found = parse_proposal(
        TaskType.ABDUCTION, "```python\ndef f(x):\n    return x\n```\n# Input:\n 5, 6\n", SelfPlayConfig()
    )
    assert isinstance(found, Proposal) and found.inputs == ("5, 6",)


TWO = "def a(x):\n    return 'a', b(x)\ndef b(x):\n    return 'b', x"
WITH_F = "def a(x):\n    return f(x)\ndef f(x):\n    return x\ndef c(x):\n    return f(x), a(x)"


@pytest.mark.parametrize(
    ("code", "entry_point", "entry"),
    [
        (TWO, "not_first", "a"),
        (TWO, "not_last", "b"),
        (TWO, "any_first", "a"),
        (TWO, "any_last", "b"),
        (WITH_F, "not_first", "a"),
        (WITH_F, "not_last", "c"),
        (WITH_F, "any_first", "f"),
        (WITH_F, "any_last", "f"),
    ],
)
def test_entry_points(code, entry_point, entry):
    found = proposal(code, entry_point=entry_point, reject_multiple_functions=False)
    assert isinstance(found, Proposal)
    before: dict = {}
    after: dict = {}
    exec(code, before)
    exec(found.code, after)
    assert after["f"](7) == before[entry](7)


def test_code_location():
    answer = (
        "```python\ndef f(x):\n    return 1\n```\n```python\ndef f(x):\n    return 2\n```\n```input\n1\n```"
    )
    for location, returned in (("first", "return 1"), ("last", "return 2")):
        found = parse_proposal(TaskType.DEDUCTION, answer, SelfPlayConfig(code_location=location))
        assert isinstance(found, Proposal) and returned in found.code


@pytest.mark.parametrize(
    "code",
    [
        "test_input = 3\ndef f(x):\n    return x",
        "def f(x):\n    return x\nprint(f(3))",
        "def f(x):\n    return x\nf([1])",
        "def f(x):\n    assert x\n    return x",
        "def f(x):\n    return x\n# Test: 3",
        "def f(x):\n    return x\ninput",
        "def solve(x):\n    return x\nexpected = 3",
    ],
)
def test_test_inputs_in_code(code):
    assert isinstance(proposal(code), Proposal)
    found = proposal(code, reject_test_input=True)
    assert isinstance(found, Rejection) and found.reason == "test_input_in_code"


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    result = f(x - 1) if x else 0\n    return result",
        "def f(text_input):\n    return '# test: f([1])'",
        "def f(x):\n    print('f(x)')\n    return x",
    ],
)
def test_honest_code_holds_no_test_input(code):
    assert isinstance(proposal(code, reject_test_input=True), Proposal)


def test_removals():
    code = '"""doc"""\nimport re\nLIMIT = 3\ndef f(x):\n    # why\n    print(x)\n    return x\nprint(f(1))'
    found = proposal(code, strip_comments=True, strip_globals=True, strip_prints=True)
    assert isinstance(found, Proposal)
    assert (
        found.code == "import re\n\ndef f(x):\n    return x"
        or found.code == "import re\ndef f(x):\n    return x"
    )
    assert found.imports == ("import re",)
    untouched = proposal(code)
    assert isinstance(untouched, Proposal) and untouched.code == code


def test_induction_proposals():
    inputs = "".join(f"```input\n{number}\n```\n" for number in range(3))
    rules = SelfPlayConfig(num_inputs=3)
    for message in ("```message\nhello\n```", "<message>hello</message>", "# Message: hello"):
        found = parse_proposal(TaskType.INDUCTION, inputs + message, rules, program=PROGRAM)
        assert isinstance(found, Proposal) and (found.message, found.inputs, found.code) == (
            "hello",
            ("0", "1", "2"),
            PROGRAM.code,
        )
    found = parse_proposal(TaskType.INDUCTION, inputs, rules, program=PROGRAM)
    assert isinstance(found, Rejection) and found.reason == "no_message"
    found = parse_proposal(TaskType.INDUCTION, inputs + "```message\n```", rules, program=PROGRAM)
    assert isinstance(found, Proposal) and found.message == ""


def test_usable_inputs_are_left_to_validation():
    rules = SelfPlayConfig(num_inputs=3, usable_inputs=True)
    answer = "```input_1\n1\n```\n```input_2\n\n```\n```input 3\n2\n```\n"
    found = parse_proposal(TaskType.INDUCTION, answer, rules, program=PROGRAM)
    assert isinstance(found, Proposal) and (found.inputs, found.message) == (("1", "2"), "")
    found = parse_proposal(TaskType.INDUCTION, "```message\nhi\n```", rules, program=PROGRAM)
    assert isinstance(found, Rejection) and found.reason == "too_few_inputs"


SOLUTIONS = [
    (TaskType.ABDUCTION, "```input\n1, 2\n```", "1, 2"),
    (TaskType.ABDUCTION, "```input\n1\n```\nor rather\n```input\n2\n```", "2"),
    (TaskType.ABDUCTION, "# Input: 'a', 3", "'a', 3"),
    (TaskType.ABDUCTION, "input('a', (1, 2))", "'a', (1, 2)"),
    (TaskType.ABDUCTION, "<input>5</input>", "5"),
    (TaskType.ABDUCTION, "I think the input is 5.", "5"),
    (TaskType.ABDUCTION, " 'quoted' ", "'quoted'"),
    (TaskType.DEDUCTION, "```output\n[1]\n```", "[1]"),
    (TaskType.DEDUCTION, "```\n[1]\n```\nthe output is [2]", "[2]"),
    (TaskType.DEDUCTION, "42", "42"),
    (TaskType.ERROR, "```output\nValueError\n```", "ValueError"),
    (TaskType.ERROR, "```error\nValueError\n```", "ValueError"),
    (
        TaskType.INDUCTION,
        "```python\ndef f(x):\n    return 1\n```\n```\ndef f(x):\n    return 2\n```",
        "def f(x):\n    return 2",
    ),
]


@pytest.mark.parametrize(("task_type", "answer", "solution"), SOLUTIONS)
def test_solutions(task_type, answer, solution):
    assert parse_solution(task_type, answer) == solution


def test_an_induction_solution_needs_a_block():
    found = parse_solution(TaskType.INDUCTION, "def f(x): return x")
    assert isinstance(found, Rejection) and found.reason == "no_code_block"


FRAGMENTS = st.sampled_from(
    ["```", "```python\n", "```input\n", "```output\n", "```message\n", "\n", " ", "<think>", "</think>", "<answer>", "</answer>", "def f(x):\n",
     "    return x\n", "class A:\n", "'", '"""', "(", "[" * 50, "\\", "# Input:", "input(", "the input is ", "\x00", "\ud800", "é", "1", ",", "f", "-"]
)  # fmt: skip
HOSTILE = st.one_of(st.text(max_size=300), st.lists(FRAGMENTS, max_size=60).map("".join))


@settings(max_examples=400, deadline=None)
@given(HOSTILE, st.sampled_from(["", "<think>"]), st.sampled_from(list(TaskType)))
def test_parsing_never_raises(text, prefix, task_type):
    for answer in (text, split_response(text, prefix).answer):
        found = parse_proposal(
            task_type,
            answer,
            SelfPlayConfig(num_inputs=2, reject_test_input=True, strip_globals=True),
            program=PROGRAM,
        )
        assert isinstance(found, (Proposal, Rejection))
        assert isinstance(parse_solution(task_type, answer), (str, Rejection))


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=60))
def test_any_string_literal_survives_its_block(text):
    literal = repr(text)
    if "<answer>" in text or "</answer>" in text:
        return
    answer = split_response(f"x</think><answer>```output\n{literal}\n```</answer>", "<think>").answer
    assert parse_solution(TaskType.DEDUCTION, answer) == literal


@pytest.mark.parametrize(
    "text",
    [
        "```python\n" * 5000,
        "```input\n(" * 3000,
        "input(" * 6000,
        "the input is" + " " * 20000 + "x",
        "# Input:" * 4000,
        "</think>" + " " * 30000,
        "<answer>" * 5000,
        "```python\nx = " + "(" * 15000 + "\n```",
        "```python\nx = " + "1 + " * 9000 + "1\n```",
    ],
)
def test_hostile_lengths_end(text):
    """Each of these takes well under a second; quadratic parsing would run into the test's time limit."""
    for task_type in TaskType:
        parse_proposal(task_type, text, SelfPlayConfig(), program=PROGRAM)
        parse_solution(task_type, text)
    split_response(text, "<think>")
