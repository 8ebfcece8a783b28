"""A CPU platform for verl's platform registry: FSDP over gloo, vLLM's CPU build, weights through shared memory.

``torch.cpu`` lacks most functions that verl asks of a device module, so this module brings its own; "memory"
of the device is the resident memory of the process.
"""

from __future__ import annotations

import contextlib
import types
from typing import Any

import psutil
import torch
from verl.plugin.platform import PlatformRegistry
from verl.plugin.platform.platform_base import PlatformBase


def _resident_bytes(*_: object) -> int:
    return psutil.Process().memory_info().rss


def _nothing(*_: object, **__: object) -> None:
    return None


def _device_module() -> types.ModuleType:
    """The functions of ``torch.cuda`` that verl calls, with their meaning on a CPU."""
    module = types.ModuleType("azr_cpu_device")
    idle = ("empty_cache", "synchronize", "set_device", "ipc_collect", "reset_peak_memory_stats")
    memory = ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved")
    functions: dict[str, Any] = {
        **dict.fromkeys(idle, _nothing),
        **dict.fromkeys(memory, _resident_bytes),
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "is_available": lambda: True,
        "mem_get_info": lambda *_: (psutil.virtual_memory().available, psutil.virtual_memory().total),
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda state, *_: torch.set_rng_state(state),
        "manual_seed": torch.manual_seed,
        "manual_seed_all": torch.manual_seed,
        "get_device_name": lambda *_: "cpu",
        "is_bf16_supported": lambda *_, **__: True,
    }
    vars(module).update(functions)
    return module


_DEVICE_MODULE = _device_module()


@PlatformRegistry.register(platform="cpu")
class CpuPlatform(PlatformBase):
    """One CPU device. Ray has no GPU here, so a logical one is named when Ray starts (``azr.train.cluster``)."""

    @property
    def device_name(self) -> str:
        return "cpu"

    @property
    def vendor_name(self) -> str:
        return "cpu"

    @property
    def device_module(self) -> types.ModuleType:
        return _DEVICE_MODULE

    def is_available(self) -> bool:
        return True

    def current_device(self) -> Any:
        # verl passes this to ``Tensor.to`` and ``torch.device``, where the number 0 would mean the first GPU
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextlib.contextmanager
    def nvtx_range(self, msg: str):
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> Any:
        return None
