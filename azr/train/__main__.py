"""``python -m azr.train RUN_DIR``: one attempt at a cycle, as ``cycles/NNN/request.json`` asks. Started by the driver.

Exit status 0: finished or stopped as asked. 1: failed; ``result.json`` says why.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from azr.config import Config
from azr.config.load import read_config
from azr.errors import AzrError, ClusterError, MachineLeftError
from azr.run.protocol import STACKS_FILE, Ending, TrainRequest, TrainResult, current_request, write_result
from azr.run.rundir import RunDir
from azr.run.start_record import START_FILE, StartPart, mark_start, read_start
from azr.run.trainer_link import DriverWatch
from azr.system.hardware import detect, device_for
from azr.system.places import prepare_places, restart_with_plain_path
from azr.system.scratch import scratch_folder
from azr.system.stacks import STACKS_VARIABLE
from azr.system.tracebacks import root_cause
from azr.train.environment import kernel_folder, set_environment, stay_on_loopback, use_ray_token
from azr.train.ipc_check import choose_weight_path
from azr.train.sockets import sockets_folder
from azr.train.warm_python import WarmPython

CORES_FOR_BOTH = 4
"""With fewer the workers' interpreter starts after Ray, which gives its own processes half a minute to start."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(
            "usage: python -m azr.train RUN_DIR   (the driver starts this: python azr_single_gpu_pipeline.py)",
            file=sys.stderr,
        )
        return 2
    run = RunDir(Path(arguments[0]).resolve())
    try:
        prepare_places()
        restart_with_plain_path("azr.train", [str(run.root)])
        config = read_config(run.config)
        request = current_request(run)
    except AzrError as error:
        print(f"azr.train: {error}", file=sys.stderr)
        return 2
    machine = detect()
    chosen = device_for(machine, config.train.device, config.train.n_gpus_per_node)
    device = chosen.kind
    if not config.train.ray_address:
        if chosen.missing or (config.needs_gpu and device == "cpu"):
            return _fail(run, request, f"the card that this run uses is not there: {machine.why_no_card}")
        chosen.take()
    print(f"azr.train: on {chosen}", flush=True)

    rollout = config.rollout
    careful = device == "cuda" and start_failed_before(run, request)
    set_environment(
        device,
        rollout.cpu_kv_cache_gib,
        compile_cache=rollout.compile_cache and not careful,
        kernels=kernel_folder() if device == "cuda" and not careful else None,
    )
    os.environ[STACKS_VARIABLE] = str(run.attempt(request.cycle, request.attempt) / STACKS_FILE)
    if device == "cuda":
        choose_weight_path(machine.is_wsl)

    with DriverWatch(run, request):
        if config.train.ray_address:
            return on_joined_machines(run, request, config, device)
        stay_on_loopback()
        with sockets_folder(), warm_python(device, one_interpreter(config, device) and not careful) as warm:
            if warm and machine.cpu_cores >= CORES_FOR_BOTH:
                warm.start()
            return on_this_machine(run, request, config, device, warm)


def on_this_machine(
    run: RunDir, request: TrainRequest, config: Config, device: str, warm: WarmPython | None
) -> int:
    """In a Ray cluster of its own."""
    import ray
    from ray.exceptions import RayError

    from azr.train.cluster import session_folder, start_ray
    from azr.train.patches.signals import end_ray_at_once
    from azr.train.verl.runner import SelfPlayRunner

    folder = run.attempt(request.cycle, request.attempt)
    mark_start(folder, StartPart.IMPORTS)
    finished = False
    try:
        start_ray(config, warm.executable if warm else None)
        mark_start(folder, StartPart.RAY)
        if warm:
            warm.start()
        finished = ray.get(SelfPlayRunner.remote().run.remote(str(run.root), device))
    except RayError as error:
        return _fail(run, request, _cause(error))
    finally:
        session = session_folder()
        end_ray_at_once()
        ray.shutdown()
    if finished and session:
        shutil.rmtree(session, ignore_errors=True)  # after a failure its logs stay
    return 0 if finished else 1


def on_joined_machines(run: RunDir, request: TrainRequest, config: Config, device: str) -> int:
    """In a Ray cluster that was there before, which stays. The runner is on this machine, where the driver looks for
    its signs of life."""
    use_ray_token()

    import ray
    from ray.exceptions import RayError

    from azr.train import machines
    from azr.train.cluster import join_ray
    from azr.train.verl.runner import SelfPlayRunner

    folder = run.attempt(request.cycle, request.attempt)
    mark_start(folder, StartPart.IMPORTS)
    goes_on = request.attempt > 1 or request.resume_step > 0
    try:
        join_ray(config.train.ray_address)
        there = machines.wait_for_machines(
            partial(
                machines.what_is_missing,
                n_machines=config.train.n_nodes,
                cards_each=config.train.n_gpus_per_node,
                agent_workers=config.rollout.agent_workers,
            ),
            machines.RETURN_LIMIT_S if goes_on else machines.JOIN_LIMIT_S,
        )
        machines.require_one_folder(there, run.request(request.cycle))
        mark_start(folder, StartPart.RAY)
        runner = SelfPlayRunner.options(scheduling_strategy=machines.on_this_one()).remote()
        finished = machines.result_of(runner.run.remote(str(run.root), device), there)
    except ClusterError as error:
        return _fail(run, request, str(error), retry=goes_on or isinstance(error, MachineLeftError))
    except RayError as error:
        return _fail(run, request, _cause(error))
    finally:
        ray.shutdown()
    return 0 if finished else 1


def _cause(error: Exception) -> str:
    traceback.print_exc()
    cause = root_cause(traceback.format_exc()) or error
    return f"a process of the trainer died or raised: {cause}"


def _fail(run: RunDir, request: TrainRequest, reason: str, *, retry: bool = True) -> int:
    """Says why, here and in the result.

    Args:
        retry: another attempt may go better.
    """
    print(f"azr.train: {reason}", file=sys.stderr)
    result = TrainResult(
        Ending.FAILED, request.resume_step, reason, request.cycle, request.attempt, retry=retry
    )
    write_result(run, result)
    return 1


def one_interpreter(config: Config, device: str) -> bool:
    """Whether all processes are made from one interpreter: without a card always, with one where the settings want it."""
    return device == "cpu" or (config.train.one_interpreter and config.train.gpus == 1)


def start_failed_before(run: RunDir, request: TrainRequest) -> bool:
    """Whether the attempt before made no step, so that what saves time at a start may have been what it failed for; says so.
    vLLM, for one, reads a file of its cache that a crash has cut off without a word of caution."""
    before = run.attempt(request.cycle, request.attempt - 1)
    went_on = not (before / START_FILE).exists()  # its trainer had been started for an earlier cycle
    if went_on or read_start(before):
        return False
    print(
        "azr.train: the attempt before made no step, so every process imports for itself now, and compiles anew",
        flush=True,
    )
    return True


@contextmanager
def warm_python(device: str, on_a_card: bool = False) -> Iterator[WarmPython | None]:
    """The interpreter of all workers, which imports once for them; None: each has its own.

    Args:
        on_a_card: also where they use one.
    """
    if device != "cpu" and not on_a_card:
        yield None
        return
    if device != "cpu":
        # Ray gives up a process that has not come after a minute, and those wait for the imports
        os.environ.setdefault("RAY_worker_register_timeout_seconds", "300")
    with scratch_folder("w") as folder, WarmPython(folder, for_a_card=device != "cpu") as warm:
        yield warm


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
