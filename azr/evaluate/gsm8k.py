r"""GSM8K (arXiv 2110.14168): does what a run learns carry over to arithmetic?

* ``native``, chat: the question and the sentence that Qwen's harness asks instruct models with; no examples.
* ``native``, plain: the eight worked examples of arXiv 2201.11903 before the question.
* ``frame``: the question as a task inside the run's frame.

The number is read as harnesses do: inside the last ``\boxed{}``, after ``####`` or "the answer is", else the
last number.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from azr.errors import DataError
from azr.evaluate.extraction import number_in
from azr.evaluate.items import Asking, Habits, Item, Rating, Suite
from azr.evaluate.suite_records import records
from azr.evaluate.texts import filled
from azr.parsing import split_response
from azr.sandbox import Sandbox
from azr.tasks import Prompt

HABITS = Habits(plain_stops=("\nQ:", "\n\nQ", "\nQuestion:"), response_tokens=1024)
CHAT_SENTENCE = "Please reason step by step, and put your final answer within \\boxed{}."


@dataclass(frozen=True, kw_only=True)
class NumberSuite(Suite):
    golds: dict[str, Fraction]
    """By item id."""

    async def judge(self, item: Item, text: str, sandbox: Sandbox) -> Rating:
        gold = self.golds[item.item_id]
        if self.style != "frame":
            return _verdict(gold, text)
        response = split_response(text, item.prompt.response_prefix)
        inside = _verdict(gold, response.answer)
        anywhere = inside if number_in(response.answer) is not None else _verdict(gold, text)
        if response.format_ok:
            return Rating(inside.score, inside.reason, True, inside.answer, anywhere.score, anywhere.reason)
        return Rating(0.0, "bad_format", False, anywhere.answer, anywhere.score, anywhere.reason)


def _verdict(gold: Fraction, text: str) -> Rating:
    number = number_in(text)
    if number is None:
        return Rating(0.0, "no_number", True, "")
    return Rating(float(number == gold), "right" if number == gold else "wrong", True, str(number))


def gsm8k_suite(path: Path, asking: Asking) -> NumberSuite:
    """GSM8K from its authors' JSONL file with the fields ``question`` and ``answer`` (which ends with ``#### NUMBER``).

    Raises:
        DataError: no such file, or a record lacks a field.
    """
    golds: dict[str, Fraction] = {}
    items = []
    for number, (place, record) in enumerate(records(path, "gsm8k", {"question": str, "answer": str}), 1):
        if "####" not in record["answer"] or (gold := number_in(record["answer"])) is None:
            raise DataError(f"{place}: the answer has no line #### NUMBER, as the authors' file has it")
        item_id = f"gsm8k/{number}"
        golds[item_id] = gold
        question = record["question"].strip()
        framed, plain = (filled(f"gsm8k.{form}", question=question) for form in ("frame", "plain"))
        chat = Prompt((("user", f"{question}\n{CHAT_SENTENCE}"),), raw=False)
        items.append(asking.item(item_id, "gsm8k", framed, chat, plain, HABITS))
    return NumberSuite(name="gsm8k", style=asking.style, golds=golds, items=items)
