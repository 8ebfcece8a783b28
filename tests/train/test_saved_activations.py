"""The memory model's bytes of activations against what the trainer's own layers keep for the backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from azr.budget.shape import shape_from_config
from azr.train.kernels import attention, logprobs
from azr.train.kernels.compile_layers import compile_layers

TOKENS = 200
SIZES = {
    "vocab_size": 512, "hidden_size": 192, "intermediate_size": 1120, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 1,
}  # fmt: skip
KINDS = {"qwen2": (Qwen2Config, {}), "llama": (LlamaConfig, {}), "qwen3": (Qwen3Config, {"head_dim": 32})}


def kept_bytes(config: Any, rank: int, *, compiled: bool = False) -> int:
    """Of the tensors that are not weights, each once; two packed sequences, bfloat16."""
    attention.register()
    model: Any = AutoModelForCausalLM.from_config(config, attn_implementation=attention.IMPLEMENTATION)
    model = model.to(torch.bfloat16)
    attention.pass_boundaries(model)
    logprobs.install_chunked_logprobs(model, 64)
    if compiled:  # the partition between forward and backward is the same as on a card; no code is generated
        compile_layers(model, "aot_eager_decomp_partition")
    if rank:
        settings = LoraConfig(r=rank, target_modules="all-linear", init_lora_weights=False)
        model = get_peft_model(model, settings, autocast_adapter_dtype=False)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in weights:
            kept[address] = tensor  # alive, so that no other gets its address
        return tensor

    half = torch.arange(TOKENS // 2)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16):
        model.train()(input_ids=torch.arange(TOKENS)[None], position_ids=torch.cat([half, half])[None])
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("rank", [0, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_activations_are_as_many_as_calculated(kind: str, rank: int) -> None:
    config_class, own = KINDS[kind]
    config = config_class(**SIZES, **own)
    calculated = shape_from_config(config.to_dict()).saved_bytes_per_token(rank, compiled=False)
    measured = kept_bytes(config, rank) / TOKENS
    low, high = (0.9, 0.93) if kind == "qwen3" and not rank else (0.99, 1.11)
    assert low < calculated / measured < high


@pytest.mark.parametrize("rank", [0, 16])
def test_compiled_layers_keep_what_is_calculated_for_them(rank: int) -> None:
    config_class: Any = Qwen2Config
    one, two = (config_class(**{**SIZES, "num_hidden_layers": layers}) for layers in (1, 2))
    calculated = [
        shape_from_config(config.to_dict()).saved_bytes_per_token(rank, compiled=True)
        for config in (one, two)
    ]
    # the second layer: adapters alone leave the first without a gradient for its input
    torch.compiler.reset()  # once: the first layer is the same in both models
    measured = (kept_bytes(two, rank, compiled=True) - kept_bytes(one, rank, compiled=True)) / TOKENS
    assert measured == pytest.approx(calculated[1] - calculated[0], rel=0.01)
