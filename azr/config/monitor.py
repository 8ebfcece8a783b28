"""Section ``monitor``: what the two judges look at, and from where on they act (docs/stagnation.md)."""

from __future__ import annotations

from dataclasses import dataclass

from azr.errors import ConfigError


@dataclass(frozen=True)
class MonitorConfig:
    enabled: bool = True
    """Let the judges end cycles, roll back and recycle. Off: a run ends by cycles, hours or a crash only."""

    # learning: probes and data
    probe_metric: str = "probe/all/accuracy"
    """Series that must rise. Never a training reward: that stays flat in self-play when all goes well."""
    warmup_evaluations: int = 5
    """First evaluations of a run that no window includes."""
    window_evaluations: int = 30
    """Evaluations in a window. Longer: fewer wrong verdicts, later right ones."""
    min_delta: float = 0.05
    """Gain of ``probe_metric`` over a window that counts as learning. Below about 2.5 times the noise of one evaluation nothing is
    ever called a plateau within reasonable time (docs/stagnation.md has the table)."""
    confidence: float = 0.9
    """Confidence of each one-sided limit of the gain. Higher: fewer wrong verdicts, later right ones."""
    patience_evaluations: int = 6
    """Flat windows, without a rising one in between, that make a plateau."""
    cooldown_evaluations: int = 5
    """Evaluations after the start of a cycle or attempt before a plateau may be called: new data first gets its chance."""
    regression_delta: float = 0.15
    """Fall of ``probe_metric`` below its best level that counts as lost ability and is rolled back, but at least four standard
    errors of one evaluation; 0 = never."""
    starved_steps: int = 20
    """Steps in a row with starved data after which the cycle ends."""
    min_novelty: float = 0.1
    """Data counts as starved when fewer than this share of valid proposals is new ..."""
    max_zero_variance: float = 0.8
    """... or when more than this share of new tasks is solved always or never, so that nothing can be learnt from them."""

    # health: process and optimiser
    nonfinite_limit: int = 3
    """Updates with a non-finite gradient or loss, within ``nonfinite_window`` steps, that count as divergence."""
    nonfinite_window: int = 10
    """Steps in which ``nonfinite_limit`` is counted."""
    entropy_floor: float = 0.005
    """Token entropy (nats) below which sampling has collapsed: all samples of a task become the same; 0 = not watched."""
    max_cut_share: float = 0.5
    """Share of responses cut at their token limit from which, if it also rose by ``collapse_rise``, the model has collapsed."""
    max_format_errors: float = 0.6
    """Share of responses without the asked-for format from which, if it also rose by ``collapse_rise``, the model has collapsed."""
    collapse_rise: float = 0.3
    """Rise above the run's best level that turns a bad share into a collapse: a small model may be bad from the start."""
    max_logprob_mismatch: float = 0.01
    """Mean difference of token probabilities between engine and trainer from which the two do not run the same model."""
    health_steps: int = 5
    """Steps in a row that a collapse or mismatch must last (on smoothed series) before it counts."""
    leak_horizon_s: float = 3600.0
    """Recycle the trainer when its memory, growing as it does, would leave less than ``leak_margin_gib`` this much later."""
    leak_margin_gib: float = 2.0
    """Host memory that must remain for everything else."""
    leak_min_growth_gib: float = 0.5
    """Growth since the attempt's first samples below which nothing is called a leak."""
    slow_factor: float = 1.6
    """Recycle the trainer when a step takes this many times as long per token as early in the attempt; 0 = never."""
    recycle_min_steps: int = 40
    """Steps of an attempt before it may be recycled."""

    def validate(self) -> None:
        """Raises:
        ConfigError: a value is out of range; the message names key, value and what is right.
        """
        if self.window_evaluations < 10:
            raise ConfigError(f"monitor.window_evaluations is {self.window_evaluations}; a trend needs at least 10 evaluations")
        if self.min_delta <= 0:
            raise ConfigError(f"monitor.min_delta is {self.min_delta}; it must be above 0")
        if not 0.5 < self.confidence < 1:
            raise ConfigError(f"monitor.confidence is {self.confidence}; it is above 0.5 and below 1")
        positive = ("patience_evaluations", "starved_steps", "nonfinite_limit", "health_steps", "leak_horizon_s", "recycle_min_steps")
        for key in positive:
            if getattr(self, key) <= 0:
                raise ConfigError(f"monitor.{key} is {getattr(self, key)}; it must be above 0")
        for key in ("warmup_evaluations", "cooldown_evaluations", "regression_delta", "entropy_floor", "leak_margin_gib", "slow_factor"):
            if getattr(self, key) < 0:
                raise ConfigError(f"monitor.{key} is {getattr(self, key)}; it cannot be negative")
        for key in ("min_novelty", "max_zero_variance", "max_cut_share", "max_format_errors", "collapse_rise"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"monitor.{key} is {getattr(self, key)}; it is a share from 0 to 1")
        if self.nonfinite_limit > self.nonfinite_window:
            raise ConfigError(
                f"monitor.nonfinite_limit is {self.nonfinite_limit}, above monitor.nonfinite_window {self.nonfinite_window}; "
                "it could never be reached"
            )
        if 0 < self.slow_factor <= 1:
            raise ConfigError(f"monitor.slow_factor is {self.slow_factor}; it is above 1, or 0 to switch it off")
