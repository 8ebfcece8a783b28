"""Does a run fit this machine? Predicted from the configuration and the model's config.json, before anything
loads.

    verdict = judge(config, detect(), shape_for(config))
    require_fit(config, detect(), runs_dir)        # what the driver calls: raises BudgetError with the cheapest way out

``scripts/preflight.py`` prints the tables. No torch here, and well under a second.
"""

from __future__ import annotations

from pathlib import Path

from azr.budget.advice import Fit, RecipeFit, Shortage, judge_fit, propose
from azr.budget.estimate import estimate
from azr.budget.shape import ModelShape, shape_for, shape_from_config, shape_of
from azr.commands import command
from azr.config import Config
from azr.errors import BudgetError
from azr.run.rundir import RunDir
from azr.system.disks import free_gib
from azr.system.hardware import Machine

__all__ = [
    "Fit", "ModelShape", "RecipeFit", "estimate", "fit_refusal", "judge_fit", "propose", "require_fit", "room_for",
    "shape_for", "shape_from_config", "shape_of",
]  # fmt: skip


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
        raise BudgetError(fit_refusal(verdict, blocking, runs_dir))
    return verdict


def room_for(config: Config, runs_dir: Path) -> float:
    """GiB that are free where the run's checkpoints go; people move that folder to a larger disk and leave a link."""
    return free_gib(RunDir(runs_dir / config.name).checkpoints)


def fit_refusal(verdict: Fit, shortages: list[Shortage], runs_dir: Path) -> str:
    """The sentences that a user reads when a run is refused."""
    lines = ["this run does not fit this machine."]
    lines += [f"  {shortage}" for shortage in shortages]
    names = sorted({shortage.resource for shortage in shortages})
    if "disk" in names:
        lines.append(
            f"  this is the disk of {runs_dir.resolve()}: free some space, or put runs elsewhere with runs_dir=FOLDER"
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
