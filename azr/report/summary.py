"""What a run directory says about the run, at any stage: empty, going on, crashed or finished
(``azr.report.summary_reader`` reads it)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from azr.config.monitor import MonitorConfig
from azr.report.metrics import FloatArray, MetricsTable
from azr.run import metric_names as names
from azr.run.hand_over import HandOver
from azr.run.protocol import Heartbeat, Phase, TrainRequest
from azr.run.records import (
    CampaignState,
    Incident,
    JudgeVerdict,
    MachineSample,
)
from azr.run.start_record import TrainerStart
from azr.system.processes import boot_id

RATE_WINDOW = 20
"""Steps over which the current pace is taken."""


class RunStatus(str, Enum):
    EMPTY = "empty"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Not finished, and no driver is running here: crashed, killed, or stopped. The same command resumes it."""
    FINISHED = "finished"
    FAILED = "failed"


LEARNING_VERDICTS = frozenset({"learning", "plateau", "flat", "starved", "regressing"})
"""What the judge of learning can say beside "undecided"; all other verdicts are about health."""


PHASE_WORDS = {
    Phase.START: "trainer and engine are starting,",
    Phase.GENERATE: "generating",
    Phase.EXECUTE: "executing programs",
    Phase.UPDATE: "updating",
    Phase.SYNC: "syncing weights",
    Phase.SAVE: "saving a checkpoint",
    Phase.VALIDATE: "measuring probes",
    Phase.IDLE: "between steps",
}


@dataclass(frozen=True)
class PoolCounts:
    """Of ``pool/manifest.json``."""

    tasks: int | None
    """None before the first consolidation."""
    through_shard: int
    """Latest cycle whose tasks were merged into the pool; 0 before the first merge."""


@dataclass(frozen=True)
class PhaseShare:
    phase: str
    seconds: float
    """Mean seconds a step, over the steps looked at."""
    share: float
    """Of the step, 0 to 1."""


@dataclass(frozen=True)
class RunSummary:
    root: Path
    status: RunStatus
    now_unix_s: float
    """By the clock of the machine on which the run works."""
    table: MetricsTable
    state: CampaignState | None = None
    heartbeat: Heartbeat | None = None
    incidents: tuple[Incident, ...] = ()
    """All of ``incidents.jsonl``; ``faults`` leaves out what the user requested."""
    verdicts: tuple[JudgeVerdict, ...] = ()
    """Without "undecided" and "healthy", which say nothing."""
    pool: PoolCounts = PoolCounts(None, 0)
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""
    request: TrainRequest | None = None
    """The latest cycle's."""
    machine: MachineSample | None = None
    """Latest look of the driver at memory and disk."""
    start: TrainerStart | None = None
    """The latest one of the trainer that led to a finished step."""
    hand_over: HandOver | None = None
    """The latest from one cycle to the next."""
    problems: tuple[str, ...] = ()
    """Files that exist and could not be read, as sentences."""
    driver_gone: bool = False
    """It was of this machine, and was killed; the trainer may still live, until its step is finished and saved."""
    elsewhere: bool = False
    """It beats, and its driver is none of this machine's processes: on another machine, or in a container."""
    ahead_s: float = 0.0
    """Of a run elsewhere: by how much its clock is ahead of this machine's."""

    @property
    def perhaps_elsewhere(self) -> bool:
        """Interrupted, as far as can be seen from here: its driver did not end, and is of another machine, or of before a restart."""
        driver = self.state.driver if self.state is not None else None
        return self.status is RunStatus.INTERRUPTED and driver is not None and driver.boot_id != boot_id()

    @property
    def name(self) -> str:
        return self.root.resolve().name

    @property
    def step(self) -> int:
        """Latest step that counts; 0 before the first."""
        return self.table.last_step

    @property
    def cycle(self) -> int:
        for source in (self.state, self.request):
            if source is not None:
                return source.cycle
        return int(self.table.cycles[-1]) if len(self.table) else 0

    @property
    def state_name(self) -> str:
        return self.state.state.value if self.state else ""

    @property
    def learning_verdict(self) -> JudgeVerdict | None:
        """The campaign's latest judgement about learning; None before there was one."""
        return next((item for item in reversed(self.verdicts) if item.verdict in LEARNING_VERDICTS), None)

    @property
    def faults(self) -> tuple[Incident, ...]:
        return tuple(item for item in self.incidents if not item.asked)

    @property
    def sentence(self) -> str:
        """The campaign's own sentence about what is happening or why it ended."""
        return self.state.sentence if self.state else ""

    @property
    def paused(self) -> bool:
        return self.state is not None and self.state.paused and self.status is RunStatus.RUNNING

    @property
    def solves_only(self) -> bool:
        """Steps were trained, and none asked for proposals (``selfplay.train_propose``, ``solve_only_steps``)."""
        asked = self.table.known(names.PROPOSED)
        return len(asked) > 0 and not asked.any()

    @property
    def cycles_planned(self) -> int | None:
        value = lookup(self.config, "campaign.cycles")
        return value if isinstance(value, int) and value > 0 else None

    @property
    def mismatch_limit(self) -> float:
        """``monitor.max_logprob_mismatch`` of the run: the judges and the report draw the same line."""
        value = lookup(self.config, "monitor.max_logprob_mismatch")
        return float(value) if isinstance(value, (int, float)) else MonitorConfig().max_logprob_mismatch

    @property
    def first_step(self) -> int | None:
        """First step of the cycle that is going on."""
        return self.request.first_step if self.request else None

    @property
    def last_step(self) -> int | None:
        return self.request.last_step if self.request else None

    @property
    def step_seconds(self) -> float | None:
        """Median of the last steps."""
        latest = self.table.known(names.STEP_SECONDS)[-RATE_WINDOW:]
        return float(np.median(latest)) if len(latest) else None

    @property
    def eta_s(self) -> float | None:
        """Seconds until the cycle's last step at the present pace; None when unknown or not running."""
        if self.status is not RunStatus.RUNNING or self.last_step is None or self.step_seconds is None:
            return None
        return max(0, self.last_step - self.step) * self.step_seconds

    @property
    def started_unix_s(self) -> float | None:
        """The first start that the state names; without a state, the beginning of the first step."""
        if self.state is not None and self.state.started_unix_s > 0:
            return self.state.started_unix_s
        times = self.table.unix_s[np.isfinite(self.table.unix_s)]
        if not len(times):
            return None
        first = self.table.column(names.STEP_SECONDS)
        return float(times[0]) - (float(first[0]) if len(first) and math.isfinite(first[0]) else 0.0)

    @property
    def ended_unix_s(self) -> float | None:
        """The latest step, or the end of the campaign."""
        times = self.table.unix_s[np.isfinite(self.table.unix_s)].tolist()
        if self.state is not None and self.status in (RunStatus.FINISHED, RunStatus.FAILED):
            times.append(self.state.updated_unix_s)
        return float(max(times)) if times else None

    @property
    def worked_s(self) -> float | None:
        """Seconds with a driver at work, without pauses and the time between two starts, by a clock that nobody
        sets; where the state does not have it, from the first start to the latest step."""
        state, started, ended = self.state, self.started_unix_s, self.ended_unix_s
        if state is None or state.active_s <= 0:
            return max(0.0, ended - started) if started and ended else None
        if state.paused or self.status in (RunStatus.FINISHED, RunStatus.FAILED):
            return state.active_s
        latest = self.now_unix_s if self.status is RunStatus.RUNNING else ended or 0.0
        return state.active_s + max(0.0, latest - state.updated_unix_s)

    @property
    def starting_s(self) -> float:
        """Seconds from each start of the trainer to its first step, as the campaign measured them."""
        return sum(self.state.durations_s.get("start", [])) if self.state else 0.0

    @property
    def trained_s(self) -> float:
        """Seconds spent in steps that count (start-ups, merges and pauses left out)."""
        return self.table.total(names.STEP_SECONDS)

    def phase_shares(self, steps: int | None = None) -> list[PhaseShare]:
        """Where the time of the last ``steps`` steps went (all if None); phases that took nothing are left out."""
        count = self.table.trained if steps is None else min(steps, self.table.trained)
        if not count:
            return []
        phases = self.table.seconds_by_phase().items()
        means = {phase: float(seconds[-count:].mean()) for phase, seconds in phases}
        total = sum(means.values())
        return [
            PhaseShare(phase, mean, mean / total) for phase, mean in means.items() if mean > 0.001 * total
        ]

    def vram_gib(self) -> float | None:
        """Largest memory of the card in use in the latest step, over the phases; None without a GPU."""
        logged = self.table.named(names.MEMORY_PREFIX, names.VRAM_SUFFIX)
        return max((value for value in map(self.table.last, logged) if value is not None), default=None)

    def rejection_columns(self) -> dict[str, FloatArray]:
        """Rejected proposals per step by reason, all streams together."""
        prefix = names.REJECTED_PREFIX
        logged = ((name, self.table.columns[name]) for name in self.table.named(prefix))
        return {name.removeprefix(prefix): np.nan_to_num(column) for name, column in logged}

    def rejections(self) -> list[tuple[str, int]]:
        """Rejected proposals by reason over the whole run, most frequent first."""
        columns = self.rejection_columns().items()
        counts = ((reason, round(float(np.nansum(values)))) for reason, values in columns)
        return sorted((item for item in counts if item[1]), key=lambda item: -item[1])


def lookup(config: dict[str, Any], key: str) -> Any:
    """``lookup(config, "campaign.cycles")``; None where any part is missing."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
