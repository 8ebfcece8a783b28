"""The Ray cluster of one attempt."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import ray._private.services

from azr.config import Config
from azr.train.environment import worker_environment

LOGICAL_CPUS = 16
"""TransferQueue's storage unit, the agent workers and the runner each hold one; with too few Ray waits for ever."""


START_LIMIT_S = 180.0
"""How long Ray's own processes may take to start. Ray itself gives up after half a minute, which a busy machine needs."""


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
    with_patience = patient(ray._private.services.get_node, START_LIMIT_S)
    ray._private.services.get_node, given = with_patience, ray._private.services.get_node
    try:
        ray.init(**settings)
    finally:
        ray._private.services.get_node = given


def patient(ask: Callable[..., Any], limit_s: float) -> Callable[..., Any]:
    """``ask``, asked again while it raises RuntimeError (Ray's answer while a node is not there yet), for at most ``limit_s``."""

    def asked_again(*arguments: Any, **named: Any) -> Any:
        deadline_s = time.monotonic() + limit_s
        while True:
            try:
                return ask(*arguments, **named)
            except RuntimeError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.2)

    return asked_again
