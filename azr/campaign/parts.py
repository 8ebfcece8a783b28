"""The parts passed to the driver: data, judges, trainer, progress, and the real ones. Tests pass others; users cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from azr.campaign.trainer_process import TRAINER_COMMAND
from azr.config import Config, to_container
from azr.config.paths import PROJECT
from azr.report.loggers import Logger, make_loggers
from azr.run.protocol import MetricsRecord
from azr.run.records import MachineSample
from azr.run.rundir import RunDir
from azr.system.children import last_words, run_captured

REPORT_TIMEOUT_S = 300.0


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


def default_parts() -> CampaignParts:
    """What only a campaign needs is imported here: judges, data, the live view."""
    from azr.campaign.judges import judge_health, judge_learning
    from azr.data.consolidate import consolidate, merge_shard
    from azr.report.live import LiveView

    return CampaignParts(
        consolidate=lambda run, cycle, config: consolidate(
            run, cycle, config.data, config.sandbox, config.selfplay
        ),
        merge=lambda run, cycle, config: merge_shard(run, cycle, config.data, config.sandbox),
        judges=(judge_health, judge_learning),
        progress=lambda run, config: LiveView(run.root, config.report, past=False),
        loggers=lambda run, config, first_step: make_loggers(
            config.report, run.root, first_step=first_step, run_config=to_container(config)
        ),
        report=_report,
    )


def _report(run: RunDir, config: Config) -> str:
    """In a process of its own: whatever goes wrong in a page must not end a campaign, nor its memory stay here."""
    if not config.report.html:
        return ""

    command = [sys.executable, "-m", "azr", "report", str(run.root.absolute())]
    try:
        # where ``azr`` is imported from; in a session of its own, as Ctrl+C is for the driver
        done = run_captured(command, REPORT_TIMEOUT_S, cwd=PROJECT, start_new_session=True)
    except subprocess.TimeoutExpired:
        return f"The report page was not written within {REPORT_TIMEOUT_S:.0f} s."

    if done.returncode == 0:
        return ""
    return f"The report page could not be written: {last_words(done)}"
