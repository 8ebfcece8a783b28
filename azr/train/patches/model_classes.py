"""What vLLM wants to know of a model's class, found out in the process that wants to know it. Takes effect on import, in
the warm interpreter, whose children have all modules already."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import vllm.model_executor.models.registry as registry

Found = TypeVar("Found")


def look_here(look: Callable[[], Found]) -> Found:
    """``_run_in_subprocess`` without the subprocess, which imports torch and vLLM once more.

    It keeps the asking process from initialising CUDA before it forks; ours do not fork.
    """
    return look()


registry._run_in_subprocess = look_here
