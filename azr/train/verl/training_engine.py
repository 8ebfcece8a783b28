"""The FSDP training engine on GPUs: NO_SHARD on one, FULL_SHARD on several.

Adapters on one device are not FSDP's. verl wraps each of them by itself (504 units at 3B, each handled in
Python in every pass), because a flat parameter is either trained or frozen. On one device there is nothing to
share out: FSDP gets the frozen base, a unit a layer.

Registered with verl's ``EngineRegistry`` under a key that verl leaves free: ``cuda`` with vendor ``nvidia``,
which is looked up before the plain ``cuda`` entry. Importing this module registers it. The CPU's engine is in
``azr/train/cpu/training_engine.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision, ShardingStrategy
from torch.distributed.fsdp.api import FullStateDictConfig, StateDictType
from torch.optim.lr_scheduler import LambdaLR
from verl.utils.device import get_device_id, get_device_name
from verl.utils.fsdp_utils import get_fsdp_wrap_policy
from verl.utils.model import convert_weight_keys
from verl.utils.torch_dtypes import PrecisionType
from verl.workers.engine.base import EngineRegistry

from azr.errors import ModelError, TrainingError
from azr.train.finite import require_finite
from azr.train.patches import fsdp
from azr.train.quantize.linear import QWEIGHT
from azr.train.quantize.model import served
from azr.train.verl import merging, no_shard
from azr.train.verl.int4_base import has_int4_base
from azr.train.verl.packed_engine import PackedEngine

SAMPLED_VALUES_PER_PARAMETER = 512
RATE_FLOOR = 0.1
"""Share of the learning rate that is left when ``train.decay_steps`` are over."""


class SelfPlayEngine(PackedEngine):
    """The packed engine with the promised sharding asserted, and a view of the weights for the learning checks."""

    sync_step = 0
    """Step of the weights that go to the engine: seeds their rounding."""

    def _build_lora_module(self, module: torch.nn.Module) -> torch.nn.Module:
        """verl's; the adapters' first values follow from the run's seed. verl draws them unseeded, and two
        runs of one command are different from their first update on."""
        torch.manual_seed(self.engine_config.seed)
        return super()._build_lora_module(module)

    def _build_fsdp_module(self, module: torch.nn.Module) -> torch.nn.Module:
        require_sound_weights(module, self.model_config.path)
        wrapped = self._wrap(module)
        _assert_sharding(wrapped, torch.distributed.get_world_size())
        return wrapped

    def _wrap(self, module: torch.nn.Module) -> torch.nn.Module:
        if not self._is_lora or torch.distributed.get_world_size() > 1:
            return super()._build_fsdp_module(module)
        self._autocast_dtype, self.scaler = PrecisionType.to_dtype(self.engine_config.dtype), None
        types = self.engine_config.mixed_precision
        param, reduce, buffer = (
            PrecisionType.to_dtype(types[f"{of}_dtype"]) for of in ("param", "reduce", "buffer")
        )
        device = torch.device(get_device_name(), get_device_id())
        return fully_sharded(module, device, MixedPrecision(param, reduce, buffer), self.device_mesh)

    def get_per_tensor_param(self, **options: Any) -> tuple[Any, Any]:
        """Names and tensors of the weights for the engine, in the type that the trainer computes in, and the
        adapters' configuration (None where they are merged in).

        On one device no second copy of the weights is made, and an offloaded base stays in host memory.
        verl's sender would take float32 for what is served in bfloat16: twice the traffic, and a vocabulary
        matrix that its bucket does not hold.
        """
        adapters_alone = self._is_lora and options.get("base_sync_done")
        one_device = torch.distributed.get_world_size() == 1
        if self._is_lora and self.model_config.lora.get("merge"):
            assert one_device, "settings.yaml asks for it on one device only"
            dtype, seed = PrecisionType.to_dtype(self.engine_config.dtype), self.engine_config.seed
            weights = merging.merged_weights(self.module, dtype, seed, self.sync_step)
            return self._for_engine(weights, on_device=True), None

        if not one_device and not adapters_alone:
            weights, adapter_config = super().get_per_tensor_param(**options)
            return self._as_computed(weights), adapter_config

        model = getattr(self.module, "_fsdp_wrapped_module", self.module)
        if adapters_alone:
            gathers = self._is_offload_param and not one_device  # FSDP gathers shards on the card only
            if gathers:
                no_shard.load_model(self.module)
            adapters = no_shard.adapter_weights(self.module)
            if gathers:
                no_shard.offload(self.module)
            return adapters.items(), model.peft_config[no_shard.ADAPTER].to_dict()

        if self._is_lora:
            adapter_config = model.peft_config[no_shard.ADAPTER].to_dict()
            base = no_shard.base_weights(self.module)
            if has_int4_base(self.model_config):
                base = served(base)
            return self._for_engine(base, on_device=True), adapter_config

        if self._is_offload_param:
            no_shard.load_model(self.module)
        return self._for_engine(no_shard.named_weights(self.module)), None

    def _for_engine(
        self, weights: Iterable[tuple[str, torch.Tensor]], *, on_device: bool = False
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """The weights under the names of an ordinary model, one at a time, shaped as in its files, float32 in the type
        that the trainer computes in.

        Args:
            weights: views, good until the next is asked for.
            on_device: bring each to the card, one after the other: verl hands over a tensor that is larger
                than its bucket by CUDA IPC.
        """
        model = getattr(self.module, "_fsdp_wrapped_module", self.module)
        if on_device:
            weights = ((name, weight.to(get_device_name())) for name, weight in weights)
        renamed = (item for pair in weights for item in convert_weight_keys(dict([pair]), model).items())
        return self._as_computed(renamed)

    def _as_computed(self, weights: Iterable[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
        compute = PrecisionType.to_dtype(self.engine_config.dtype)
        return (
            (name, weight.to(compute) if weight.dtype == torch.float32 else weight)
            for name, weight in weights
        )

    def save_checkpoint(self, local_path: str, *options: Any, **named: Any) -> None:
        with fsdp.state_dict_without_copies(self.module):
            super().save_checkpoint(local_path, *options, **named)

    def load_checkpoint(self, local_path: str, *options: Any, **named: Any) -> None:
        no_shard.base_was_read(self.module)
        with fsdp.tensors_left_in_files():
            super().load_checkpoint(local_path, *options, **named)

    def _build_lr_scheduler(self, optimizer: torch.optim.Optimizer) -> Any:
        """Not verl's, whose warm-up begins with a step at rate 0, and whose cosine rises again after the horizon, which a longer
        run passes."""
        options = self.optimizer_config
        horizon = options.total_training_steps if options.lr_scheduler_type == "cosine" else None
        return LambdaLR(optimizer, partial(rate_factor, warmup=options.lr_warmup_steps, horizon=horizon))

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


def fully_sharded(
    module: torch.nn.Module, device: torch.device, precision: MixedPrecision, mesh: DeviceMesh | None = None
) -> FullyShardedDataParallel:
    """FSDP as verl sets it up, a unit a layer, in a process that has read the weights itself: nothing is
    broadcast. The flat parameters keep the type of the weights that they are made of.

    On one device adapters (trained parameters beside frozen ones) stay ordinary parameters of the model, on
    the device for good.
    """
    alone = torch.distributed.get_world_size() == 1
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    adapters = trained if alone and len(trained) < sum(1 for _ in module.parameters()) else []
    for adapter in adapters:
        adapter.data = adapter.data.to(device)
    wrapped = FullyShardedDataParallel(
        module,
        auto_wrap_policy=get_fsdp_wrap_policy(module),
        device_id=device,
        sharding_strategy=ShardingStrategy.NO_SHARD if alone else ShardingStrategy.FULL_SHARD,
        mixed_precision=precision,
        device_mesh=mesh,
        ignored_states=adapters,
    )
    FullyShardedDataParallel.set_state_dict_type(
        wrapped, StateDictType.FULL_STATE_DICT, FullStateDictConfig()
    )
    return wrapped


def rate_factor(step: int, *, warmup: int, horizon: int | None) -> float:
    """Share of the learning rate in the step after ``step`` steps: a linear rise, then a cosine down to
    ``RATE_FLOOR`` at ``horizon``; where that is None, the rate stays."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if horizon is None:
        return 1.0
    progress = min(1.0, (step - warmup) / (horizon - warmup))
    return RATE_FLOOR + (1.0 - RATE_FLOOR) * 0.5 * (1.0 + math.cos(math.pi * progress))


def require_sound_weights(module: torch.nn.Module, folder: str) -> None:
    """Looks at each weight of a model that was just read from ``folder``.

    Raises:
        ModelError: a weight is NaN or infinite, so that every answer and every update would be nothing; or a
            matrix is all zeros, as an unfinished download leaves it.
    """
    for name, weight in module.named_parameters():
        # on another rank; adapters begin at zero; words are not numbers
        if weight.is_meta or "lora_" in name or name.endswith(f".{QWEIGHT}"):
            continue
        require_finite(folder, name, weight)
        if weight.dim() > 1 and not weight.detach().any():
            raise ModelError(
                f"{folder}: {name} holds nothing but zeros. Its download was not finished; fetch it again"
            )


def _assert_sharding(module: torch.nn.Module, world_size: int) -> None:
    """
    Raises:
        TrainingError: FSDP chose another strategy than NO_SHARD on one device or FULL_SHARD on several.
    """
    expected = ShardingStrategy.NO_SHARD if world_size == 1 else ShardingStrategy.FULL_SHARD
    wrapped: list[Any] = [part for part in module.modules() if isinstance(part, FullyShardedDataParallel)]
    found = {part.sharding_strategy for part in wrapped}
    if found != {expected}:
        raise TrainingError(
            f"FSDP wrapped the model with {sorted(item.name for item in found) or 'nothing'} on {world_size} device(s); "
            f"{expected.name} was expected. This torch or verl version behaves differently from the pinned one."
        )


fsdp.install_offload()
EngineRegistry.register(model_type="language_model", backend="fsdp", device="cuda", vendor="nvidia")(
    SelfPlayEngine
)
