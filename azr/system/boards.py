"""The NVIDIA cards of this machine and their MIG slices, as the driver reports them: by NVML, else by nvidia-smi, without
creating a CUDA context."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azr.system import GIB, MIB
from azr.system.children import run_captured

NVIDIA_SMI_TIMEOUT_S = 15.0
BF16_CAPABILITY = (8, 0)
"""The first generation (Ampere) that multiplies bf16; every GPU recipe trains and serves in it."""
_COMPUTE_MODES = {2: "Prohibited", 3: "Exclusive_Process"}
"""As NVML counts them and nvidia-smi writes them. With NVIDIA's MPS, many processes share a card that is exclusive."""


@dataclass(frozen=True)
class Gpu:
    """One card, or one MIG slice of a card, as the driver reports it."""

    name: str
    total_gib: float
    """0 where the driver does not say (a card that shares the host's memory)."""
    free_gib: float
    """Free at the moment of asking; a desktop, a browser or a crashed engine holds the rest."""
    compute_capability: tuple[int, int] | None = None
    """(12, 0) for consumer Blackwell; None where the driver does not say."""
    driver: str = ""
    uuid: str = ""
    """``GPU-...``, or ``MIG-...`` for a slice; empty where it is unknown."""
    compute_mode: str = ""
    """How many processes the driver lets on the card, where a run's would not get there; empty elsewhere."""

    @property
    def arch(self) -> str:
        """``sm_120`` ..., or an empty string."""
        if self.compute_capability is None:
            return ""
        return f"sm_{self.compute_capability[0]}{self.compute_capability[1]}"

    @property
    def is_slice(self) -> bool:
        return self.uuid.startswith("MIG-")

    @property
    def used_gib(self) -> float:
        return self.total_gib - self.free_gib

    @property
    def unfit(self) -> str:
        """Why no run can use this card; empty for one that can be used."""
        if self.compute_capability is not None and self.compute_capability < BF16_CAPABILITY:
            return f"it is {self.arch}, which has no bf16 (needs sm_80 or later)"
        if self.total_gib <= 0:
            return "the driver does not report its memory, so its use cannot be planned"
        if self.compute_mode:
            return (
                f"its compute mode is {self.compute_mode}, and a run's trainer and engine are two processes; "
                "let them share it: sudo nvidia-smi -c DEFAULT"
            )
        return ""

    def __str__(self) -> str:
        return f"{self.name} ({self.uuid})" if self.uuid else self.name


@dataclass(frozen=True)
class Board:
    """A physical card: itself, or its MIG slices."""

    uuid: str
    parts: tuple[Gpu, ...]


def boards_from_nvml() -> tuple[list[Board] | None, str]:
    """All physical cards in bus order, or None and why NVML could not be asked."""
    try:
        import pynvml as nvml
    except ImportError:
        return None, "nvidia-ml-py is not installed"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return None, f"NVML: {error}"
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        return _boards(nvml, driver, nvml.nvmlDeviceGetCount())
    except nvml.NVMLError as error:
        return None, f"NVML: {error}"
    finally:
        nvml.nvmlShutdown()


def _boards(nvml: Any, driver: str, count: int) -> tuple[list[Board], str]:
    found: list[tuple[str, int, Board]] = []
    lost = []
    for index in range(count):
        try:  # one card that does not answer must not hide the others
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            board = _board(nvml, handle, driver)
        except nvml.NVMLError as error:
            lost.append(f"card {index} does not answer (NVML: {error})")
            continue
        place = _or_none(nvml, nvml.nvmlDeviceGetPciInfo, handle)
        if board.parts:
            found.append((_text(place.busId) if place else "", index, board))
        else:
            lost.append(f"card {index} ({board.uuid}) is in MIG mode and has no slice")
    note = "; ".join(lost) or ("" if count else "the driver lists no card")
    return [board for _, _, board in sorted(found, key=lambda item: item[:2])], note


def _board(nvml: Any, handle: Any, driver: str) -> Board:
    uuid = _text(nvml.nvmlDeviceGetUUID(handle))
    capability = _or_none(nvml, nvml.nvmlDeviceGetCudaComputeCapability, handle)
    capability = None if capability is None else (int(capability[0]), int(capability[1]))
    mode = _or_none(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if mode is None or not mode[0]:
        return Board(uuid, (_gpu(nvml, handle, capability, driver),))
    slices = []
    for index in range(_or_none(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = _or_none(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if part is not None:
            slices.append(_gpu(nvml, part, capability, driver))
    return Board(uuid, tuple(slices))


def _gpu(nvml: Any, handle: Any, capability: tuple[int, int] | None, driver: str) -> Gpu:
    memory = _or_none(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    return Gpu(
        name=_text(nvml.nvmlDeviceGetName(handle)),
        total_gib=int(memory.total) / GIB if memory else 0.0,
        free_gib=int(memory.free) / GIB if memory else 0.0,
        compute_capability=capability,
        driver=driver,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        compute_mode=_compute_mode(nvml, handle),
    )


def _compute_mode(nvml: Any, handle: Any) -> str:
    mode = _COMPUTE_MODES.get(_or_none(nvml, nvml.nvmlDeviceGetComputeMode, handle), "")
    pipes = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))
    return "" if mode == "Exclusive_Process" and (pipes / "control").exists() else mode


def _or_none(nvml: Any, ask: Callable[..., Any], *arguments: Any) -> Any:
    """What not every card answers."""
    try:
        return ask(*arguments)
    except nvml.NVMLError:
        return None


def boards_from_nvidia_smi() -> tuple[list[Board] | None, str]:
    command = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path="/usr/lib/wsl/lib")
    if command is None:
        return None, "no nvidia-smi"
    query = "--query-gpu=name,memory.total,memory.free,compute_cap,driver_version,uuid"
    try:
        answer = run_captured([command, query, "--format=csv,noheader,nounits"], NVIDIA_SMI_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"nvidia-smi: {error}"
    if answer.returncode != 0:
        return None, f"nvidia-smi: {' '.join((answer.stdout + answer.stderr).split())[:200]}"
    return [Board(gpu.uuid, (gpu,)) for gpu in parse_nvidia_smi(answer.stdout)], ""


def parse_nvidia_smi(text: str) -> list[Gpu]:
    """Reads ``name, total MiB, free MiB, capability, driver, UUID`` lines; memory that is ``[N/A]`` becomes 0."""
    gpus = []
    for line in text.strip().splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 6:
            continue
        total, free = (int(field) * MIB / GIB if field.isdigit() else 0.0 for field in fields[1:3])
        major, _, minor = fields[3].partition(".")
        capability = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
        gpus.append(Gpu(fields[0], total, free, capability, fields[4], fields[5]))
    return gpus


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
