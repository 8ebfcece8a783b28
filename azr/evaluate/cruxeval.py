"""CRUXEval (arXiv 2401.03065): its authors' prompts in the native styles, our task prompts inside the frame.

Values compare as in Python (True equals 1). In the native styles an answer that is an expression such as ``2
+ 3`` is evaluated in the sandbox, as the authors' harness evaluates it; inside the frame an answer is a
literal, as in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from azr.config.selfplay import SelfPlayConfig
from azr.evaluate.items import CHAT, Habits, Item, Speaker, native_item
from azr.evaluate.records import records
from azr.evaluate.tasks_suite import TaskSuite, task_suite
from azr.evaluate.texts import filled
from azr.sandbox.values import ValueReadError, canonical_text
from azr.tasks import Prompt, Task, TaskType

TYPES = {"cruxeval-i": TaskType.ABDUCTION, "cruxeval-o": TaskType.DEDUCTION}
FIELDS = {"code": str, "input": str, "output": str, "id": (str, int)}
_STOPS = ("[/ANSWER]",)
HABITS = {"native": Habits(_STOPS, _STOPS, 512), "native-cot": Habits(_STOPS, _STOPS, 1536)}


@dataclass(frozen=True)
class Assertion:
    """``assert f(x) == y`` about a program, of which one side is asked."""

    item_id: str
    task: Task
    shown: Mapping[str, str]
    """What the authors' prompts are filled with: ``code``, ``call`` and ``output``."""


def cruxeval_suite(
    path: Path, name: str, config: SelfPlayConfig, style: str = "frame", speaker: Speaker = CHAT
) -> TaskSuite:
    """An item whose output is not a literal cannot be judged without evaluating text; it is left out and named.

    Raises:
        DataError: no such file, or a record lacks a field.
    """
    asked, left_out = [], []
    for _, record in records(path, name, FIELDS):
        item_id, code, given, output = str(record["id"]), record["code"], record["input"], record["output"]
        try:
            gold = canonical_text(output)
        except ValueReadError as error:
            left_out.append(f"{item_id}: its output is not a literal ({error})")
            continue
        task = Task(task_type=TYPES[name], code=code, inputs=(given,), outputs=(gold,))
        asked.append(Assertion(item_id, task, {"code": code, "call": f"f({given})", "output": output}))
    return assertion_suite(name, asked, left_out, config, style, speaker, prompts=name)


def assertion_suite(
    name: str,
    asked: Sequence[Assertion],
    left_out: Sequence[str],
    config: SelfPlayConfig,
    style: str,
    speaker: Speaker,
    *,
    prompts: str,
) -> TaskSuite:
    """
    Args:
        prompts: the suite whose authors' prompts are used in the native styles.

    Raises:
        DataError: two items have one id, or there are none.
    """

    def native(assertion: Assertion) -> Item:
        text = filled(f"{prompts}.{style}", **assertion.shown)
        chat = Prompt((("user", text),), raw=False)
        return native_item(assertion.item_id, name, chat, f"{text}\n", HABITS[style], speaker)

    return task_suite(
        name,
        [(each.item_id, name, each.task) for each in asked],
        replace(config, format_reward=True, bool_equals_int=True, int_equals_float=True),
        left_out,
        native=None if style == "frame" else [native(each) for each in asked],
        style=style,
    )
