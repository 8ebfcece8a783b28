"""Small random models whose linear layers have room for groups of 64 inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

SIZES = {
    "vocab_size": 320, "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256,
}  # fmt: skip
KINDS = {
    "qwen2": ("Qwen2ForCausalLM", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3ForCausalLM", {"tie_word_embeddings": False}),
    "llama": ("LlamaForCausalLM", {"tie_word_embeddings": False}),
}


def tiny(model_type: str, dtype: torch.dtype = torch.bfloat16, **settings: Any) -> Any:
    architecture, own = KINDS[model_type]
    config = AutoConfig.for_model(model_type, **{**SIZES, **own, "architectures": [architecture], **settings})
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms are not left at zero and one
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.to(dtype)


def write_tiny(folder: Path, model_type: str, dtype: torch.dtype = torch.bfloat16, **settings: Any) -> Any:
    model = tiny(model_type, dtype, **settings)
    model.save_pretrained(folder)
    return model
