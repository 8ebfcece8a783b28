"""When a silent trainer counts as hung: deadlines derived from this run's own medians. Pure; the time is an
argument.

Only the caller's monotonic clock is used, so that a jump of the wall clock (NTP, suspend, a wrong battery
clock) ends nothing. When the caller itself was not running for a while (a stopped or starved driver), the gap
is taken off every deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from azr.config.campaign import CampaignConfig
from azr.run.protocol import Heartbeat, Phase

LEARNT_FROM = 2
"""Measurements needed before a median replaces the first-time limit."""


@dataclass(frozen=True)
class WaitLimits:
    """Seconds after which each wait is over."""

    heartbeat_s: float
    start_s: float
    step_s: float
    save_s: float


def learnt_limits(config: CampaignConfig, durations_s: dict[str, list[float]]) -> WaitLimits:
    """``timeout_factor`` times the median of what this run measured, never under ``min_timeout_s``; before,
    the first-time limits."""

    def limit(kind: str, first_s: float) -> float:
        measured = durations_s.get(kind, [])
        if len(measured) < LEARNT_FROM:
            return first_s
        return max(config.min_timeout_s, config.timeout_factor * median(measured))

    start_s = limit("start", config.start_timeout_s)
    # The first steps after a start compile and capture graphs, so the save limit before any save borrows the
    # step's.
    step_s = limit("step", config.first_step_timeout_s)
    return WaitLimits(config.heartbeat_timeout_s, start_s, step_s, limit("save", config.first_step_timeout_s))


class Deadlines:
    """Follows one attempt's heartbeats and says what took how long, and what takes too long.

    Args:
        limits: from ``learnt_limits``.
        first_step: this attempt's first step is measured against ``first_step_limit_s`` (compilation, graph
            capture).
    """

    def __init__(self, limits: WaitLimits, now_s: float, *, first_step_limit_s: float, poll_s: float) -> None:
        self.limits = limits
        self._first_step_limit_s = max(first_step_limit_s, limits.step_s)
        self._gap_s = max(30.0, 20 * poll_s)
        self._started_s = self._seen_s = self._checked_s = now_s
        self._beat: Heartbeat | None = None
        self._step_since_s: float | None = None
        self._part_since_s = now_s
        self._save_since_s: float | None = None
        self._saved_in_step_s = 0.0
        self._steps_done = 0
        self.measured: list[tuple[str, float]] = []
        """("start" | "step" | "save", seconds) since the last ``take_measured``."""

    def observe(self, beat: Heartbeat | None, now_s: float) -> None:
        """Takes the latest heartbeat (or None) at the caller's monotonic time."""
        gap_s = now_s - self._checked_s
        if gap_s > self._gap_s:
            self._shift(gap_s)
        self._checked_s = now_s

        before = self._beat
        if beat is None or (before and (beat.sequence, beat.pid) == (before.sequence, before.pid)):
            return

        self._beat, self._seen_s = beat, now_s
        if self._step_since_s is None:
            if beat.phase is Phase.START:
                return
            self.measured.append(("start", now_s - self._started_s))
            self._step_since_s = now_s

        if before is not None and beat.phase_since_unix_s != before.phase_since_unix_s:
            if beat.phase is before.phase is Phase.VALIDATE:
                # however many parts an evaluation has, each is measured by itself, and the last one as a part of the step
                self._step_since_s += now_s - self._part_since_s
            self._part_since_s = now_s

        if before is not None and beat.step > before.step:
            # A save inside or after the step is measured by itself; otherwise every saving step would look
            # slow.
            self.measured.append(("step", max(0.0, now_s - self._step_since_s - self._saved_in_step_s)))
            self._steps_done += 1
            self._step_since_s, self._saved_in_step_s = now_s, 0.0

        if beat.phase is Phase.SAVE and self._save_since_s is None:
            self._save_since_s = now_s
        elif beat.phase is not Phase.SAVE and self._save_since_s is not None:
            self.measured.append(("save", now_s - self._save_since_s))
            self._saved_in_step_s += now_s - self._save_since_s
            self._save_since_s = None

    @property
    def starting(self) -> bool:
        """The first step has not begun."""
        return self._step_since_s is None

    def take_measured(self) -> list[tuple[str, float]]:
        measured, self.measured = self.measured, []
        return measured

    def overdue(self, now_s: float) -> str:
        """A sentence about the wait that took too long; empty while all is well."""
        limits = self.limits
        silent_s = now_s - self._seen_s

        if self._beat is None or self._step_since_s is None:
            started_s = now_s - self._started_s
            if started_s > limits.start_s:
                return f"The trainer did not begin its first step within {started_s:.0f} s (limit {limits.start_s:.0f} s)."
            if self._beat is not None and silent_s > limits.heartbeat_s:
                return f"The trainer gave no sign of life for {silent_s:.0f} s while starting (limit {limits.heartbeat_s:.0f} s)."
            return ""

        if silent_s > limits.heartbeat_s:
            where = f"in phase {self._beat.phase.value}"
            return f"The trainer gave no sign of life for {silent_s:.0f} s {where} (limit {limits.heartbeat_s:.0f} s)."
        if self._save_since_s is not None:
            saving_s = now_s - self._save_since_s
            if saving_s > limits.save_s:
                return f"Saving took {saving_s:.0f} s (limit {limits.save_s:.0f} s)."
            return ""

        limit_s = limits.step_s if self._steps_done else self._first_step_limit_s
        stepping_s = now_s - self._step_since_s - self._saved_in_step_s
        if stepping_s > limit_s:
            return f"Step {self._beat.step + 1} took {stepping_s:.0f} s, in phase {self._beat.phase.value} (limit {limit_s:.0f} s)."
        return ""

    def _shift(self, gap_s: float) -> None:
        self._started_s += gap_s
        self._part_since_s += gap_s
        self._seen_s += gap_s
        if self._step_since_s is not None:
            self._step_since_s += gap_s
        if self._save_since_s is not None:
            self._save_since_s += gap_s
