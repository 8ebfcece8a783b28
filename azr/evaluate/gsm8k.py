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

from azr.config.selfplay import SelfPlayConfig
from azr.errors import DataError
from azr.evaluate.extraction import number_in
from azr.evaluate.items import CHAT, Item, Rating, Speaker, Suite
from azr.evaluate.records import records
from azr.parsing import split_response
from azr.prompts import load_frame
from azr.sandbox import Sandbox
from azr.tasks import Prompt

RESPONSE_TOKENS = 1024
PLAIN_STOPS = ("\nQ:", "\n\nQ", "\nQuestion:")
CHAT_SENTENCE = "Please reason step by step, and put your final answer within \\boxed{}."
FRAME_TASK = """\
Solve the following problem. Your final answer is a single number, without a unit.

{question}"""

EXAMPLES = """\
Q: There are 15 trees in the grove. Grove workers will plant trees in the grove today. After they are done, there will be 21 trees. How \
many trees did the grove workers plant today?
A: There are 15 trees originally. Then there were 21 trees after some more were planted. So there must have been 21 - 15 = 6. The answer \
is 6.

Q: If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?
A: There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5. The answer is 5.

Q: Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they have left in total?
A: Originally, Leah had 32 chocolates. Her sister had 42. So in total they had 32 + 42 = 74. After eating 35, they had 74 - 35 = 39. The \
answer is 39.

Q: Jason had 20 lollipops. He gave Denny some lollipops. Now Jason has 12 lollipops. How many lollipops did Jason give to Denny?
A: Jason started with 20 lollipops. Then he had 12 after giving some to Denny. So he gave Denny 20 - 12 = 8. The answer is 8.

Q: Shawn has five toys. For Christmas, he got two toys each from his mom and dad. How many toys does he have now?
A: Shawn started with 5 toys. If he got 2 toys each from his mom and dad, then that is 4 more toys. 5 + 4 = 9. The answer is 9.

Q: There were nine computers in the server room. Five more computers were installed each day, from monday to thursday. How many computers \
are now in the server room?
A: There were originally 9 computers. For each of 4 days, 5 more computers were added. So 5 * 4 = 20 computers were added. 9 + 20 is 29. \
The answer is 29.

Q: Michael had 58 golf balls. On tuesday, he lost 23 golf balls. On wednesday, he lost 2 more. How many golf balls did he have at the end \
of wednesday?
A: Michael started with 58 golf balls. After losing 23 on tuesday, he had 58 - 23 = 35. After losing 2 more, he had 35 - 2 = 33 golf \
balls. The answer is 33.

Q: Olivia has $23. She bought five bagels for $3 each. How much money does she have left?
A: Olivia had 23 dollars. 5 bagels for 3 dollars each will be 5 x 3 = 15 dollars. So she has 23 - 15 dollars left. 23 - 15 is 8. The \
answer is 8.

Q: {question}
A:"""


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


def gsm8k_suite(path: Path, config: SelfPlayConfig, style: str, speaker: Speaker = CHAT) -> NumberSuite:
    """GSM8K from its authors' JSONL file with the fields ``question`` and ``answer`` (which ends with ``####
    NUMBER``).

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
        items.append(_item(item_id, record["question"].strip(), config, style, speaker))
    return NumberSuite(name="gsm8k", style=style, golds=golds, items=items)


def _item(item_id: str, question: str, config: SelfPlayConfig, style: str, speaker: Speaker) -> Item:
    if style == "frame":
        return Item(
            item_id, "gsm8k", load_frame(config.frame).wrap(FRAME_TASK.replace("{question}", question))
        )
    limits = speaker.limits(RESPONSE_TOKENS)
    if speaker.chat:
        return Item(
            item_id, "gsm8k", Prompt((("user", f"{question}\n{CHAT_SENTENCE}"),), raw=False), limits=limits
        )
    prompt = Prompt((("user", EXAMPLES.replace("{question}", question)),), raw=True)
    return Item(item_id, "gsm8k", prompt, PLAIN_STOPS, limits=limits)
