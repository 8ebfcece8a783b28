"""The Ray cluster of one attempt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ray

from azr.config import Config
from azr.train.environment import worker_environment

LOGICAL_CPUS = 16
"""TransferQueue's storage unit, the agent workers and the runner each hold one; with too few Ray waits for ever."""


def start_ray(config: Config, device: str, executable: Path | None = None) -> None:
    """Starts a Ray cluster for this attempt, or joins the configured one.

    Args:
        device: ``cpu`` or ``cuda``.
        executable: the Python interpreter of the workers, if not this one.
    """
    runtime_env: dict[str, Any] = {"env_vars": worker_environment()}
    if executable is not None:
        runtime_env["py_executable"] = str(executable)
    settings: dict[str, Any] = {"runtime_env": runtime_env}
    if config.train.ray_address:
        settings["address"] = config.train.ray_address
    else:
        # never join somebody else's cluster by accident
        settings |= {"address": "local", "num_cpus": LOGICAL_CPUS, "include_dashboard": False}
        if device == "cpu":
            settings["num_gpus"] = config.train.n_gpus_per_node  # logical ones: verl places its workers on them
    ray.init(**settings)
