"""The FSDP training engine: NO_SHARD on one device, FULL_SHARD on several, on a GPU and on a CPU.

Registered with verl's ``EngineRegistry`` for the keys that verl leaves free (``cpu``, and ``cuda`` with vendor ``nvidia``,
which is looked up before the plain ``cuda`` entry). Importing this module registers it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision, ShardingStrategy
from torch.distributed.fsdp.api import FullStateDictConfig, StateDictType
from verl.utils.device import get_device_name
from verl.utils.fsdp_utils import get_fsdp_wrap_policy
from verl.workers.engine.base import EngineRegistry

from azr.errors import TrainingError
from azr.train.packed import PackedEngine

SAMPLED_VALUES_PER_PARAMETER = 512


class SelfPlayEngine(PackedEngine):
    """The packed engine with the promised sharding asserted, and a view of the weights for the learning checks."""

    def _build_fsdp_module(self, module: torch.nn.Module) -> torch.nn.Module:
        if get_device_name() == "cpu":
            wrapped = self._wrap_on_cpu(module)
        else:
            wrapped = super()._build_fsdp_module(module)
        _assert_sharding(wrapped, torch.distributed.get_world_size())
        return wrapped

    def _wrap_on_cpu(self, module: torch.nn.Module) -> torch.nn.Module:
        """FSDP1 on a CPU: parameters stay where they are, no broadcast (one process), everything in float32."""
        precision = MixedPrecision(param_dtype=torch.float32, reduce_dtype=torch.float32, buffer_dtype=torch.float32)
        self._autocast_dtype = torch.float32
        self.scaler = None
        wrapped = FullyShardedDataParallel(
            module,
            auto_wrap_policy=get_fsdp_wrap_policy(module=module, config=self.engine_config.wrap_policy, is_lora=self._is_lora),
            device_id=torch.device("cpu"),
            sharding_strategy=ShardingStrategy.NO_SHARD,
            mixed_precision=precision,
            sync_module_states=False,
            device_mesh=self.device_mesh,
            use_orig_params=self.engine_config.use_orig_params,
        )
        FullyShardedDataParallel.set_state_dict_type(
            wrapped, state_dict_type=StateDictType.FULL_STATE_DICT, state_dict_config=FullStateDictConfig()
        )
        return wrapped

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


EngineRegistry.register(model_type="language_model", backend="fsdp", device="cpu")(SelfPlayEngine)
EngineRegistry.register(model_type="language_model", backend="fsdp", device="cuda", vendor="nvidia")(SelfPlayEngine)
