"""Is enough of the card free now? ``judge_fit`` compares a run with the whole card; other programs may hold part of it."""

from __future__ import annotations

from azr.budget.estimate import estimate
from azr.budget.shape import ModelShape
from azr.config import Config
from azr.system.hardware import Machine, device_for

MARGIN_GIB = 1.0
"""A shortage below this is left to the run: the prediction is a few per cent too high or too low, and NVIDIA's driver counts
what it keeps for itself as used."""
CLOSE_THEM = "close them (`nvidia-smi` names them) or wait until they end"


def card_in_use(config: Config, machine: Machine, shape: ModelShape | None) -> str:
    """What others hold of a card that the run takes; empty where enough is free.

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
