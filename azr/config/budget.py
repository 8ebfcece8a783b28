"""Section ``budget``: whether a run that does not fit may start, and what is left to others."""

from __future__ import annotations

from dataclasses import dataclass, field

from azr.errors import ConfigError

RESOURCES = ("gpu", "ram", "disk")


@dataclass(frozen=True)
class BudgetConfig:
    override: list[str] = field(default_factory=list)
    """Resources (``gpu``, ``ram``, ``disk``) for which a run starts although the preflight says that it does not fit."""
    gpu_reserve_gib: float = 0.6
    """GPU memory left to the desktop; 0.1 is enough without a display."""
    ram_reserve_gib: float = 2.0
    """Host memory left to the system and to other programs."""
    gpu_limit_gib: float = 0.0
    """GPU memory that a run may take, engine and trainer together, where that is less than the card's; 0 is the whole card. The engine's
    share is of the card's own memory all the same."""

    def validate(self) -> None:
        for name in self.override:
            if name not in RESOURCES:
                raise ConfigError(f"budget.override holds {name!r}; it lists some of {', '.join(RESOURCES)}")
        for key in ("gpu_reserve_gib", "ram_reserve_gib", "gpu_limit_gib"):
            if getattr(self, key) < 0:
                raise ConfigError(f"budget.{key} is {getattr(self, key)}; it cannot be negative")
