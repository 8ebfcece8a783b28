"""What machine this is: cards, cores, memory; and which device a run computes on. Read without torch, in
milliseconds.

Cards come from NVML (the ``nvidia-ml-py`` package), else from ``nvidia-smi`` (``azr/system/boards.py``).
``AZR_MACHINE`` may name a JSON file that describes another machine (see ``Machine.from_json``): to plan for a
card one does not have, and for tests.

Everything that speaks of a card asks here: ``device_for`` says which one a run takes, and ``Device.take``
names it by UUID in ``CUDA_VISIBLE_DEVICES``, so that torch, Ray, vLLM and NVML in all children mean the same
one.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azr.errors import ConfigError
from azr.system import GIB
from azr.system.boards import Gpu
from azr.system.cards import ORDER, VISIBLE, visible_cards
from azr.system.files import text_of
from azr.system.resources import host_memory, usable_cores


@dataclass(frozen=True)
class Machine:
    """What a run may use here. RAM and cores respect a container's limits."""

    gpus: tuple[Gpu, ...]
    """Every card that is visible, in CUDA's order."""
    cpu_cores: int
    ram_gib: float
    ram_available_gib: float
    is_wsl: bool = False
    os_name: str = ""
    gpu_note: str = ""
    """Why no card was found, or a warning about how it was read."""

    @property
    def cards(self) -> tuple[Gpu, ...]:
        """The cards that a run can use, the largest first; a run of n GPUs takes the first n."""
        return tuple(sorted((gpu for gpu in self.gpus if not gpu.unfit), key=lambda gpu: -gpu.total_gib))

    @property
    def why_no_card(self) -> str:
        """What is in the way of the cards that no run can use, each by its name."""
        unfit = [f"{gpu}: {gpu.unfit}" for gpu in self.gpus if gpu.unfit]
        return "; ".join(filter(None, [*unfit, self.gpu_note])) or "none found"

    @property
    def name(self) -> str:
        """For file names and tables: the name of the card that a run takes, or the processor's."""
        return self.cards[0].name if self.cards else f"{self.cpu_cores}-core {platform.machine() or 'cpu'}"

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


def under_wsl() -> bool:
    release = platform.release().lower()
    return "microsoft" in release or "wsl" in release


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
    found = visible_cards()
    memory = host_memory()
    return Machine(
        gpus=found.gpus,
        cpu_cores=usable_cores(),
        ram_gib=memory.total / GIB,
        ram_available_gib=memory.available / GIB,
        is_wsl=under_wsl(),
        os_name=f"{platform.system()} {platform.release()}",
        gpu_note=found.note,
    )


def choose_recipe(machine: Machine) -> tuple[str, str]:
    """The recipe (``configs/recipe/<name>.yaml``) this machine starts with when the user names none, and why."""
    if not machine.cards:
        what = "no NVIDIA GPU that a run can use" if machine.gpus else "no NVIDIA GPU"
        return "cpu_tiny", f"{what} ({machine.why_no_card}): the bundled tiny model on the CPU"
    best = machine.cards[0]
    found = f"{best}, {best.total_gib:.1f} GiB"
    large = [gpu for gpu in machine.cards if gpu.total_gib >= 38 and not gpu.is_slice]
    if len(large) >= 2:
        return (
            "paper_multi_gpu",
            f"{len(large)} cards of at least 38 GiB: the published batch, sharded over them",
        )
    if round(best.total_gib, 1) >= 15:  # as it is shown: an A2 of 16 GB reports 14.996 GiB
        return (
            "0_5b_16gb",
            f"{found}: 0.5B, full fine-tuning, nothing offloaded; recipe=1_5b_16gb is the next step up",
        )
    if best.total_gib >= 7:
        return "0_5b_8gb", f"{found}: below 15 GiB, so 0.5B with 8-bit optimizer states and a smaller engine"
    return (
        "cpu_tiny",
        f"{found}: below the 7 GiB that the smallest GPU recipe needs; the bundled tiny model on the CPU",
    )


@dataclass(frozen=True)
class Device:
    """What a run computes on."""

    kind: str
    """``cuda`` or ``cpu``."""
    cards: tuple[Gpu, ...]
    """The cards it takes; none on a CPU."""
    count: int
    """Number of cards requested; on a CPU, processes."""

    @property
    def missing(self) -> int:
        """Requested cards that are not there."""
        return self.count - len(self.cards) if self.kind == "cuda" else 0

    def environment(self) -> dict[str, str]:
        """Variables by which this process and its children see these cards and no others."""
        # as many entries as processes, because Ray counts them; CUDA stops at the first and sees none
        if self.kind == "cpu":
            return {VISIBLE: ",".join(["-1"] * self.count)}
        if not self.cards or not all(gpu.uuid for gpu in self.cards):
            return {}
        return {VISIBLE: ",".join(gpu.uuid for gpu in self.cards), ORDER: os.environ.get(ORDER, "PCI_BUS_ID")}

    def take(self) -> None:
        os.environ.update(self.environment())

    def __str__(self) -> str:
        if self.kind == "cpu":
            return "the CPU"
        return ", ".join(f"{gpu}, {gpu.total_gib:.1f} GiB" for gpu in self.cards) or "no card"


def device_for(machine: Machine, wanted: str = "auto", count: int = 1) -> Device:
    """The device of a run, which its recipe decides (``train.device``), and on a machine of several cards
    which of them.

    Args:
        wanted: ``cpu``, ``cuda``, or ``auto``: a card where there is one that a run can use.
        count: cards wanted, or processes on a CPU (``train.n_gpus_per_node``).
    """
    if wanted == "cpu" or (wanted == "auto" and not machine.cards):
        return Device("cpu", (), count)
    # CUDA shows a process one slice at most
    usable = [gpu for gpu in machine.cards if count == 1 or not gpu.is_slice]
    cards = tuple(usable[:count])
    return Device("cuda", cards, count)


def cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor says it can do; empty where it cannot be asked."""
    for line in text_of(path).splitlines():
        name, _, values = line.partition(":")
        if name.strip().lower() in ("flags", "features"):
            return frozenset(values.split())
    return frozenset()
