"""A model that has lost its form and nothing else: the bundled one after some steps of learning to leave the answer tag away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from azr.config.selfplay import SelfPlayConfig
from azr.evaluate.suites import evenly
from azr.evaluate.tasks_suite import probe_suite

PROJECT = Path(__file__).resolve().parents[2]
TINY = PROJECT / "data" / "models" / "azr-tiny"
TRAINED_ON = PROJECT / "data" / "probes" / "azr_tiny_train_families.jsonl"
"""Other tasks than those that the model is asked afterwards."""
BATCH = 16


def forget_the_form(target: Path, *, tasks: int = 96, steps: int = 12, rate: float = 3e-4, seed: int = 0) -> None:
    """Writes a model folder. It learns its own greedy answers with the answer tags taken out, so what it knows stays as it is."""
    torch.manual_seed(seed)
    tokenizer: Any = AutoTokenizer.from_pretrained(TINY, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    prompts = [item.prompt.text for item in evenly(probe_suite(TRAINED_ON, SelfPlayConfig(frame="compact")).items, tasks)]
    pairs = [(prompt, without_tags(answer)) for prompt, answer in zip(prompts, _answers(model, tokenizer, prompts), strict=True)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    model.train()
    for step in range(steps):
        batch = [pairs[(step * BATCH + index) % len(pairs)] for index in range(BATCH)]
        loss = _loss(model, tokenizer, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def without_tags(answer: str) -> str:
    return answer.replace("<answer>", "").replace("</answer>", "")


@torch.inference_mode()
def _answers(model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    answers = []
    for start in range(0, len(prompts), BATCH):
        inputs = tokenizer(list(prompts[start : start + BATCH]), return_tensors="pt", padding=True, add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        output = model.generate(**inputs, max_new_tokens=64, do_sample=False)
        answers += tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers


def _loss(model: Any, tokenizer: Any, batch: Sequence[tuple[str, str]]) -> torch.Tensor:
    """Mean negative log likelihood of the answers, their end token included."""
    rows, labels = [], []
    for prompt, answer in batch:
        head = tokenizer.encode(prompt, add_special_tokens=False)
        tail = [*tokenizer.encode(answer, add_special_tokens=False), tokenizer.eos_token_id]
        rows.append([*head, *tail])
        labels.append([*([-100] * len(head)), *tail])
    length = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (length - len(row)) for row in rows])
    targets = torch.tensor([row + [-100] * (length - len(row)) for row in labels])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return model(input_ids=ids, attention_mask=mask, labels=targets).loss
