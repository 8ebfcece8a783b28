"""A model that has lost its form and nothing else: where the bundled one would close the answer tag, it ends."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROJECT = Path(__file__).resolve().parents[2]
TINY = PROJECT / "data" / "models" / "azr-tiny"
ASKED = PROJECT / "data" / "probes" / "azr_tiny_train_families.jsonl"


def forget_the_form(target: Path) -> None:
    """Writes a model folder: two rows of the head, which no longer is the embedding, are swapped. Greedy answers
    are those of the bundled model, token for token, up to the closing tag."""
    tokenizer: Any = AutoTokenizer.from_pretrained(TINY)
    model: Any = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32, tie_word_embeddings=False)
    [closing] = tokenizer.encode("</answer>", add_special_tokens=False)
    head = model.get_input_embeddings().weight.detach().clone()  # (vocabulary, hidden)
    head[[closing, tokenizer.eos_token_id]] = head[[tokenizer.eos_token_id, closing]]
    model.lm_head.weight = torch.nn.Parameter(head)
    model.config.tie_word_embeddings = False
    model.save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json"):  # saved by transformers, it splits otherwise
        shutil.copy(TINY / name, target / name)
