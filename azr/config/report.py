"""Section ``report``: what a run shows while it goes on, and what it leaves to read."""

from __future__ import annotations

from dataclasses import dataclass, field

from azr.errors import ConfigError

LOGGERS = ("tensorboard", "wandb")
WANDB_MODES = ("offline", "online", "disabled")


@dataclass(frozen=True)
class ReportConfig:
    live: bool = True
    """Full-screen view in the terminal. Off, or where the output is no terminal: one plain line a step."""
    refresh_s: float = 2.0
    """Seconds between two redraws of the live view; metrics are read at the same pace."""
    html: bool = True
    """Write ``report.html`` and the transcript pages after each cycle and at the end."""
    loggers: list[str] = field(default_factory=lambda: ["tensorboard"])
    """Where metrics go beside ``metrics.jsonl``: ``tensorboard`` (files in the run directory, no account), ``wandb``."""
    wandb_project: str = "azr"
    """Weights & Biases project; read only when ``wandb`` is among the loggers."""
    wandb_mode: str = "offline"
    """``offline`` writes into the run directory, to be sent later with ``wandb sync``; ``online`` sends as it goes; ``disabled``."""
    sample_tasks: int = 3
    """Tasks of each type that the report prints in full."""
    machine_watts: float = 0.0
    """Power draw of the whole machine while it trains, in watts, measured at the plug; the report multiplies it by the hours. 0 = no
    cost is shown."""
    eur_per_kwh: float = 0.30
    """Price of electricity in that line of the report."""

    def validate(self) -> None:
        """Raises:
        ConfigError: a value is out of range; the message names key, value and what is right.
        """
        for name in self.loggers:
            if name not in LOGGERS:
                raise ConfigError(f"report.loggers holds {name!r}; known loggers are {', '.join(LOGGERS)}")
        if self.wandb_mode not in WANDB_MODES:
            raise ConfigError(f"report.wandb_mode is {self.wandb_mode!r}; it is one of {', '.join(WANDB_MODES)}")
        if "wandb" in self.loggers and not self.wandb_project:
            raise ConfigError("report.wandb_project is empty; give the project's name, or take wandb out of report.loggers")
        if not 0.2 <= self.refresh_s <= 60:
            raise ConfigError(f"report.refresh_s is {self.refresh_s}; it is a number of seconds from 0.2 to 60")
        for key in ("sample_tasks", "machine_watts", "eur_per_kwh"):
            if getattr(self, key) < 0:
                raise ConfigError(f"report.{key} is {getattr(self, key)}; it cannot be negative")
