"""What verl imports in each of its processes (``VERL_USE_EXTERNAL_MODULES``): the CPU platform, where it is asked for."""

from __future__ import annotations

import os

if os.environ.get("VERL_PLATFORM") == "cpu":
    from azr.train.cpu import patches, platform  # noqa: F401  (importing the platform registers it)

    patches.apply()
