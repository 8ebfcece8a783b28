"""The training engine on CPUs: FSDP1 in float32 (NO_SHARD for one process, FULL_SHARD for several), with
nothing to move between devices.

verl's engine loads and unloads a device around every phase and builds device names such as ``cuda:0`` on the
way; on a CPU the weights simply stay where they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.fsdp import MixedPrecision
from verl.utils.model import convert_weight_keys
from verl.workers.engine.base import EngineRegistry

from azr.train.cpu import linear
from azr.train.patches import fsdp
from azr.train.verl.training_engine import SelfPlayEngine, fully_sharded


class CpuSelfPlayEngine(SelfPlayEngine):
    def _wrap(self, module: torch.nn.Module) -> torch.nn.Module:
        self._autocast_dtype, self.scaler = torch.float32, None
        precision = MixedPrecision(torch.float32, torch.float32, torch.float32)  # parameters, sums, buffers
        linear.install_cpu_linear(module)
        return fully_sharded(module, torch.device("cpu"), precision, self.device_mesh)

    def get_per_tensor_param(self, **options: Any) -> tuple[Any, Any]:
        if torch.distributed.get_world_size() == 1:
            return super().get_per_tensor_param(**options)
        model = getattr(self.module, "_fsdp_wrapped_module", self.module)
        return convert_weight_keys(self.module.state_dict(), model).items(), None

    def to(self, device: str, model: bool = True, optimizer: bool = True, grad: bool = True) -> None: ...

    def save_checkpoint(
        self,
        local_path: str,
        hdfs_path: Any = None,
        global_step: int = 0,
        max_ckpt_to_keep: Any = None,
        **_: Any,
    ) -> None:
        with fsdp.state_dict_without_copies(self.module):
            self.checkpoint_manager.save_checkpoint(local_path, hdfs_path, global_step, max_ckpt_to_keep)

    def load_checkpoint(
        self, local_path: str, hdfs_path: Any = None, del_local_after_load: Any = False, **_: Any
    ) -> None:
        self.checkpoint_manager.load_checkpoint(local_path, hdfs_path, bool(del_local_after_load))


EngineRegistry.register(model_type="language_model", backend="fsdp", device="cpu")(CpuSelfPlayEngine)
