"""The Ray cluster of one attempt."""

from __future__ import annotations

import contextlib
import socket
import traceback
from pathlib import Path
from typing import Any

import psutil
import ray
import ray._private.worker

from azr.config import Config
from azr.errors import ClusterError
from azr.system.tracebacks import root_cause
from azr.train.environment import worker_environment
from azr.train.machines import cpus_needed

CONNECT_LIMIT_S = 10.0
START_ATTEMPTS = 3
"""Ray's node ends itself when one of its Python processes needs more than 15 s to import, as on a busy
machine; the next try finds the files in memory."""
NOT_STARTED = "timed out during startup"


def start_ray(config: Config, executable: Path | None = None) -> None:
    """Starts a Ray cluster for this attempt.

    Args:
        executable: the Python interpreter of the workers, if not this one.
    """
    runtime_env: dict[str, Any] = {"env_vars": worker_environment()}
    if executable is not None:
        runtime_env["py_executable"] = str(executable)
    cards = config.train.n_gpus_per_node
    settings: dict[str, Any] = {
        "runtime_env": runtime_env,
        "address": "local",  # never join somebody else's cluster by accident
        "num_cpus": cpus_needed(cards, config.rollout.agent_workers),  # with too few Ray waits for ever
        # on a CPU logical ones: verl places its workers on what Ray calls GPUs, and CUDA_VISIBLE_DEVICES
        # hides every real one
        "num_gpus": cards,
        "include_dashboard": False,
    }

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


def join_ray(address: str) -> None:
    """Joins the cluster that the user started. Its processes inherit nothing from this one.

    Raises:
        ClusterError: there is none, one of another version, or one that wants another token.
    """
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit():  # Ray itself tries for minutes
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_LIMIT_S).close()
        ray.init(address=address, runtime_env={"env_vars": worker_environment(inherits=False)})
    except Exception as error:  # Ray raises nothing more specific
        traceback.print_exc()
        raise ClusterError(
            f"train.ray_address={address}: no Ray cluster could be joined there ({root_cause(traceback.format_exc()) or error}). "
            "Start Ray on each machine with this project's .venv/bin/ray, this one among them, and with the same RAY_AUTH_MODE "
            "and ~/.ray/auth_token everywhere (docs/howto/several_gpus.md)"
        ) from error


def _end_all_but(before: set[psutil.Process]) -> None:
    """Ends what a cluster that did not start left behind: every process below this one that was not there before."""
    ray.shutdown()
    for process in set(psutil.Process().children(recursive=True)) - before:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def session_folder() -> str | None:
    """Where Ray keeps its logs and sockets of the cluster that ``start_ray`` started; None where it did not start."""
    node = ray._private.worker._global_node
    return None if node is None else str(node.get_session_dir_path())
