"""Section ``report``: what a run shows in progress, and what it leaves to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Le

from azr.config.limits import NonNegativeFloat, NonNegativeInt, Section


@dataclass(frozen=True)
class ReportConfig(Section, place="report"):
    live: bool = True
    """Full-screen view in the terminal. Off, or where the output is not a terminal: one plain line per
    step."""
    refresh_s: Annotated[float, Ge(0.2), Le(60)] = 2.0
    """Seconds between redraws of the live view; metrics are read at the same rate."""
    html: bool = True
    """Write ``report.html`` and the transcript pages after each cycle and at the end."""
    loggers: list[Literal["tensorboard", "wandb"]] = field(default_factory=lambda: ["tensorboard"])
    """Where metrics go in addition to ``metrics.jsonl``: ``tensorboard`` (files in the run directory, no
    account), ``wandb``."""
    wandb_project: str = "azr"
    """Weights & Biases project; read only when ``wandb`` is among the loggers."""
    wandb_mode: Literal["offline", "online", "disabled"] = "offline"
    """``offline`` writes into the run directory, for a later ``wandb sync``; ``online`` uploads immediately;
    ``disabled``."""
    sample_tasks: NonNegativeInt = 3
    """Tasks of each type that the report prints in full."""
    machine_watts: NonNegativeFloat = 0.0
    """Power draw of the whole machine while it trains, in watts, measured at the plug; the report multiplies
    it by the hours. 0 = no cost is shown."""
    eur_per_kwh: NonNegativeFloat = 0.30
    """Price of electricity, for the cost in the report."""

    def contradictions(self) -> Iterator[str]:
        if "wandb" in self.loggers and not self.wandb_project:
            yield "report.wandb_project is empty; give the project's name, or take wandb out of report.loggers"
