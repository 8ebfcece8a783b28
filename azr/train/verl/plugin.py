"""What verl imports in each of its processes (``VERL_USE_EXTERNAL_MODULES``): the platform that
``VERL_PLATFORM`` asks for, stacks on demand, what ``azr`` logs, and signals that stay blocked.

On a CPU verl imports this after vLLM in the engine's worker process, before it elsewhere; the patches apply
in the former alone.
"""

from __future__ import annotations

import logging
import os

from azr.system.stacks import STACKS_VARIABLE, answer_as_the_attempt_asks
from azr.train.ipc_check import SHARED_MEMORY_PLATFORM
from azr.train.patches.signals import keep_signals_blocked

if os.environ.get(STACKS_VARIABLE):
    keep_signals_blocked()
    answer_as_the_attempt_asks()
    _handler = logging.StreamHandler()
    _handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    _logger = logging.getLogger("azr")
    _logger.addHandler(_handler)
    _logger.setLevel(logging.INFO)
    _logger.propagate = False

if os.environ.get("VERL_PLATFORM") == "cpu":
    from azr.train.cpu import platform  # noqa: F401  (importing it registers it)
    from azr.train.patches import vllm_on_cpu

    vllm_on_cpu.apply()
elif os.environ.get("VERL_PLATFORM") == SHARED_MEMORY_PLATFORM:
    from azr.train.verl import shared_memory_platform  # noqa: F401  (importing it registers it)
