"""CRUXEval (arXiv 2401.03065): its authors' prompts in the native styles, our task prompts inside the frame.

Values compare as in Python (True equals 1). In the native styles an answer that is an expression such as ``2
+ 3`` is evaluated in the sandbox, as the authors' harness evaluates it; inside the frame an answer is a
literal, as in training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from azr.config.selfplay import SelfPlayConfig
from azr.evaluate.items import CHAT, Item, Speaker
from azr.evaluate.records import records
from azr.evaluate.tasks_suite import TaskSuite, task_suite
from azr.sandbox.values import ValueReadError, canonical_text
from azr.tasks import Prompt, Task, TaskType

TYPES = {"cruxeval-i": TaskType.ABDUCTION, "cruxeval-o": TaskType.DEDUCTION}
FIELDS = {"code": str, "input": str, "output": str, "id": (str, int)}
RESPONSE_TOKENS = {"native": 512, "native-cot": 1536}
STOPS = ("[/ANSWER]",)

DIRECT_INPUT = """\
You will be given a function f and an output in the form f(??) == output. Find any input such that executing f on the input leads to \
the given output. There may be multiple answers, but you should only output one. In [ANSWER] and [/ANSWER] tags, complete the assertion \
with one such input that will produce the output when executing the function.

[PYTHON]
def f(my_list):
    count = 0
    for i in my_list:
        if len(i) % 2 == 0:
            count += 1
    return count
assert f(??) == 3
[/PYTHON]
[ANSWER]
assert f(["mq", "px", "zy"]) == 3
[/ANSWER]

[PYTHON]
def f(s1, s2):
    return s1 + s2
assert f(??) == "banana"
[/PYTHON]
[ANSWER]
assert f("ba", "nana") == "banana"
[/ANSWER]

[PYTHON]
{code}
assert f(??) == {output}
[/PYTHON]
[ANSWER]
"""

DIRECT_OUTPUT = """\
You are given a Python function and an assertion containing an input to the function. Complete the assertion with a literal (no \
unsimplified expressions, no function calls) containing the output when executing the provided code on the given input, even if the \
function is incorrect or incomplete. Do NOT output any extra information. Provide the full assertion with the correct output in \
[ANSWER] and [/ANSWER] tags, following the examples.

[PYTHON]
def f(n):
    return n
assert f(17) == ??
[/PYTHON]
[ANSWER]
assert f(17) == 17
[/ANSWER]

[PYTHON]
def f(s):
    return s + "a"
assert f("x9j") == ??
[/PYTHON]
[ANSWER]
assert f("x9j") == "x9ja"
[/ANSWER]

[PYTHON]
{code}
assert f({input}) == ??
[/PYTHON]
[ANSWER]
"""

COT_INPUT = """\
You will be given a function f and an output in the form f(??) == output. Your task is to find any input such that executing f on the \
input leads to the given output. There may be multiple answers, but only output one. First, think step by step. You MUST surround the \
answer with [ANSWER] and [/ANSWER] tags. Express your answer as a passing assertion containing the input and the given output.

[PYTHON]
def f(x):
    return x + 1
assert f(??) == 17
[/PYTHON]
[THOUGHT]
To find an input such that executing f on the input leads to the given output, we can work backwards from the given assertion. We know \
that f(??) == 17.\x20

Since the function f(x) returns x + 1, for f(??) to be equal to 17, the value of ?? should be 16.\x20
[/THOUGHT]
[ANSWER]
assert f(16) == 17
[/ANSWER]

[PYTHON]
{code}
assert f(??) == {output}
[/PYTHON]
[THOUGHT]
"""

COT_OUTPUT = """\
You are given a Python function and an assertion containing an input to the function. Complete the assertion with a literal (no \
unsimplified expressions, no function calls) containing the output when executing the provided code on the given input, even if the \
function is incorrect or incomplete. Do NOT output any extra information. Execute the program step by step before arriving at an answer, \
and provide the full assertion with the correct output in [ANSWER] and [/ANSWER] tags, following the examples.

[PYTHON]
def performOperation(s):
    s = s + s
    return "b" + s + "a"
assert performOperation(s = "hi") == ??
[/PYTHON]
[THOUGHT]
Let's execute the code step by step:

1. The function performOperation is defined, which takes a single argument s.
2. The function is called with the argument "hi", so within the function, s is initially "hi".
3. Inside the function, s is concatenated with itself, so s becomes "hihi".
4. The function then returns a new string that starts with "b", followed by the value of s (which is now "hihi"), and ends with "a".
5. The return value of the function is therefore "bhihia".
[/THOUGHT]
[ANSWER]
assert performOperation(s = "hi") == "bhihia"
[/ANSWER]

[PYTHON]
{code}
assert f({input}) == ??
[/PYTHON]
[THOUGHT]
"""

PROMPTS = {
    ("cruxeval-i", "native"): DIRECT_INPUT,
    ("cruxeval-i", "native-cot"): COT_INPUT,
    ("cruxeval-o", "native"): DIRECT_OUTPUT,
    ("cruxeval-o", "native-cot"): COT_OUTPUT,
}


def cruxeval_suite(
    path: Path, name: str, config: SelfPlayConfig, style: str = "frame", speaker: Speaker = CHAT
) -> TaskSuite:
    """CRUXEval from a JSONL file with the fields ``code``, ``input``, ``output``, ``id``.

    An item whose output is not a literal cannot be judged without evaluating text; it is left out and named.

    Raises:
        DataError: no such file, or a record lacks a field.
    """
    tasks: list[tuple[str, str, Task]] = []
    native: dict[str, Item] = {}
    left_out = []

    for _, record in records(path, name, FIELDS):
        item_id = str(record["id"])
        try:
            gold = canonical_text(record["output"])
        except ValueReadError as error:
            left_out.append(f"{item_id}: its output is not a literal ({error})")
            continue
        tasks.append(
            (
                item_id,
                name,
                Task(task_type=TYPES[name], code=record["code"], inputs=(record["input"],), outputs=(gold,)),
            )
        )
        if style != "frame":
            native[item_id] = _native_item(item_id, name, style, record, speaker)

    judging = replace(config, format_reward=True, bool_equals_int=True, int_equals_float=True)
    return task_suite(name, tasks, judging, left_out, style=style, native=native)


def _native_item(item_id: str, name: str, style: str, record: Mapping[str, str], speaker: Speaker) -> Item:
    prompt = native_prompt(filled(PROMPTS[name, style], record), speaker)
    return Item(item_id, name, prompt, STOPS, limits=speaker.limits(RESPONSE_TOKENS[style]))


def filled(template: str, record: Mapping[str, str]) -> str:
    """The template with the record's fields; ``format`` would read the braces of programs."""
    return re.sub(r"\{(code|input|output)\}", lambda match: record[match[1]], template)


def native_prompt(text: str, speaker: Speaker) -> Prompt:
    """As the message of a user, or as text to be continued."""
    return Prompt((("user", text.rstrip("\n") if speaker.chat else text),), raw=not speaker.chat)
