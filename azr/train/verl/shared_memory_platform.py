"""A CUDA platform whose weights reach the engine through shared memory, for machines where CUDA IPC does not
work (WSL2 may be one).

verl 0.9.1's own platform answers that CUDA IPC works, always; registered beside it, this one answers no, and verl then
sends each bucket of weights through a segment in ``/dev/shm``. ``VERL_PLATFORM=nvidia_shm`` selects it.
"""

from __future__ import annotations

from verl.plugin.platform import PlatformRegistry
from verl.plugin.platform.platform_cuda import PlatformCUDA

from azr.train.ipc_check import SHARED_MEMORY_PLATFORM


@PlatformRegistry.register(platform=SHARED_MEMORY_PLATFORM)
class SharedMemoryCUDA(PlatformCUDA):
    def is_ipc_supported(self) -> bool:
        return False

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        """Never chosen by detection, only by name."""
        return False
