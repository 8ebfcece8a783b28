"""Section ``budget``: whether a run that does not fit may start, and what memory is left to other
programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from azr.config.limits import NonNegativeFloat, Section

AutomaticKey = Literal[
    "rollout.gpu_memory_share",
    "rollout.max_sequences",
    "rollout.max_batched_tokens",
    "rollout.cuda_graph_sizes",
    "rollout.sleep",
    "train.micro_batch_tokens",
    "train.gradient_checkpointing",
    "train.param_offload",
    "train.optimizer_offload",
]


@dataclass(frozen=True)
class BudgetConfig(Section, place="budget"):
    override: list[Literal["gpu", "ram", "disk"]] = field(default_factory=list)
    """Resources (``gpu``, ``ram``, ``disk``) for which a run starts although the preflight says that it does
    not fit."""
    gpu_reserve_gib: NonNegativeFloat = 0.6
    """GPU memory left to the desktop; 0.1 is enough without a display."""
    ram_reserve_gib: NonNegativeFloat = 2.0
    """Host memory left to the system and to other programs."""
    gpu_limit_gib: NonNegativeFloat = 0.0
    """GPU memory that a run may use, engine and trainer together, if less than the card's; 0 is the whole
    card. The engine's share still refers to the card's own memory."""
    automatic: list[AutomaticKey] = field(default_factory=list)
    """Settings that are chosen for the card that a run gets, in place of the recipe's numbers; what is chosen,
    and why, is printed at the start and by ``azr preflight``. ``KEY=auto`` adds a key, ``KEY=NUMBER`` takes it
    off, and ``budget.automatic=[]`` keeps all the recipe's numbers."""
