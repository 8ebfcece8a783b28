"""Section ``campaign``: how long a run lasts, what it keeps, and when its trainer counts as hung."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le

from azr.config.limits import NonNegativeFloat, NonNegativeInt, PositiveInt, Seconds, SecondsOrNone, Section
from azr.run.metric_names import PROBE_ALL


@dataclass(frozen=True)
class CampaignConfig(Section, place="campaign"):
    cycles: PositiveInt = 5
    """Cycles of consolidate, train, merge. To continue a finished run, raise it and run the same command
    again."""
    steps_per_cycle: PositiveInt = 100
    """Training steps of a cycle; a cycle ends earlier when learning stagnates or the budget is used up."""
    hours: Annotated[float, Ge(0), Le(10**6)] = 48.0
    """Time budget for the run, over all its starts; paused time and time between starts do not count. 0 = no
    limit."""
    max_flat_cycles: NonNegativeInt = 2
    """Consecutive cycles that ended in stagnation after which the campaign is done. 0 = never for that
    reason."""

    keep_last: PositiveInt = 2
    """Checkpoints kept, newest first. At least one verified checkpoint always remains."""
    keep_every: NonNegativeInt = 0
    """Keep every checkpoint whose step is a multiple of this as well, of those that are saved: 15 keeps every 30th step where
    ``train.save_every_steps`` is 10. 0 = none."""
    best_metric: str = PROBE_ALL
    """The checkpoint with the highest value of this metric is kept too. Empty = none."""
    disk_margin_gib: NonNegativeFloat = 2.0
    """Free disk that must remain beside the checkpoints still to come; below it the run stops before it
    breaks something."""

    poll_s: Seconds = 0.5
    """Seconds between checks on the trainer."""
    sample_s: Seconds = 30.0
    """Seconds between samples of memory and disk (``supervision.jsonl``)."""
    heartbeat_timeout_s: Seconds = 300.0
    """Without a sign of life for this long, the trainer counts as hung."""
    start_timeout_s: Seconds = 1800.0
    """Time limit for a start before any start of this run has been measured; afterwards ``timeout_factor``
    times their median applies."""
    first_step_timeout_s: Seconds = 3600.0
    """Time limit for a step before any step of this run has been measured; afterwards ``timeout_factor``
    times their median applies."""
    timeout_factor: Annotated[float, Ge(1.5)] = 5.0
    """A start, step or save counts as hung after this many times the run's own median; below 1.5 every
    slightly slow one would."""
    min_timeout_s: Seconds = 900.0
    """No deadline derived from measurements is shorter than this."""
    orphan_grace_s: SecondsOrNone = 20.0
    """Seconds that a trainer whose driver died has to save, once the next driver finds it."""
    vram_wait_s: SecondsOrNone = 90.0
    """Longest wait for the card's memory to fall after a trainer has ended; then the next start is tried
    anyway."""
    vram_margin_gib: NonNegativeFloat = 0.5
    """How far above its level before the start the memory may stay and still count as fallen."""

    max_restarts: NonNegativeInt = 30
    """Unplanned restarts of the trainer in total."""
    max_restarts_without_progress: NonNegativeInt = 3
    """Unplanned restarts in a row without a new checkpoint; one more and the campaign fails."""
    backoff_s: SecondsOrNone = 5.0
    """Wait before the first unplanned restart; doubled for each further one in a row."""
    backoff_max_s: SecondsOrNone = 300.0
    """Longest such wait."""
    recycle_every_steps: NonNegativeInt = 0
    """Planned restart of the trainer after it trained this many steps, at a checkpoint. 0 = only when memory
    or step time grows."""
    trainer_wait_s: SecondsOrNone = 1800.0
    """How long a trainer that finished its cycle waits, with its engine, for the next one to be prepared,
    before it ends. 0 = each cycle starts a trainer of its own."""
    max_rollbacks: NonNegativeInt = 1
    """Returns to the last good checkpoint after a collapse or non-finite updates; one more and the campaign
    stops."""
    rollback_rate_factor: Annotated[float, Gt(0), Le(1)] = 0.5
    """Learning rate after a rollback, as a share of the one before."""
