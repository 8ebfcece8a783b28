"""Section ``budget``: whether a run that does not fit may start, what memory is left to other programs, and which settings
are chosen for the card that a run gets.

A recipe states the numbers of these for its class of card and names the keys in ``budget.automatic``;
``rollout.max_sequences=auto`` names one more. A number that the user sets, on the command line or in
``configs/pipeline.yaml``, takes its key off the list. ``azr.budget.fitting`` does the choosing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

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
AUTO = "auto"
AUTOMATIC_KEYS: tuple[str, ...] = get_args(AutomaticKey)


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


def settle_automatic(values: dict[str, Any], defaults: dict[str, Any], set_by_user: Collection[str]) -> None:
    """Changes ``values``: every ``auto`` becomes the default and a key of ``budget.automatic``, and numbers of
    the user's leave it.

    Args:
        values: all keys, nested, as composed.
        set_by_user: dotted keys.
    """
    listed = values["budget"]["automatic"]
    if not isinstance(listed, list):
        return  # refused later, with its place
    written_auto = []
    for key in AUTOMATIC_KEYS:
        section, _, name = key.partition(".")
        if values[section][name] == AUTO:
            values[section][name] = defaults[section][name]
            written_auto.append(key)
    kept = [key for key in listed if key not in set_by_user]
    values["budget"]["automatic"] = list(dict.fromkeys([*kept, *written_auto]))
