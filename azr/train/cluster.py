"""The Ray cluster of one attempt."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import psutil
import ray
import ray._private.worker

from azr.config import Config
from azr.train.environment import worker_environment

LOGICAL_CPUS = 16
"""TransferQueue's storage unit, the agent workers and the runner each hold one; with too few Ray waits for ever."""


START_ATTEMPTS = 3
"""Ray's node ends itself when one of its Python processes needs more than 15 s to import, as on a busy
machine; the next try finds the files in memory."""
NOT_STARTED = "timed out during startup"


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
        # on a CPU logical ones: verl places its workers on what Ray calls GPUs, and CUDA_VISIBLE_DEVICES
        # hides every real one
        settings["num_gpus"] = config.train.n_gpus_per_node

    before = set(psutil.Process().children(recursive=True))
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            ray.init(**settings)
            return
        except Exception as error:  # Ray raises nothing more specific
            if NOT_STARTED not in str(error) or attempt == START_ATTEMPTS:
                raise
            print(
                f"Ray did not start (attempt {attempt} of {START_ATTEMPTS}): the machine is busy. Trying again.",
                flush=True,
            )
            _end_all_but(before)


def _end_all_but(before: set[psutil.Process]) -> None:
    """Ends what a cluster that did not start left behind: every process below this one that was not there before."""
    ray.shutdown()
    for process in set(psutil.Process().children(recursive=True)) - before:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def session_folder(config: Config) -> str | None:
    """Where Ray keeps its logs and sockets of the cluster that ``start_ray`` started; None for one that it joined."""
    node = ray._private.worker._global_node
    return None if node is None or config.train.ray_address else str(node.get_session_dir_path())
