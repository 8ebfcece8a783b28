"""Adapters merged into their base on the way to the engine, which then serves an ordinary model: no adapter
kernels beside each product. One tensor at a time; the trainer's own weights stay as they are.

The generator of each tensor is seeded by run, step and name, so that all responses of a step come from one
policy, and a resumed run serves the same one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp._common_utils import clean_tensor_name

from azr.train.kernels.merging import merged, rounding_seed
from azr.train.verl.no_shard import ADAPTER, PEFT_PREFIX, base_weights

UNDER_ADAPTER = ".base_layer."
"""In the name of a frozen weight that an adapter lies over."""


def merged_weights(
    module: FullyShardedDataParallel, dtype: torch.dtype, seed: int, step: int
) -> Iterator[tuple[str, torch.Tensor]]:
    """The base under the names of an ordinary model, shaped as in its files, adapters merged in: those in ``dtype``
    and on the adapters' device, the others as they are.

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
