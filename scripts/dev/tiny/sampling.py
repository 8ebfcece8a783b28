"""Samples responses with transformers alone: for measuring the tiny model and for the minimal loop, without
an engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch


@torch.inference_mode()
def sample_tokens(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    temperature: float = 1.0,
    max_new_tokens: int = 128,
    batch: int = 512,
) -> list[list[int]]:
    """Response token ids of each prompt, the end token included when it came. Temperature 0 is greedy."""
    encoded = tokenizer(list(prompts)).input_ids
    ends = [tokenizer.eos_token_id]
    return sample_ids(
        model, encoded, ends, temperature=temperature, max_new_tokens=max_new_tokens, batch=batch
    )


@torch.inference_mode()
def sample_ids(
    model: Any,
    prompts: Sequence[Sequence[int]],
    ends: Collection[int],
    *,
    temperature: float = 1.0,
    max_new_tokens: int = 128,
    batch: int = 512,
) -> list[list[int]]:
    """The same of prompts in token ids; any of ``ends`` ends a response."""
    encoded, padding = [list(prompt) for prompt in prompts], min(ends)
    order = sorted(range(len(prompts)), key=lambda index: len(encoded[index]))
    responses: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        width = max(len(encoded[index]) for index in chosen)
        ids = torch.tensor(
            [[padding] * (width - len(encoded[index])) + encoded[index] for index in chosen],
            device=model.device,
        )
        settings = (
            {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
            if temperature > 0
            else {"do_sample": False}
        )
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.tensor(
                [[0] * (width - len(encoded[i])) + [1] * len(encoded[i]) for i in chosen], device=model.device
            ),
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=padding,
            **settings,
        )
        for index, row in zip(chosen, output[:, width:].tolist(), strict=True):
            first = next((place for place, token in enumerate(row) if token in ends), len(row))
            responses[index] = row[: first + 1]
    return responses


def sample_texts(model: Any, tokenizer: Any, prompts: Sequence[str], **settings) -> list[str]:
    rows = sample_tokens(model, tokenizer, prompts, **settings)
    return [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
