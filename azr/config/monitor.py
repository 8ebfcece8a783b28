"""Section ``monitor``: what the two judges look at, and when they act (docs/stagnation.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from azr.config.limits import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Seconds,
    Section,
    Share,
)
from azr.run.metric_names import PROBE_ALL


@dataclass(frozen=True)
class MonitorConfig(Section, place="monitor"):
    enabled: bool = True
    """Let the judges end cycles, roll back and recycle. Off: a run ends by cycles, hours or a crash only."""

    # learning: probes and data
    probe_metric: str = PROBE_ALL
    """The metric that must rise. Never a training reward: that stays flat in self-play when all goes well."""
    warmup_evaluations: NonNegativeInt = 5
    """Number of evaluations at the start of a run that no window includes."""
    window_evaluations: Annotated[int, Ge(10)] = 30
    """Evaluations in a window. A longer window gives fewer wrong verdicts, and later right ones."""
    min_delta: PositiveFloat = 0.05
    """Gain of ``probe_metric`` over a window that counts as learning. Below about 2.5 times the noise of one
    evaluation, no plateau is found within reasonable time (docs/stagnation.md has the table)."""
    confidence: Annotated[float, Gt(0.5), Lt(1)] = 0.9
    """Confidence of each one-sided limit of the gain. Higher gives fewer wrong verdicts, and later right
    ones."""
    patience_evaluations: PositiveInt = 6
    """Flat windows, without a rising one in between, that make a plateau."""
    cooldown_evaluations: NonNegativeInt = 5
    """Evaluations after the start of a cycle or attempt before a plateau may be declared, to give new data a
    chance."""
    regression_delta: NonNegativeFloat = 0.15
    """Fall of ``probe_metric`` below its best level (at least four standard errors of one evaluation) that
    counts as lost ability and is rolled back; 0 = never."""
    starved_steps: PositiveInt = 20
    """Steps in a row with starved data after which the cycle ends."""
    min_novelty: Share = 0.1
    """Data counts as starved when fewer than this share of valid proposals is new ..."""
    max_zero_variance: Share = 0.8
    """... or when more than this share of new tasks is always or never solved, so that nothing can be learned
    from them."""

    # health: process and optimiser
    nonfinite_limit: PositiveInt = 3
    """Updates with a non-finite gradient or loss, within ``nonfinite_window`` steps, that count as
    divergence."""
    nonfinite_window: PositiveInt = 10
    """Steps in which ``nonfinite_limit`` is counted."""
    entropy_floor: NonNegativeFloat = 0.005
    """Token entropy (nats) below which sampling has collapsed: all samples of a task become the same; 0 = not
    watched."""
    max_cut_share: Share = 0.5
    """Share of responses truncated at the token limit from which, if it also rose by ``collapse_rise``, the
    model has collapsed."""
    max_format_errors: Share = 0.6
    """Share of responses without the required format from which, if it also rose by ``collapse_rise``, the
    model has collapsed."""
    collapse_rise: Share = 0.3
    """Rise above the run's best level that makes a bad share a collapse: a small model may be bad from the
    start."""
    max_logprob_mismatch: PositiveFloat = 0.01
    """Mean difference of token probabilities between engine and trainer from which, over ``health_steps``,
    the two do not run the same model: the run rolls back. The report's red line. (A single step above
    ``train.max_logprob_mismatch`` ends the attempt immediately.)"""
    health_steps: PositiveInt = 5
    """Steps in a row that a collapse or mismatch must last (on smoothed series) before it counts."""
    thoughts_share: Share = 0.5
    """An incident notes that the thoughts of a solve stream collapsed when its answers (median of 5 or 10
    steps) have less than this share of the tokens of the ``thoughts_window_steps`` before, and that is not noise;
    the run goes on. Recorded runs stayed above 0.6 or fell below 0.45 (docs/stagnation.md); 0 = not watched."""
    thoughts_window_steps: Annotated[int, Ge(10)] = 20
    """Steps that the latest 5 or 10 are compared with. A longer window calls a slow decline a collapse, too."""
    thoughts_warmup_steps: NonNegativeInt = 20
    """Steps at the start that the window leaves out: answers halve while a model learns the required form."""
    leak_horizon_s: Seconds = 3600.0
    """Recycle the trainer when its memory, at its current growth, would leave less than ``leak_margin_gib``
    after this time."""
    leak_margin_gib: NonNegativeFloat = 2.0
    """Host memory that must remain for everything else."""
    leak_min_growth_gib: NonNegativeFloat = 0.5
    """Growth since the attempt's first samples below which nothing is called a leak."""
    slow_factor: NonNegativeFloat = 1.6
    """Recycle the trainer when a step takes this many times as long, and as long per token, as early in the
    attempt; 0 = never."""
    recycle_min_steps: PositiveInt = 40
    """Steps of an attempt before it may be recycled."""

    def contradictions(self) -> Iterator[str]:
        if self.nonfinite_limit > self.nonfinite_window:
            yield (
                f"monitor.nonfinite_limit is {self.nonfinite_limit}, above monitor.nonfinite_window {self.nonfinite_window}; "
                "it could never be reached"
            )
        if 0 < self.slow_factor <= 1:
            yield f"monitor.slow_factor is {self.slow_factor}; it must be above 1, or 0 to switch it off"
