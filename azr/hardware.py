"""What machine this is: cards, cores, memory; read without torch, in milliseconds.

Cards come from NVML (the ``nvidia-ml-py`` package), else from ``nvidia-smi``; both answer without creating a CUDA context.
``AZR_MACHINE`` may name a JSON file that describes another machine (see ``Machine.from_json``): to plan for a card one does
not have, and for tests.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azr.errors import ConfigError
from azr.host_memory import host_memory

MIB = 1 << 20
GIB = 1 << 30
NVIDIA_SMI_TIMEOUT_S = 15.0
BF16_CAPABILITY = (8, 0)
"""The first generation (Ampere) that multiplies bf16; every GPU recipe trains and serves in it."""


@dataclass(frozen=True)
class Gpu:
    """One card as the driver reports it."""

    name: str
    total_gib: float
    free_gib: float
    """Free at the moment of asking; a desktop, a browser or a crashed engine holds the rest."""
    compute_capability: tuple[int, int] | None = None
    """(12, 0) for consumer Blackwell; None where the driver does not say."""
    driver: str = ""

    @property
    def arch(self) -> str:
        """``sm_120`` ..., or an empty string."""
        return "" if self.compute_capability is None else f"sm_{self.compute_capability[0]}{self.compute_capability[1]}"


@dataclass(frozen=True)
class Machine:
    """What a run may use here. RAM and cores respect a container's limits."""

    gpus: tuple[Gpu, ...]
    cpu_cores: int
    ram_gib: float
    ram_available_gib: float
    is_wsl: bool = False
    os_name: str = ""
    gpu_note: str = ""
    """Why no card was found, or a warning about how it was read."""

    @property
    def name(self) -> str:
        """For file names and tables: the first card's name, or the processor's."""
        return self.gpus[0].name if self.gpus else f"{self.cpu_cores}-core {platform.machine() or 'cpu'}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Machine:
        """The inverse of ``to_json``; everything but ``gpus[].total_gib`` has a default.

        Raises:
            ConfigError: a field is unknown or missing.
        """
        try:
            gpus = []
            for fields in record.get("gpus", []):
                fields = {"name": "GPU", "free_gib": fields["total_gib"], **fields}
                if fields.get("compute_capability") is not None:
                    major, minor = fields["compute_capability"]
                    fields["compute_capability"] = (int(major), int(minor))
                gpus.append(Gpu(**fields))
            rest = {key: value for key, value in record.items() if key != "gpus"}
            defaults = {"cpu_cores": 8, "ram_gib": 32.0}
            defaults["ram_available_gib"] = rest.get("ram_gib", defaults["ram_gib"])
            return cls(gpus=tuple(gpus), **{**defaults, **rest})
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"machine description: {error}; it needs gpus: [{{total_gib: 16}}], and may give cpu_cores, ram_gib"
            ) from error


def detect() -> Machine:
    """Reads this machine (or the one that ``AZR_MACHINE`` describes).

    Raises:
        ConfigError: ``AZR_MACHINE`` names a file that cannot be used.
    """
    described = os.environ.get("AZR_MACHINE")
    if described:
        try:
            return Machine.from_json(json.loads(Path(described).read_text(encoding="utf-8")))
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"AZR_MACHINE={described}: {error}; name a JSON file, or unset it") from error
    gpus, note = _gpus()
    memory = host_memory()
    release = platform.release().lower()
    return Machine(
        gpus=gpus,
        cpu_cores=_cpu_cores(),
        ram_gib=memory.total / GIB,
        ram_available_gib=memory.available / GIB,
        is_wsl="microsoft" in release or "wsl" in release,
        os_name=f"{platform.system()} {platform.release()}",
        gpu_note=note,
    )


def choose_recipe(machine: Machine) -> tuple[str, str]:
    """The recipe (``configs/recipe/<name>.yaml``) this machine starts with when the user names none, and why."""
    if not machine.gpus:
        return "cpu_tiny", f"no NVIDIA GPU ({machine.gpu_note or 'none found'}): the bundled tiny model on the CPU"
    best = max(machine.gpus, key=lambda gpu: gpu.total_gib)
    found = f"{best.name}, {best.total_gib:.1f} GiB"
    if best.compute_capability is not None and best.compute_capability < BF16_CAPABILITY:
        return "cpu_tiny", f"{found} is {best.arch}, which has no bf16 (needs sm_80 or later): the bundled tiny model on the CPU"
    large = [gpu for gpu in machine.gpus if gpu.total_gib >= 38]
    if len(large) >= 2:
        return "paper_multi_gpu", f"{len(large)} cards of at least 38 GiB: the published batch, sharded over them"
    if best.total_gib >= 15:
        return "0_5b_16gb", f"{found}: 0.5B, full fine-tuning, nothing offloaded; recipe=1_5b_16gb is the next step up"
    if best.total_gib >= 7:
        return "0_5b_8gb", f"{found}: below 15 GiB, so 0.5B with 8-bit optimizer states and a smaller engine"
    return "cpu_tiny", f"{found}: below the 7 GiB that the smallest GPU recipe needs; the bundled tiny model on the CPU"


def _gpus() -> tuple[tuple[Gpu, ...], str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return (), f"CUDA_VISIBLE_DEVICES={visible!r} hides every card"
    gpus, note = _gpus_from_nvml()
    if gpus is None:
        gpus, smi_note = _gpus_from_nvidia_smi()
        note = "" if gpus else f"{note}; {smi_note}"
    if gpus:
        gpus = [gpus[index] for index in visible_indices(len(gpus))]
    return tuple(gpus or ()), note


def visible_indices(count: int) -> list[int]:
    """Which of ``count`` cards, in NVML's order, ``CUDA_VISIBLE_DEVICES`` leaves visible; all of them where it names no numbers."""
    named = [int(part) for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip().isdigit()]
    return [index for index in named if index < count] if named else list(range(count))


def _gpus_from_nvml() -> tuple[list[Gpu] | None, str]:
    """The cards, or None and why NVML could not be asked."""
    try:
        import pynvml
    except ImportError:
        return None, "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"NVML: {error}"
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        gpus = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            gpus.append(
                Gpu(
                    name=_text(pynvml.nvmlDeviceGetName(handle)),
                    total_gib=int(memory.total) / GIB,
                    free_gib=int(memory.free) / GIB,
                    compute_capability=(int(major), int(minor)),
                    driver=driver,
                )
            )
        return gpus, "" if gpus else "the driver lists no card"
    except pynvml.NVMLError as error:
        return None, f"NVML: {error}"
    finally:
        pynvml.nvmlShutdown()


def _gpus_from_nvidia_smi() -> tuple[list[Gpu] | None, str]:
    command = shutil.which("nvidia-smi") or next((path for path in ("/usr/lib/wsl/lib/nvidia-smi",) if Path(path).exists()), None)
    if command is None:
        return None, "no nvidia-smi"
    query = "--query-gpu=name,memory.total,memory.free,compute_cap,driver_version"
    try:
        answer = subprocess.run(
            [command, query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"nvidia-smi: {error}"
    if answer.returncode != 0:
        return None, f"nvidia-smi: {(answer.stdout + answer.stderr).strip()[:200]}"
    return parse_nvidia_smi(answer.stdout), ""


def parse_nvidia_smi(text: str) -> list[Gpu]:
    """Reads ``name, total MiB, free MiB, capability, driver`` lines; a line that says ``[N/A]`` for memory is left out."""
    gpus = []
    for line in text.strip().splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 5 or not (fields[1].isdigit() and fields[2].isdigit()):
            continue
        major, _, minor = fields[3].partition(".")
        capability = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
        gpus.append(Gpu(fields[0], int(fields[1]) * MIB / GIB, int(fields[2]) * MIB / GIB, capability, fields[4]))
    return gpus


def _cpu_cores() -> int:
    """Cores this process may use: affinity mask and container quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return cores


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
