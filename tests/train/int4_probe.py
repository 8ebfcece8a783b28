"""What int4_engine.py asks of the engine's worker process."""

from __future__ import annotations

from typing import Any

import torch

from azr.train.verl.engine_worker import Int4WorkerExtension, OwnSocketExtension, released_gib
from azr.train.verl.int4_engine import Int4Receiver, receive_int4_base


class _Probe:
    def probe_kernels(self) -> list[str]:
        worker: Any = self
        receiver = Int4Receiver(worker.model_runner.model)
        self.probe_addresses = receiver.addresses()
        return sorted({type(layer.kernel).__name__ for layer in receiver._layers.values()})

    def probe_moved(self) -> int:
        """Tensors that are elsewhere than when graphs had just been recorded."""
        worker: Any = self
        now = Int4Receiver(worker.model_runner.model).addresses()
        assert now.keys() == self.probe_addresses.keys()
        return sum(now[name] != address for name, address in self.probe_addresses.items())

    def probe_memory(self) -> dict[str, float]:
        worker: Any = self
        if worker.device.type != "cuda":
            return {"engine_gib": 0.0}
        free, total = torch.cuda.mem_get_info()
        torch_gib = torch.cuda.memory_reserved() / 2**30
        from vllm.device_allocator import get_mem_allocator_instance

        pool = get_mem_allocator_instance().get_current_usage() / 2**30
        return {
            "engine_gib": round(torch_gib, 3), "sleepable_gib": round(pool, 3), "released_gib": round(released_gib(), 3),
            "card_used_gib": round((total - free) / 2**30, 2),
        }  # fmt: skip


class ProbeExtension(_Probe, Int4WorkerExtension):
    pass


class CpuProbeExtension(_Probe, OwnSocketExtension):
    """The base is received as on a card; garbage stands for what a sleep leaves."""

    def update_weights_from_ipc(
        self, peft_config: Any = None, base_sync_done: bool = False, use_shm: bool = False
    ) -> Any:
        if not base_sync_done:
            return receive_int4_base(self, use_shm)
        worker: Any = self
        worker.model_runner.lora_manager._adapter_manager._last_mapping = None
        return super().update_weights_from_ipc(peft_config, base_sync_done, use_shm)

    def probe_scramble(self) -> None:
        worker: Any = self
        lost = [parameter for _, parameter in worker.model_runner.model.named_parameters()]
        for layer in worker.model_runner.lora_manager._adapter_manager.modules.values():
            lost += [*layer.lora_a_stacked, *layer.lora_b_stacked]
        with torch.no_grad():
            for tensor in lost:
                tensor.fill_(0.25 if tensor.is_floating_point() else 0x12345678)
