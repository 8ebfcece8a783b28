"""How a model is spoken to in its native style: through its chat template, or by plain text that it continues."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jinja2

from azr.errors import ModelError
from azr.evaluate.items import Speaker
from azr.models.tokenizer_files import named_end_tokens
from azr.system.files import read_json
from azr.train.tokens import load_tokenizer

FORMS = ("auto", "chat", "plain")


# a tokenizer takes a second to read, and every suite and style of a model asks
@functools.lru_cache(maxsize=32)
def speaker_of(folder: Path, form: str = "auto", *, trust_remote_code: bool = False) -> Speaker:
    """
    Args:
        folder: with config.json and the tokenizer's files; weights are not looked at.
        form: ``chat`` or ``plain`` overrides what the folder says.

    Raises:
        ModelError: the tokenizer or its chat template cannot be read, or ``chat`` is asked of a model without one.
    """
    context = read_json(folder / "config.json").get("max_position_embeddings")
    try:
        tokenizer = load_tokenizer(folder, trust_remote_code)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: its tokenizer cannot be read ({error})") from error
    if form == "chat" and tokenizer.chat_template is None:
        raise ModelError(
            f"{folder} has no chat template, so it cannot be prompted as a chat; drop --native-form"
        )
    try:
        chat = _ends_turns(tokenizer, folder) if form == "auto" else form == "chat"
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise ModelError(
            f"the chat template of {folder} cannot be used: {error or type(error).__name__}; correct it, or ask the model "
            "as one without: --native-form plain"
        ) from error
    return Speaker(chat, context if isinstance(context, int) else 0)


def _ends_turns(tokenizer: Any, folder: Path) -> bool:
    """Whether the model was taught its chat template: that ends an answer with a token at which the model
    stops. Base models often carry the template of their instruct sibling, but stop at another token."""
    if tokenizer.chat_template is None:
        return False
    mark = "ANSWER"
    messages = [{"role": "user", "content": "QUESTION"}, {"role": "assistant", "content": mark}]
    after = str(tokenizer.apply_chat_template(messages, tokenize=False)).rpartition(mark)[2]
    ids = {*named_end_tokens(folder), tokenizer.eos_token_id} - {None}
    ends = [tokenizer.convert_ids_to_tokens(each) for each in ids]
    return any(end and end in after for end in ends)
