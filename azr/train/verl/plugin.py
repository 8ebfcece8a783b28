"""What verl imports in each of its processes (``VERL_USE_EXTERNAL_MODULES``): the platform that
``VERL_PLATFORM`` asks for.

On a CPU verl imports this after vLLM in the engine's worker process, before it elsewhere; the patches apply
in the former alone.
"""

from __future__ import annotations

import os

if os.environ.get("VERL_PLATFORM") == "cpu":
    from azr.train.cpu import platform  # noqa: F401  (importing it registers it)
    from azr.train.patches import vllm_on_cpu

    vllm_on_cpu.apply()
elif os.environ.get("VERL_PLATFORM") == "nvidia_shm":
    from azr.train.verl import shared_memory_platform  # noqa: F401  (importing it registers it)
