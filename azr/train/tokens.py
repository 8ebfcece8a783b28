"""Prompts to token ids, and which tokens end a response: one path for the trainer, the engine, probes and evaluation.

What the tokenizer itself puts before a text (mostly a beginning-of-sequence token) stands once before every
raw prompt, because models that were trained with it fall apart without. A chat template says by itself what a
conversation begins with. Only frames and templates write control tokens and tags that are tokens: their names inside a
task are text.
"""

from __future__ import annotations

import datetime
import functools
import re
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2

from azr.errors import ModelError
from azr.models.tokenizer_files import named_end_tokens
from azr.models.weight_files import read_json_file
from azr.parsing.response import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from azr.system.files import write_json_atomic
from azr.tasks import Prompt

TAGS = (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE)
TEMPLATE_DAY = datetime.date(2025, 1, 1)
"""Today, for a chat template that asks (Llama 3.2, Mistral): else a run's prompts would change at midnight, and scores
of different days would belong to different prompts."""

_BARRED_NAME = re.compile(r"<[|｜].+[|｜]>")


def load_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    """The tokenizer of a model's folder; nothing is fetched.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except (ImportError, OSError, ValueError):
        raise
    except Exception as error:  # of a file with other content, whatever looking into it raises
        raise ValueError(f"{type(error).__name__}: {error}") from error


def prompt_token_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt: a raw text behind what the tokenizer begins with, or chat messages through the
    model's own template.

    A chat prompt with a ``response_prefix`` ends with that prefix, after the template's generation marker.

    Raises:
        ModelError: the tokenizer has no chat template, or the template refuses the messages.
    """
    text = (
        prompt.text
        if prompt.raw
        else _without_opened_thought(chat_text(tokenizer, prompt.messages)) + prompt.response_prefix
    )
    ends = [0, *_cuts(tokenizer, prompt, text), len(text)]
    ids = [token for start, end in pairwise(ends) for token in _piece_ids(tokenizer, text[start:end], start)]
    beginning = _beginning(tokenizer) if prompt.raw else []
    return ids if ids[: len(beginning)] == beginning else [*beginning, *ids]


class PromptTokens:
    """Token ids of prompts, each found once: whether a prompt fits is asked before it is sent."""

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._known: dict[Prompt, list[int]] = {}

    def ids(self, prompt: Prompt) -> list[int]:
        if prompt not in self._known:
            self._known[prompt] = prompt_token_ids(self._tokenizer, prompt)
        return self._known[prompt]

    def fits(self, prompt: Prompt) -> bool:
        return len(self.ids(prompt)) <= self._max_tokens

    def learn(self, prompt: Prompt, ids: list[int]) -> None:
        """Takes over what another process found."""
        self._known[prompt] = ids

    def forget(self) -> None:
        self._known.clear()


def chat_text(tokenizer: Any, messages: Sequence[tuple[str, str]]) -> str:
    """The messages in the model's own chat template; where that has no place for a system message, the user's
    begins with it.

    Raises:
        ModelError: there is no template, or it refuses the messages, or leaves some out, or changes them.
    """
    refusals = []
    has_system = any(role == "system" and content.strip() for role, content in messages)
    for tried in ([messages] if has_system else []) + [_without_system(messages)]:
        try:
            text = _rendered(tokenizer, tried)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            refusals.append(str(error) or type(error).__name__)
            continue
        if all(content.strip() in text for _, content in tried):
            return text
        refusals.append(f"it makes {text[:120]!r} of it, in which the question does not stand as it is")
    name = getattr(tokenizer, "name_or_path", "the tokenizer")
    raise ModelError(
        f"the chat template of {name} refuses a plain question: {'; '.join(dict.fromkeys(reversed(refusals)))}; "
        "use a frame without chat messages (selfplay.frame=paper or compact), or another model"
    )


def end_token_ids(tokenizer: Any, model_folder: str | Path) -> frozenset[int]:
    """Every token that ends a response: the tokenizer's own, and those that the model's generation settings list.

    The engine stops at each of them. The first of them in a response is its last token, and is trained like the others.

    Raises:
        ModelError: there is none.
    """
    own = tokenizer.eos_token_id
    ends = frozenset(named_end_tokens(Path(model_folder))) | ({own} if own is not None else frozenset())
    if not ends:
        raise ModelError(
            f"{model_folder} names no end token, so no response would ever end; name eos_token in tokenizer_config.json"
        )
    return ends


def keep_generation_settings(model_folder: Path, saved: Path) -> None:
    """Makes a saved model end its responses where the one in ``model_folder`` does, and at the tokenizer's own end token, which
    ends them here as well and which programs that go by the settings would pass over.

    verl leaves generation settings out that transformers calls invalid (a temperature without ``do_sample``),
    and puts the tokenizer's end token in place of several in config.json.
    """
    name = "generation_config.json"
    ends = named_end_tokens(model_folder)
    own = read_json_file(saved / "config.json").get("eos_token_id")
    every = [*ends, *([own] if isinstance(own, int) and own not in ends else [])]
    given = (model_folder / name).is_file()
    if given and len(every) == len(ends):
        shutil.copyfile(model_folder / name, saved / name)
    elif given:
        write_json_atomic(saved / name, {**read_json_file(model_folder / name), "eos_token_id": every})
    elif tuple(every) != named_end_tokens(saved):
        write_json_atomic(saved / name, {"eos_token_id": every})


def response_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of a response without special tokens; think and answer tags are kept where a tokenizer has
    them as such."""
    dropped = _dropped_ids(tokenizer)
    kept = [token for token in ids if token not in dropped]
    return tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)


@functools.lru_cache(maxsize=8)
def _dropped_ids(tokenizer: Any) -> frozenset[int]:
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    tags = {number for number, token in tokenizer.added_tokens_decoder.items() if token.content in TAGS}
    return frozenset(special | set(tokenizer.all_special_ids)) - tags


@functools.lru_cache(maxsize=8)
def _control_names(tokenizer: Any) -> tuple[str, ...]:
    """What stands for a control token in a text, or for a tag where that is a token."""
    dropped = _dropped_ids(tokenizer)
    return tuple(
        token.content
        for number, token in tokenizer.added_tokens_decoder.items()
        # Qwen does not call its tokens for filling in the middle special
        if token.content in TAGS
        or (len(token.content) > 1 and (number in dropped or _BARRED_NAME.fullmatch(token.content)))
    )


def _cuts(tokenizer: Any, prompt: Prompt, text: str) -> list[int]:
    """Where ``text``, which holds the prompt's contents, is cut so that what they quote names no control token: behind the
    first character of each such name."""
    names = [name for name in _control_names(tokenizer) if any(name in part for part in prompt.quoted)]
    cuts: set[int] = set()
    for content in (content.strip() for _, content in prompt.messages if names):
        begin = text.find(content)
        for part in prompt.quoted:
            # a template of the user's own may indent it
            pieces = (
                [part.strip()] if part.strip() in content else [line.strip() for line in part.splitlines()]
            )
            for piece in pieces:
                if piece in TAGS:  # cannot be told from the frame's own
                    continue
                inside = [at + 1 for name in names for at in _places(name, piece)]
                cuts |= {begin + at + one for one in inside for at in _places(piece, content)}
    return sorted(cuts)


def _places(part: str, text: str) -> list[int]:
    return [match.start() for match in re.finditer(f"(?={re.escape(part)})", text)]


def _piece_ids(tokenizer: Any, piece: str, start: int) -> list[int]:
    """Token ids of a piece of a text. Llama's and Mistral's older tokenizers put a space before whatever they get,
    which only the text's beginning is to have."""
    ids = list(tokenizer.encode(piece, add_special_tokens=False))
    if start:
        before = list(tokenizer.encode("\n", add_special_tokens=False))
        behind = list(tokenizer.encode(f"\n{piece}", add_special_tokens=False))
        if behind[: len(before)] == before:
            return behind[len(before) :]
    return ids


def _without_opened_thought(text: str) -> str:
    """Some templates (DeepSeek-R1's distills, Qwen3 Thinking) open the thought themselves; whether one is
    open is the frame's to say."""
    ending = text.rstrip()
    return ending.removesuffix(THINK_OPEN) if ending.endswith(THINK_OPEN) else text


def _rendered(tokenizer: Any, messages: Sequence[tuple[str, str]]) -> str:
    chat = [{"role": role, "content": content} for role, content in messages]
    return tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True, strftime_now=TEMPLATE_DAY.strftime
    )


def _without_system(messages: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """System messages before the text of the first user message."""
    system = [content for role, content in messages if role == "system"]
    others = [(role, content) for role, content in messages if role != "system"]
    if not system or not others:
        return list(messages)
    (role, content), *rest = others
    return [(role, "\n\n".join([*system, content])), *rest]


def _beginning(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before every text by itself; what it puts behind is never wanted, because the
    model continues there."""
    plain = list(tokenizer.encode("a", add_special_tokens=False))
    whole = list(tokenizer.encode("a", add_special_tokens=True))
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start]
    return []
