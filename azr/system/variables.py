"""Variables of the environment that a run's processes start without: left over from servers, other clusters or launchers,
or set for another machine."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

_UNWANTED: dict[str, tuple[str, ...]] = {
    # With PYTHONOPTIMIZE=2 Ray's processes end silently and its node is waited for in vain, and a warning that is an error
    # ends any of the libraries.
    "the libraries do not support it": ("PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONINSPECT"),
    # What people set for a server of vLLM's: another hub, whose package is not there, more memory or cores than a run may
    # take.
    "the engine goes by the run's configuration": (
        "VLLM_USE_MODELSCOPE", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_LOGGING_CONFIG_PATH",
        "VLLM_PLUGINS", "VLLM_WORKER_MULTIPROC_METHOD", "VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_DP_SIZE",
    ),
    # Cluster managers set them beside CUDA_VISIBLE_DEVICES, whatever the card; Ray and verl end where both are set, or take
    # one for the other.
    "it numbers AMD's cards, and a run uses NVIDIA's or none": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
    # Set by torchrun and accelerate launch for what they start; torch's processes would wait for a store that nobody serves.
    "a run starts its processes itself, without torchrun or accelerate": ("TORCHELASTIC_USE_AGENT_STORE",),
    "a checkpoint holds an optimizer too, and could not be resumed from": ("TORCH_FORCE_WEIGHTS_ONLY_LOAD",),
    # What a job of another Ray cluster has, or sets for its nodes: a module, folder or server that is not here ends the
    # trainer, and with fewer CPUs it waits for its workers in vain.
    "a run has a Ray cluster of its own, or the one that train.ray_address names": (
        "RAY_RUNTIME_ENV_HOOK", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_OVERRIDE_RESOURCES", "RAY_OVERRIDE_LABELS",
        "RAY_REDIS_ADDRESS", "RAY_gcs_storage", "RAY_object_spilling_config", "RAY_memory_usage_threshold",
    ),
}  # fmt: skip
"""Why a variable is not passed on -> the variables."""
ALLOCATOR_VARIABLES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
"""Of torch's memory on a card; guides against a full card set expandable segments there."""
THREAD_VARIABLES = ("OMP_DYNAMIC", "OMP_THREAD_LIMIT")
"""With either OpenMP gives a kernel fewer threads than it asked for, and vLLM's leave those parts undone."""
NUMBERS = re.compile(r"(HF_HUB|VLLM|TORCHINDUCTOR)_(\w+_)?(TIMEOUT(_S|_MS)?|PORT|THREADS)")
"""What these libraries read as a whole number when they are imported, and end at any other text: ``10s``, or the
``tcp://10.0.0.7:8000`` that Kubernetes sets for a service called vllm."""
TLS_FILES = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
"""Without them ``RAY_USE_TLS=1`` keeps Ray from starting."""
_TOOLS = {
    "VLLM_": "vLLM",
    "RAY_": "Ray",
    "TORCH": "torch",
    "PYTORCH": "torch",
    "ROCR_": "ROCm",
    "HIP_": "ROCm",
    "HF_": "Hugging Face",
    "OMP_": "OpenMP",
}
"""Beginnings of variables' names -> whose they are."""
INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
"""Network interfaces through which processes are to find each other. On one machine none has to be named; one that
does not exist ends torch's process group."""
ADDRESS_VARIABLES = ("VLLM_HOST_IP",)
"""This machine's own address, for its processes; at another's they wait for each other in vain."""


def whose(name: str) -> str:
    """The tool that reads the variable."""
    return next((tool for start, tool in _TOOLS.items() if name.startswith(start)), "Python")


def unwanted_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that are set and not passed on -> why."""
    found = {name: why for why, names in _UNWANTED.items() for name in names if environment.get(name)}
    for name, value in environment.items():
        if NUMBERS.fullmatch(name) and value and not re.fullmatch(r"\s*\d+\s*", value):
            found[name] = "it has to be a whole number"
    for name in THREAD_VARIABLES:
        if environment.get(name, "false").strip().lower() != "false":
            found[name] = (
                "without a card the engine's kernels compute nonsense with fewer threads than they count on"
            )
    for name in ALLOCATOR_VARIABLES:
        if "expandable_segments:true" in environment.get(name, "").replace(" ", "").lower():
            found[name] = (
                "the engine's memory pool takes no expandable segments, and the trainer switches them itself around it"
            )
    wants_tls = environment.get("RAY_USE_TLS", "").lower() in ("1", "true")
    if wants_tls and not all(os.path.isfile(environment.get(name, "")) for name in TLS_FILES):  # noqa: PTH113
        found["RAY_USE_TLS"] = f"{', '.join(TLS_FILES)} do not name its certificates"
    return found


def of_another_machine(environment: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(variable, value, what it names) of interfaces and addresses that are not here: left over from a job on a
    cluster, or copied from a guide. NCCL also takes beginnings of interfaces' names, and ``^`` for all but these."""
    found, missing = [name for _, name in socket.if_nameindex()], list[tuple[str, str, str]]()
    for name in INTERFACE_VARIABLES:
        value = environment.get(name, "")
        wanted = value.lstrip("=").split(",")
        by_start = name.startswith("NCCL") and not value.startswith("=")
        is_there = any(have.startswith(one) if by_start else have == one for one in wanted for have in found)
        if value and not value.startswith("^") and not is_there:
            missing.append((name, value, "interface"))
    for name in ADDRESS_VARIABLES:
        value = environment.get(name, "")
        if value and not _is_own_address(value):
            missing.append((name, value, "address"))
    return missing


def _is_own_address(text: str) -> bool:
    try:
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((text.strip("[]"), 0))
    except OSError:
        return False
    return True
