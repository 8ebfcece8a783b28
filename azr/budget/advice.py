"""Does it fit, and is enough of the card free now; if not, what would make it fit (``azr.budget.changes``).

    verdict = judge_fit(config, detect(), shape_for(config))
    require_fit(config, detect(), runs_dir)        # what the driver calls: raises BudgetError with the cheapest way out

``scripts/preflight.py`` prints the tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from azr.budget.changes import Change, cheapest_change, touches
from azr.budget.estimate import ResourceEstimate, estimate
from azr.budget.shape import ModelShape, shape_for
from azr.commands import command
from azr.config import Config
from azr.errors import BudgetError
from azr.run.rundir import RunDir
from azr.system.disks import free_gib
from azr.system.hardware import Device, Machine, device_for
from azr.system.process_limits import file_size_gib

KV_SEQUENCES = 8
"""An engine whose KV cache holds fewer full-length sequences than this is no use."""
MARGIN_GIB = 1.0
"""A shortage below this is left to the run: the prediction is a few per cent too high or too low, and NVIDIA's driver counts
what it keeps for itself as used."""
RAY_STORE_SHARE = 0.3
"""Of the memory that is free at its start: the file in which Ray keeps its objects."""
CLOSE_THEM = "close them (`nvidia-smi` names them) or wait until they end"


@dataclass(frozen=True)
class Shortage:
    """A resource that is not enough."""

    resource: str
    """``gpu``, ``ram`` or ``disk``: the name that ``budget.override`` takes; or ``cards``, which nothing overrides."""
    phase: str
    needed_gib: float
    available_gib: float
    no_card: str = ""
    """What is needed and what is there, where there are too few cards; the figures mean nothing then."""

    @property
    def missing_gib(self) -> float:
        return self.needed_gib - self.available_gib

    def __str__(self) -> str:
        if self.no_card:
            return f"an NVIDIA GPU: this configuration {self.no_card}; {command('doctor')} says more"
        names = {"gpu": f"GPU memory in phase {self.phase}", "ram": "host memory", "disk": "disk"}
        if not self.available_gib and self.resource != "disk":
            return f"{names[self.resource]}: needs {self.needed_gib:.1f} GiB, and budget.{self.resource}_reserve_gib leaves none"
        needs = f"needs {self.needed_gib:.1f} GiB, has {self.available_gib:.1f}"
        return f"{names[self.resource]}: {needs}, {self.missing_gib:.1f} too little"


@dataclass(frozen=True)
class Fit:
    estimate: ResourceEstimate
    available_gpu_gib: float
    available_ram_gib: float
    available_disk_gib: float | None
    shortages: tuple[Shortage, ...]
    advice: Change | None
    """The cheapest change found; None when it fits, or when nothing here makes it fit."""
    kept: tuple[str, ...] = ()
    """Keys that no change may touch, because the run has begun with them."""
    wsl: str = ""
    """Where host memory is short under WSL2: how to give it more."""

    @property
    def fits(self) -> bool:
        return not self.shortages

    @property
    def missing_gib(self) -> float:
        """Of all shortages together."""
        return sum(shortage.missing_gib for shortage in self.shortages)


def judge_fit(
    config: Config,
    machine: Machine,
    shape: ModelShape,
    free_disk_gib: float | None = None,
    advise: bool = True,
    kept: tuple[str, ...] = (),
) -> Fit:
    """
    Args:
        free_disk_gib: free space where the run lies; None leaves the disk out.
        advise: look for the cheapest change when it does not fit.
        kept: keys of a run that has begun, which it keeps (``azr.run.identity.kept_keys``).
    """
    device = device_for(machine, config.train.device, config.train.n_gpus_per_node)
    on_gpu = device.kind == "cuda"
    # the smallest card that would be used; the engine takes its share of it whatever budget.gpu_limit_gib says
    total = min((gpu.total_gib for gpu in device.cards), default=0.0)
    gpu = max(0.0, min(total, config.budget.gpu_limit_gib or total) - config.budget.gpu_reserve_gib)
    ram = max(0.0, machine.ram_gib - config.budget.ram_reserve_gib)
    result = estimate(config, shape, total, on_gpu)
    if (config.needs_gpu and not on_gpu) or (device.missing and not config.train.ray_address):
        shortage, advice = _too_few_cards(device, machine)
        possible = advise and not touches(advice.settings, kept)
        return Fit(result, gpu, ram, free_disk_gib, (shortage,), advice if possible else None, kept)
    shortages = tuple(_shortages(config, result, gpu, ram, free_disk_gib))
    advice = None
    if shortages and advise:

        def missing_gib(candidate: Config) -> float:
            return judge_fit(candidate, machine, shape, free_disk_gib, advise=False).missing_gib

        advice = cheapest_change(config, kept, missing_gib)
    wsl = wsl_memory(machine, result.ram.gib + config.budget.ram_reserve_gib) if result.ram.gib > ram else ""
    return Fit(result, gpu, ram, free_disk_gib, shortages, advice, kept, wsl)


def wsl_memory(machine: Machine, needed_gib: float) -> str:
    """How to give WSL2 as much memory as is needed; empty elsewhere. How much Windows has cannot be seen from inside."""
    if not machine.is_wsl:
        return ""
    setting = math.ceil(1.04 * needed_gib)  # Linux sees 3 % less than the setting
    return (
        f"WSL2 has {machine.ram_gib:.1f} GiB, by default at most half of the computer's memory. If the computer has {setting + 3} GB "
        f"or more: write memory={setting}GB into C:\\Users\\<you>\\.wslconfig, section [wsl2], then wsl --shutdown"
    )


def _too_few_cards(device: Device, machine: Machine) -> tuple[Shortage, Change]:
    if device.cards:
        there = len(device.cards)
        text = f"needs {device.count} (train.n_gpus_per_node), and {there} can be used: {device}"
        setting = f"train.n_gpus_per_node={there}"
        cost = "fewer cards: more time per step, and each holds a larger part"
    else:
        text = f"needs one, and there is none ({machine.why_no_card})"
        setting, cost = "recipe=cpu_tiny", "the bundled tiny model on the CPU, which shows everything at work"
    shortage = Shortage("cards" if device.missing else "gpu", "start", 0.0, 0.0, no_card=text)
    return shortage, Change((setting,), cost)


def _shortages(
    config: Config, result: ResourceEstimate, gpu: float, ram: float, disk: float | None
) -> Iterator[Shortage]:
    for phase in result.gpu:
        if phase.gib > gpu:
            yield Shortage("gpu", phase.name, phase.gib, gpu)
    if result.gpu:
        tokens = KV_SEQUENCES * (config.rollout.max_prompt_tokens + config.rollout.max_response_tokens)
        if result.kv_tokens < tokens:
            engine = next(part.gib for part in result.phase("rollout").parts if part.name == "engine awake")
            missing = (tokens - result.kv_tokens) * result.shape.kv_bytes_per_token() / 2**30
            phase = f"rollout (KV cache of {KV_SEQUENCES} full-length sequences)"
            yield Shortage("gpu", phase, engine + missing, engine)
    if result.ram.gib > ram:
        yield Shortage("ram", result.ram.name, result.ram.gib, ram)
    if disk is not None and result.disk.gib > disk:
        yield Shortage("disk", result.disk.name, result.disk.gib, disk)


def require_fit(config: Config, machine: Machine, runs_dir: Path, kept: tuple[str, ...] = ()) -> Fit | None:
    """Refuses a run that cannot fit, unless ``budget.override`` names what is short.

    Args:
        kept: keys that no advice may touch (``judge_fit``).

    Returns:
        The verdict; None when the model's size is not known yet (a hub model that was never downloaded).

    Raises:
        BudgetError: it does not fit; the message names the phase, by how much, and the cheapest change that
            fits.
        ModelError: the model's config.json cannot be read.
    """
    shape = shape_for(config)
    if shape is None:
        return None
    verdict = judge_fit(config, machine, shape, room_for(config, runs_dir), kept=kept)
    blocking = [shortage for shortage in verdict.shortages if shortage.resource not in config.budget.override]
    if blocking:
        raise BudgetError(fit_refusal(verdict, blocking, RunDir(runs_dir / config.name)))
    return verdict


def room_for(config: Config, runs_dir: Path) -> float:
    """GiB that are free where the run's checkpoints go; people move that folder to a larger disk and leave a link."""
    return free_gib(RunDir(runs_dir / config.name).checkpoints)


def fit_refusal(verdict: Fit, shortages: list[Shortage], run: RunDir) -> str:
    """The sentences that a user reads when a run is refused."""
    lines = ["this run does not fit this machine."]
    lines += [f"  {shortage}" for shortage in shortages]
    names = sorted({shortage.resource for shortage in shortages})
    if "ram" in names and verdict.wsl:
        lines.append(f"  {verdict.wsl}")
    if "disk" in names:
        lines.append(
            f"  this is the disk of {run.checkpoints.resolve()}: free some space, or put runs elsewhere with runs_dir=FOLDER"
        )
    if verdict.advice is not None:
        lines.append(
            f"  the cheapest change that fits: {' '.join(verdict.advice.settings)}   ({verdict.advice.cost})"
        )
    elif names != ["disk"] and verdict.kept:
        lines.append(
            "  a run keeps its model, recipe, optimizer, precision and number of cards, and nothing else makes it fit. It continues on a "
            "machine like that of its start. Its model can begin another run here: `azr export`, then name=OTHER "
            "model.path=EXPORTED_FOLDER"
        )
    elif names != ["disk"]:
        lines.append(
            f"  no single setting makes it fit; to see which recipes fit: {command('preflight')} --propose"
        )
    if "cards" not in names:
        lines.append(f"  to start anyway: budget.override=[{','.join(names)}]")
    return "\n".join(lines)


def file_limit(config: Config, machine: Machine, shape: ModelShape | None) -> str:
    """What ``ulimit -f`` is too small for; empty where it is large enough.

    Args:
        shape: of the model; None while it is not known.
    """
    limit_gib = file_size_gib()
    what, needed_gib = "Ray's shared memory", RAY_STORE_SHARE * machine.ram_available_gib
    if shape is not None and (file_gib := estimate(config, shape, 0.0, False).largest_file_gib) > needed_gib:
        what, needed_gib = "a checkpoint's largest file", file_gib
    if limit_gib >= needed_gib or config.train.ray_address:
        return ""
    return (
        f"a file may have {limit_gib:.1f} GiB here (ulimit -f), and {what} takes {needed_gib:.1f} GiB; lift the limit "
        "(`ulimit -f unlimited` in a new shell; fsize in /etc/security/limits.conf, LimitFSIZE= of a service)"
    )


def card_in_use(config: Config, machine: Machine, shape: ModelShape | None) -> str:
    """What others hold of a card that the run takes; empty where enough is free. ``judge_fit`` compares a run with the
    whole card.

    Args:
        shape: of the model; None while it is not known.
    """
    cards = device_for(machine, config.train.device, config.train.n_gpus_per_node).cards
    if not cards or shape is None:
        return ""
    peak = estimate(config, shape, min(gpu.total_gib for gpu in cards)).gpu_peak
    fullest = min(cards, key=lambda gpu: gpu.free_gib)
    if fullest.free_gib + MARGIN_GIB >= min(peak.gib, fullest.total_gib):
        return ""
    return (
        f"other programs hold {fullest.used_gib:.1f} of the {fullest.total_gib:.1f} GiB of {fullest}: this run needs "
        f"{peak.gib:.1f} GiB (phase {peak.name}), and {fullest.free_gib:.1f} are free"
    )
