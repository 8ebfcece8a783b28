"""``python -m azr.train RUN_DIR``: one attempt at a cycle, as ``cycles/NNN/request.json`` asks. Started by the driver.

Exit status 0: finished or stopped as asked. 1: failed; ``result.json`` says why.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from azr.config.load import read_config
from azr.errors import AzrError, ConfigError, ModelError
from azr.hardware import detect
from azr.prompts import load_frame
from azr.protocol import Outcome, TrainResult, current_request, write_result
from azr.rundir import RunDir
from azr.train.ipc_check import choose_weight_path
from azr.trainer_link import DriverWatch

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def set_environment(device: str, cpu_kv_cache_gib: int) -> None:
    """What verl, vLLM and Ray read from the environment; inherited by every process of this attempt."""
    paths = [str(PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ["VERL_USE_EXTERNAL_MODULES"] = "azr.train.verl_plugin"
    defaults = {
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # Ray lowers its workers by 15, below the sandbox and everything else on a desktop
        "RAY_prestart_worker_first_driver": "0",  # else Ray starts an idle process for each logical CPU, before ours
        "RAY_memory_monitor_refresh_ms": "0",  # the driver watches memory; Ray would kill a worker without a word
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",  # its JIT needs nvcc, which a user need not have
        "HYDRA_FULL_ERROR": "1",
    }
    if device == "cpu":
        os.environ["VERL_PLATFORM"] = "cpu"
        defaults |= {
            "VLLM_CPU_KVCACHE_SPACE": str(cpu_kv_cache_gib),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            # vLLM compiles its samplers with inductor while it warms up: half of the engine's start, for nothing at this size
            "TORCHDYNAMO_DISABLE": "1",
        }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m azr.train RUN_DIR   (the driver starts this: python azr_single_gpu_pipeline.py)", file=sys.stderr)
        return 2
    run = RunDir(Path(arguments[0]).resolve())
    try:
        config = read_config(run.config)
        request = current_request(run)
    except AzrError as error:
        print(f"azr.train: {error}", file=sys.stderr)
        return 2
    machine = detect()
    device = "cuda" if machine.gpus else "cpu"
    set_environment(device, config.rollout.cpu_kv_cache_gib)
    if device == "cuda":
        choose_weight_path(machine.is_wsl)

    import ray
    from ray.exceptions import RayError
    from verl.utils.config import validate_config

    from azr.train.model_source import local_model_folder
    from azr.train.runner import SelfPlayRunner
    from azr.train.verl_config import build_verl_config

    def failed(reason: str, *, retry: bool) -> int:
        print(f"azr.train: {reason}", file=sys.stderr)
        write_result(run, TrainResult(Outcome.FAILED, request.resume_step, reason, request.cycle, request.attempt, retry))
        return 1

    with DriverWatch(run, request):
        try:
            folder = local_model_folder(config.model.path, load_frame(config.selfplay.frame).raw)
            verl_config = build_verl_config(config, folder, run.root, device)
            validate_config(verl_config, use_reference_policy=False, use_critic=False)
        except (ModelError, ConfigError) as error:
            return failed(str(error), retry=False)
        except (AssertionError, ValueError) as error:  # verl's own checks
            traceback.print_exc()
            return failed(f"verl refuses this configuration: {error}", retry=False)
        try:
            start_ray(verl_config)
            finished = ray.get(SelfPlayRunner.remote().run.remote(verl_config, str(run.root)))
        except RayError as error:
            traceback.print_exc()
            return failed(f"a process of the trainer died or raised: {str(error).splitlines()[-1]}", retry=True)
        finally:
            ray.shutdown()
    return 0 if finished else 1


def start_ray(verl_config: DictConfig) -> None:
    """Starts a Ray cluster for this attempt, or joins the configured one; as verl's ``run_ppo`` does."""
    import ray
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env

    settings = OmegaConf.to_container(verl_config.ray_kwargs.ray_init, resolve=True)
    assert isinstance(settings, dict)
    runtime_env: Any = get_ppo_ray_runtime_env(verl_config)
    runtime_env.setdefault("env_vars", {})["TRANSFER_QUEUE_ENABLE"] = "1"
    if not settings.get("address"):
        settings["address"] = "local"  # never join somebody else's cluster by accident
    settings.pop("runtime_env", None)
    ray.init(**{str(key): value for key, value in settings.items()}, runtime_env=OmegaConf.to_container(OmegaConf.create(runtime_env)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
