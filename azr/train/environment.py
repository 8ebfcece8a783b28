"""Environment variables of an attempt's processes. Set before Ray, verl or vLLM is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from azr.config.paths import python_path
from azr.system.hardware import under_wsl
from azr.system.locks import has_locks
from azr.system.places import cache_folder, is_shell_safe
from azr.system.processes import MARKER_VARIABLE

VERL_ENVIRONMENT = {
    "NCCL_DEBUG": "WARN",
    "VLLM_LOGGING_LEVEL": "WARN",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true",
    "VLLM_DISABLE_COMPILE_CACHE": "1",
    "HCCL_HOST_SOCKET_PORT_RANGE": "auto",
    "HCCL_NPU_SOCKET_PORT_RANGE": "auto",
    "HSA_NO_SCRATCH_RECLAIM": "1",
    "VERL_FULL_DETERMINISM": "0",
    "VLLM_BATCH_INVARIANT": "0",
    "VERL_RL_INSIGHT_ENABLE": "0",
}
"""What verl's own launcher gives its processes. Written down here because asking verl takes seven seconds; a
test compares."""

TRAVELLING = (
    "VERL_", "VLLM_", "NCCL_", "HF_", "TRANSFORMERS_", "TORCHDYNAMO_DISABLE", "OMP_WAIT_POLICY", "TOKENIZERS_PARALLELISM",
    "HYDRA_FULL_ERROR", "SPT_NOENV", "PYTHONPATH", MARKER_VARIABLE,
)  # fmt: skip
"""Beginnings of the names of variables that the processes of a Ray cluster are told which was there before the run."""

PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""For whoever computes on a CPU beside other busy processes. OpenMP's threads wait for each other after every
operation by spinning, and where the other one has lost its core to another process, they spin until the kernel takes
the core away, 4 ms later: an operation of microseconds then takes milliseconds."""


def set_environment(
    device: str, cpu_kv_cache_gib: int, *, compile_cache: bool = False, kernels: Path | None = None
) -> None:
    """What verl, vLLM and Ray read from the environment; inherited by every process of this attempt.

    Args:
        compile_cache: vLLM keeps what it compiles. verl forbids it because files in it were damaged (vLLM issue 31199).
        kernels: where torch keeps what it compiles, if not in the temporary folder.
    """
    os.environ["PYTHONPATH"] = python_path()
    os.environ["VERL_USE_EXTERNAL_MODULES"] = "azr.train.verl.plugin"

    if device == "cpu":
        os.environ["VERL_PLATFORM"] = "cpu"
    set_defaults(engine_environment(device, cpu_kv_cache_gib))
    if compile_cache:
        set_defaults({"VLLM_DISABLE_COMPILE_CACHE": "0"})
    if kernels:
        set_defaults({"TORCHINDUCTOR_CACHE_DIR": str(kernels)})
    set_defaults(
        {
            "RAY_DISABLE_IMPORT_WARNING": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # below `uv run` Ray would copy the project and start workers by uv, elsewhere
            "RAY_worker_niceness": "0",  # Ray lowers its workers by 15, below the sandbox and everything else on a desktop
            "RAY_prestart_worker_first_driver": "0",  # else Ray starts an idle process for each logical CPU, before ours
            "RAY_gcs_server_port_wait_time_s": "180",  # a busy machine; Ray's default is 20
            "RAY_memory_monitor_refresh_ms": "0",  # the driver watches memory; Ray would silently kill a worker
            "HYDRA_FULL_ERROR": "1",
            "SPT_NOENV": "1",  # a process that takes another name keeps its environment readable, by which the driver knows it
        }
    )


def kernel_folder() -> Path | None:
    """Where compiled kernels outlive a boot, at which most systems empty the temporary folder, torch's own choice; None
    where they could not be locked or loaded."""
    folder = cache_folder("kernels", os.environ)
    if folder is None or not is_shell_safe(str(folder)) or os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return None
    return folder if has_locks(folder) else None


def engine_environment(device: str, cpu_kv_cache_gib: int) -> dict[str, str]:
    """What vLLM reads, in training and in evaluation."""
    variables = {
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",  # its JIT needs nvcc, which a user need not have
    }
    if device != "cpu" and under_wsl():
        # its newer runner, which it takes for Llama, Mistral and Qwen3, ends in "UVA is not available" where memory is not pinned
        variables["VLLM_USE_V2_MODEL_RUNNER"] = "0"
    if device == "cpu":
        variables |= {
            "VLLM_CPU_KVCACHE_SPACE": str(cpu_kv_cache_gib),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            **PATIENT_THREADS,
            # vLLM compiles its samplers with inductor while it warms up: half of the engine's start, for
            # nothing at this size
            "TORCHDYNAMO_DISABLE": "1",
        }
    return variables


def set_defaults(variables: Mapping[str, str]) -> None:
    """Of this process and what it starts; what the user has set stays."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def stay_on_loopback() -> None:
    """Of a cluster on one machine, before Ray is imported: processes that found each other at the machine's address in the
    network wait in vain once it has another one (Wi-Fi, a VPN, a cable)."""
    # the first is Ray's name for "not alone"
    set_defaults({"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "VLLM_HOST_IP": "127.0.0.1"})


def use_ray_token() -> None:
    """``ray start --head`` asks everybody for the token of ``~/.ray/auth_token`` where there is one, and a driver shows it
    only where it is told to. Before Ray is imported, which reads the environment once."""
    variables = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    if any(map(os.environ.get, variables)) or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def worker_environment(*, inherits: bool = True) -> dict[str, str]:
    """Variables of every Ray process, beside the inherited ones; what the user has set stays.

    Args:
        inherits: the processes come of this one. False: of a Ray cluster that was there before.
    """
    wanted = {name: os.environ.get(name, value) for name, value in VERL_ENVIRONMENT.items()}
    if not inherits:
        wanted |= {name: value for name, value in os.environ.items() if name.startswith(TRAVELLING)}
    return wanted | {"TRANSFER_QUEUE_ENABLE": "1"}
