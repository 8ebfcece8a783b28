"""What verl imports in each of its processes (``VERL_USE_EXTERNAL_MODULES``): the platform that ``VERL_PLATFORM`` asks for."""

from __future__ import annotations

import os

if os.environ.get("VERL_PLATFORM") == "cpu":
    from azr.train.cpu import patches, platform  # noqa: F401  (importing the platform registers it)

    patches.apply()
elif os.environ.get("VERL_PLATFORM") == "nvidia_shm":
    from azr.train import shared_memory_platform  # noqa: F401  (importing it registers it)
