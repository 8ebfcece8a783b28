"""The FSDP training engine on GPUs: NO_SHARD on one, FULL_SHARD on several.

Registered with verl's ``EngineRegistry`` under a key that verl leaves free: ``cuda`` with vendor ``nvidia``, which is looked up
before the plain ``cuda`` entry. Importing this module registers it. The CPU's engine is in ``azr/train/cpu/engine.py``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
from verl.workers.engine.base import EngineRegistry

from azr.errors import TrainingError
from azr.train.packed import PackedEngine

SAMPLED_VALUES_PER_PARAMETER = 512


class SelfPlayEngine(PackedEngine):
    """The packed engine with the promised sharding asserted, and a view of the weights for the learning checks."""

    def _build_fsdp_module(self, module: torch.nn.Module) -> torch.nn.Module:
        wrapped = self._wrap(module)
        _assert_sharding(wrapped, torch.distributed.get_world_size())
        return wrapped

    def _wrap(self, module: torch.nn.Module) -> torch.nn.Module:
        return super()._build_fsdp_module(module)

    @torch.no_grad()
    def sampled_weights(self) -> torch.Tensor:
        """Evenly spaced values of every trained parameter, in float32 on the CPU: [sampled values]."""
        samples = []
        for parameter in self.module.parameters():
            if parameter.requires_grad and parameter.numel():
                flat = parameter.detach().reshape(-1)
                stride = max(1, flat.numel() // SAMPLED_VALUES_PER_PARAMETER)
                samples.append(flat[::stride].float().cpu())
        return torch.cat(samples)


def _assert_sharding(module: torch.nn.Module, world_size: int) -> None:
    """Raises:
    TrainingError: FSDP chose another strategy than NO_SHARD on one device or FULL_SHARD on several.
    """
    expected = ShardingStrategy.NO_SHARD if world_size == 1 else ShardingStrategy.FULL_SHARD
    wrapped: list[Any] = [part for part in module.modules() if isinstance(part, FullyShardedDataParallel)]
    found = {part.sharding_strategy for part in wrapped}
    if found != {expected}:
        raise TrainingError(
            f"FSDP wrapped the model with {sorted(item.name for item in found) or 'nothing'} on {world_size} device(s); "
            f"{expected.name} was promised. This torch or verl version behaves differently from the pinned one."
        )


EngineRegistry.register(model_type="language_model", backend="fsdp", device="cuda", vendor="nvidia")(SelfPlayEngine)
