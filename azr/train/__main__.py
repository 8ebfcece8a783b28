"""``python -m azr.train RUN_DIR``: one attempt at a cycle, as ``cycles/NNN/request.json`` asks. Started by
the driver.

Exit status 0: finished or stopped as asked. 1: failed; ``result.json`` says why.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from azr.config import Config
from azr.config.load import read_config
from azr.errors import AzrError
from azr.hardware import detect, device_for
from azr.places import prepare, restart_with_plain_path
from azr.protocol import Ending, TrainRequest, TrainResult, current_request, write_result
from azr.rundir import RunDir
from azr.tracebacks import root_cause
from azr.train.cpu.warm_python import WarmPython
from azr.train.environment import set_environment
from azr.train.ipc_check import choose_weight_path
from azr.train.sockets import sockets_folder
from azr.trainer_link import DriverWatch


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(
            "usage: python -m azr.train RUN_DIR   (the driver starts this: python azr_single_gpu_pipeline.py)",
            file=sys.stderr,
        )
        return 2
    run = RunDir(Path(arguments[0]).resolve())
    try:
        prepare()
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

    set_environment(device, config.rollout.cpu_kv_cache_gib)
    if device == "cuda":
        choose_weight_path(machine.is_wsl)

    import ray
    from ray.exceptions import RayError

    from azr.train.cluster import session_folder, start_ray
    from azr.train.verl.runner import SelfPlayRunner

    with DriverWatch(run, request), sockets_folder(), warm_python(config, device) as warm:
        try:
            start_ray(config, device, warm.executable if warm else None)
            if warm:
                warm.start()  # not before: Ray gives its own processes half a minute to start, which is little on a busy machine
            finished = ray.get(SelfPlayRunner.remote().run.remote(str(run.root), device))
        except RayError as error:
            traceback.print_exc()
            cause = root_cause(traceback.format_exc()) or error
            return _fail(run, request, f"a process of the trainer died or raised: {cause}")
        finally:
            session = session_folder(config)
            ray.shutdown()
    if finished and session:
        shutil.rmtree(session, ignore_errors=True)  # after a failure its logs stay
    return 0 if finished else 1


def _fail(run: RunDir, request: TrainRequest, reason: str) -> int:
    """Says why, here and in the result; another attempt may go better."""
    print(f"azr.train: {reason}", file=sys.stderr)
    ends = (Ending.FAILED, request.resume_step, reason, request.cycle, request.attempt)
    write_result(run, TrainResult(*ends, retry=True))
    return 1


@contextmanager
def warm_python(config: Config, device: str) -> Iterator[WarmPython | None]:
    """The interpreter of the workers where all of them are on this machine and none has a GPU; else None,
    which means the usual one."""
    # a child of a process that has looked at CUDA cannot use it
    if device != "cpu" or config.train.ray_address:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="azr-") as folder, WarmPython(Path(folder)) as warm:
        yield warm


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
