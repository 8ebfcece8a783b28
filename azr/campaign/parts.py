"""The parts passed to the driver: data, judges, trainer, progress. Tests pass others; users cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from azr.campaign.trainer_process import TRAINER_COMMAND
from azr.config import Config
from azr.report.loggers import Logger
from azr.run.protocol import MetricsRecord
from azr.run.records import MachineSample
from azr.run.rundir import RunDir


class Advice(str, Enum):
    """What a judge wants done."""

    CONTINUE = "continue"
    NOTE = "note"
    """Tell the user, and continue."""
    END_CYCLE = "end_cycle"
    """Stagnation: stop with a checkpoint, merge, continue with the next cycle."""
    ROLLBACK = "rollback"
    """Collapse, non-finite updates, engine and trainer apart: back to the last good checkpoint."""
    RECYCLE = "recycle"
    """A leak: restart the trainer at a checkpoint."""


@dataclass(frozen=True)
class Judgement:
    """A judge's verdict, as the driver acts on it."""

    advice: Advice
    verdict: str
    """Name: learning, plateau, starved, collapsing ..."""
    sentence: str
    """With the numbers, so that a person on Monday can disagree."""
    onset_step: int | None = None
    """ROLLBACK, NOTE: first step that is suspect; the checkpoint to go back to must be from before it."""


class Progress(Protocol):
    """Shows the run; reads the run directory itself (``azr.report.live.LiveView``)."""

    def update(self) -> Any: ...

    def say(self, text: str) -> None: ...


class DataStepResult(Protocol):
    """What a data step did, in a sentence with its counts."""

    @property
    def sentence(self) -> str: ...


DataStep = Callable[[RunDir, int, Config], DataStepResult]
"""``consolidate`` or ``merge``: (run, cycle, config) -> report. Idempotent and atomic."""
Judge = Callable[[Sequence[MetricsRecord], Sequence[MachineSample], Config], Judgement]
"""(records that count, samples of this trainer process, config) -> judgement."""


@dataclass(frozen=True)
class CampaignParts:
    consolidate: DataStep
    merge: DataStep
    judges: tuple[Judge, ...]
    """Asked after each step; the first whose advice is neither CONTINUE nor NOTE is followed."""
    progress: Callable[[RunDir, Config], AbstractContextManager[Progress]]
    loggers: Callable[[RunDir, Config, int], Sequence[Logger]]
    """(run, config, first step of the attempt); asked for at the start of each attempt."""
    report: Callable[[RunDir, Config], str]
    """Writes the report page after a cycle and at the end; returns a sentence about what went wrong, or nothing."""
    trainer_command: Sequence[str] = TRAINER_COMMAND
    trainer_env: Mapping[str, str] = field(default_factory=dict)
