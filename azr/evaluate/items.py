"""What a suite is: items with prompts, and a judge of answers."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from azr.config.selfplay import SelfPlayConfig
from azr.errors import DataError
from azr.prompts import load_frame
from azr.sandbox import Sandbox
from azr.system.hashes import json_hash
from azr.tasks import Prompt

NATIVE_PROMPT_TOKENS = 4096


@dataclass(frozen=True)
class Item:
    """One question."""

    item_id: str
    """Unique in its suite."""
    kind: str
    """What results are broken down by: a task type, or the suite itself."""
    prompt: Prompt
    stop: Sequence[str] = ()
    """Texts before which a continuation is cut."""
    remedy: str = ""
    """What was done because the prompt first drafted did not fit the model's limit; '' where it fitted, or
    nothing could be done."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """``max_prompt_tokens`` and ``max_response_tokens`` of its own; empty: as the model's run has them."""


@dataclass(frozen=True)
class Rating:
    score: float
    """0 to 1. In a frame: read strictly, an answer outside the format scores 0."""
    reason: str
    format_ok: bool
    answer: str
    """What was read from the response and judged."""
    lenient: float | None = None
    """In a frame: the score of the answer wherever it stands. None: there is only one reading."""
    lenient_reason: str = ""


@dataclass(frozen=True)
class Speaker:
    """What native prompts depend on: how the model is spoken to, and how much it can hold."""

    chat: bool = True
    """Through its chat template; else it continues plain text."""
    context: int = 0
    """Tokens of its context; 0: not known, so never the obstacle."""
    prompt_tokens: int = 0
    """Limit of prompts that the user requested; 0: none."""
    response_tokens: int = 0
    """Limit of answers that the user requested, instead of the harnesses' own; 0: none."""
    asked: bool = True
    """False where answers are there already, so that prompts do not matter."""

    def limits(self, response: int) -> dict[str, int]:
        """Of a native prompt, and of an answer that the suite's harness gives ``response`` tokens."""
        response = self.response_tokens or response
        room = self.context - response if self.context else NATIVE_PROMPT_TOKENS
        prompt = self.prompt_tokens or min(NATIVE_PROMPT_TOKENS, room)
        return {"max_prompt_tokens": prompt, "max_response_tokens": response}


CHAT = Speaker()


@dataclass(frozen=True)
class Habits:
    """How a suite's harness takes native answers."""

    chat_stops: Sequence[str] = ()
    plain_stops: Sequence[str] = ()
    response_tokens: int = 768


@dataclass(frozen=True)
class Asking:
    """How a suite is asked, and its answers read."""

    config: SelfPlayConfig
    """Frame and grading switches."""
    style: str = "frame"
    """One of ``STYLES``."""
    speaker: Speaker = CHAT
    """How the model is spoken to in its native style."""

    def item(self, item_id: str, kind: str, framed: str, chat: Prompt, plain: str, habits: Habits) -> Item:
        """A question as a task inside the frame, or in the words of the suite's authors: a chat, or the text that a model
        without one continues."""
        if self.style == "frame":
            return Item(item_id, kind, load_frame(self.config.frame).wrap(framed, (framed,)))
        prompt, stops = replace(chat, quoted=tuple(text for _, text in chat.messages)), habits.chat_stops
        if not self.speaker.chat:
            prompt, stops = Prompt((("user", plain),), raw=True, quoted=(plain,)), habits.plain_stops
        return Item(item_id, kind, prompt, stops, limits=self.speaker.limits(habits.response_tokens))


@dataclass(frozen=True, kw_only=True)
class Suite(ABC):
    """Items and their judge."""

    name: str
    style: str = "frame"
    """One of ``STYLES``."""
    items: Sequence[Item]
    left_out: Sequence[str] = ()
    """Sentences on records that could not become items."""
    notes: Sequence[str] = ()
    """Sentences on how the items were made."""

    def __post_init__(self) -> None:
        """Raises: DataError: two items have one id, or there are none."""
        if not self.items:
            raise DataError(
                f"suite {self.name} has no items" + (f": {self.left_out[0]}" if self.left_out else "")
            )
        [(item_id, times)] = Counter(item.item_id for item in self.items).most_common(1)
        if times > 1:
            raise DataError(f"suite {self.name}: two items are called {item_id!r}; ids must be unique")

    @abstractmethod
    async def judge(self, item: Item, text: str, sandbox: Sandbox) -> Rating:
        """Raises:
        SandboxError: the sandbox itself failed; says nothing about the answer.
        """


def folder_name(suite: Suite) -> str:
    """Of the answers to a suite in a style."""
    return suite.name if suite.style == "frame" else f"{suite.name}-{suite.style}"


def suite_fingerprint(suite: Suite) -> str:
    """Hash of what is asked: ids, prompts and stops, 16 hex digits. Answers belong to one fingerprint."""
    body = [
        [item.item_id, item.prompt.messages, item.prompt.raw, item.prompt.response_prefix, item.stop]
        for item in suite.items
    ]
    return json_hash([suite.name, body], 16)


def evenly(items: Sequence[Item], limit: int) -> list[Item]:
    """At most ``limit`` items in their order, the same ones each time; 0 takes all.

    Of one kind: evenly spaced. Of several: of each its share, drawn, because files of tasks repeat their kinds and
    families in cycles, of which every k-th item meets some and misses others.
    """
    if not limit or limit >= len(items):
        return list(items)
    places = list(range(len(items)))
    if len({item.kind for item in items}) > 1:
        random.Random(0).shuffle(places)
        places.sort(key=lambda place: items[place].kind)
    chosen = (places[index * len(places) // limit] for index in range(limit))
    return [items[place] for place in sorted(chosen)]


def everything_fits(prompt: Prompt) -> bool:
    """For suites that are built without a model at hand."""
    return True
