"""Adapters merged into their base on the way to the engine, which then serves an ordinary model: no adapter
kernels beside each product.

A weight W of the frozen base goes as ``W + s B A``, one tensor at a time, summed in float32; the trainer's own
weights stay as they are. In bfloat16 the sum is rounded stochastically: an adapter moves a weight by a
hundredth of the distance to its neighbour in a step, and rounded to nearest the engine would serve the
unchanged base for dozens of steps. The generator of each tensor is seeded by run, step and name, so that all
responses of a step come from one policy, and a resumed run serves the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp._common_utils import clean_tensor_name

from azr.train.kernels.optimizers import stochastic_bf16
from azr.train.verl.no_shard import ADAPTER, PEFT_PREFIX, base_weights

SLICE = 1 << 23
"""Values merged at once: bounds the temporary memory, about 16 bytes each."""
UNDER_ADAPTER = ".base_layer."
"""In the name of a frozen weight that an adapter lies over."""


def merged_weights(
    module: FullyShardedDataParallel, dtype: torch.dtype, seed: int, step: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """The base under the names of an ordinary model, adapters merged in: those in ``dtype`` and on the
    adapters' device, the others as they are.

    Needs NO_SHARD, and adapters that are not FSDP's, as ``base_weights`` does.
    """
    layers = {
        clean_tensor_name(name).removeprefix(PEFT_PREFIX): part
        for name, part in module.named_modules()
        if isinstance(part, LoraLayer)
    }
    for name, weight in base_weights(module):
        layer_name, _, kind = name.rpartition(UNDER_ADAPTER)
        if layer_name and kind == "weight":
            layer: Any = layers[layer_name]
            down, up = layer.lora_A[ADAPTER].weight.detach(), layer.lora_B[ADAPTER].weight.detach()
            generator = torch.Generator(down.device).manual_seed(rounding_seed(seed, step, layer_name))
            weight = merged(weight.to(down.device), down, up, layer.scaling[ADAPTER], dtype, generator)
        yield name.replace(UNDER_ADAPTER, "."), weight


@torch.no_grad()
def merged(
    weight: torch.Tensor,  # [out, in]
    down: torch.Tensor,  # A [rank, in]
    up: torch.Tensor,  # B [out, rank]
    scale: float,
    dtype: torch.dtype,
    generator: torch.Generator,
) -> torch.Tensor:
    """``weight + scale * up @ down`` in ``dtype``. The weight counts as the trainer computes with it, in
    ``dtype``; what is rounded stochastically is what the adapter adds to that."""
    result = torch.empty_like(weight, dtype=dtype)
    rows = max(1, SLICE // weight.shape[1])
    for start in range(0, len(weight), rows):
        here = slice(start, start + rows)
        total = weight[here].to(dtype).float().addmm(up[here].float(), down.float(), alpha=scale)
        result[here] = stochastic_bf16(total, generator) if dtype == torch.bfloat16 else total
    return result


def rounding_seed(seed: int, step: int, name: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{step}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
