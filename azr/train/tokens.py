"""Prompts to token ids: one path for the trainer's length checks and for the engine, so that both see the same tokens."""

from __future__ import annotations

from typing import Any

from azr.tasks import Prompt


def prompt_token_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Token ids of a prompt: a raw text without special tokens, or chat messages through the model's own template.

    A chat prompt with a ``response_prefix`` ends with that prefix, after the template's generation marker (spec 2.1).
    """
    if prompt.raw:
        return list(tokenizer.encode(prompt.text, add_special_tokens=False))
    messages = [{"role": role, "content": content} for role, content in prompt.messages]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + prompt.response_prefix
    return list(tokenizer.encode(text, add_special_tokens=False))
