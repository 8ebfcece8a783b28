"""A model that has lost its form and nothing else: the bundled one after some steps of learning to stop
before it closes the answer tag."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from azr.config.selfplay import SelfPlayConfig
from azr.evaluate.tasks_suite import probe_suite

PROJECT = Path(__file__).resolve().parents[2]
TINY = PROJECT / "data" / "models" / "azr-tiny"
ASKED = PROJECT / "data" / "probes" / "azr_tiny_train_families.jsonl"
BATCH = 16
MAX_STEPS = 60
KEEP = 10.0
"""Weight of the divergence from the model as it was, on all tokens but the last: what it knows stays as it
is."""


def forget_the_form(target: Path, *, every: int = 4, rate: float = 1e-4) -> None:
    """Writes a model folder. It learns its own greedy answers up to the closing tag, on every fourth task of
    ``ASKED``."""
    torch.manual_seed(0)
    tokenizer: Any = AutoTokenizer.from_pretrained(TINY, padding_side="left")
    model, before = (AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32) for _ in range(2))
    prompts = [
        item.prompt.text for item in probe_suite(ASKED, SelfPlayConfig(frame="compact")).items[::every]
    ]
    pairs = [
        (prompt, unclosed(answer))
        for prompt, answer in zip(prompts, answers(before, tokenizer, prompts), strict=True)
    ]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    model.train()
    for step in range(MAX_STEPS):
        batch = [pairs[(step * BATCH + index) % len(pairs)] for index in range(BATCH)]
        ending, divergence = _losses(model, before, tokenizer, batch)
        if ending.item() < 0.1:
            break
        (ending + KEEP * divergence).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def unclosed(answer: str) -> str:
    return answer.partition("</answer>")[0]


@torch.inference_mode()
def answers(model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    found = []
    for start in range(0, len(prompts), BATCH):
        inputs = tokenizer(
            list(prompts[start : start + BATCH]), return_tensors="pt", padding=True, add_special_tokens=False
        )
        inputs.pop("token_type_ids", None)
        output = model.generate(**inputs, max_new_tokens=64, do_sample=False)
        found += tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return found


def _losses(
    model: Any, before: Any, tokenizer: Any, batch: Sequence[tuple[str, str]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log likelihood of ending after the answer, and the divergence from ``before`` on the
    answer."""
    rows, prompt_lengths = [], []
    for prompt, answer in batch:
        head = tokenizer.encode(prompt, add_special_tokens=False)
        rows.append([*head, *tokenizer.encode(answer, add_special_tokens=False)])
        prompt_lengths.append(len(head))
    length = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    logprobs = model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
    with torch.no_grad():
        kept = before(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
    endings = [logprobs[index, len(row) - 1, tokenizer.eos_token_id] for index, row in enumerate(rows)]
    divergences = [
        torch.nn.functional.kl_div(
            logprobs[index, start - 1 : len(row) - 1],
            kept[index, start - 1 : len(row) - 1],
            log_target=True,
            reduction="sum",
        )
        / (len(row) - start)
        for index, (row, start) in enumerate(zip(rows, prompt_lengths, strict=True))
    ]
    return -torch.stack(endings).mean(), torch.stack(divergences).mean()
