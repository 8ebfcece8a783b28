"""Which recipe is the largest that fits a machine."""

from __future__ import annotations

from dataclasses import dataclass

from azr.budget.advice import Fit, card_in_use, judge_fit
from azr.budget.shape import shape_for
from azr.config import Config
from azr.system.hardware import Machine


@dataclass(frozen=True)
class RecipeFit:
    recipe: str
    parameters: int
    verdict: Fit
    in_use: str = ""
    """What others hold of the card, where that leaves too little of it."""

    @property
    def fits(self) -> bool:
        return self.verdict.fits and not self.in_use


def propose(
    machine: Machine, recipes: dict[str, Config], free_disk_gib: float | None = None
) -> list[RecipeFit]:
    """Each recipe judged on a machine, the largest model first (all weights before adapters, plain before int4); unknown models
    are left out.

    The first that fits is the answer. Recipes for several cards are left out where the machine has fewer, and
    those for a card where it has none.
    """
    proposals = []
    for name, config in recipes.items():
        shape, cards = shape_for(config), len(machine.cards)
        too_few = config.train.n_gpus_per_node > max(1, cards) or (config.needs_gpu and not cards)
        if shape is None or too_few:
            continue
        verdict = judge_fit(config, machine, shape, free_disk_gib)
        proposals.append(RecipeFit(name, shape.parameters, verdict, card_in_use(config, machine, shape)))

    def order(proposal: RecipeFit) -> tuple[int, bool, bool]:
        model = recipes[proposal.recipe].model
        return -proposal.parameters, model.lora_rank > 0, model.base_format != "plain"

    return sorted(proposals, key=order)
