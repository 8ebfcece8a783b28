from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.campaign.deadlines import Deadlines, WaitLimits, learnt_limits
from azr.config.campaign import CampaignConfig
from azr.run.protocol import Heartbeat, Phase

CONFIG = CampaignConfig(
    min_timeout_s=900,
    timeout_factor=5,
    first_step_timeout_s=3600,
    start_timeout_s=1800,
    heartbeat_timeout_s=300,
)


class Clock:
    """Feeds ``Deadlines`` with beats at chosen monotonic times."""

    def __init__(self, limits: WaitLimits | None = None) -> None:
        self.deadlines = Deadlines(
            limits or learnt_limits(CONFIG, {}), 0.0, first_step_limit_s=3600, poll_s=0.5
        )
        self.beat = Heartbeat(0.0, 1, 1, 1, 0, Phase.START, 0.0, 0)

    def at(
        self, now_s: float, phase: Phase | None = None, step: int | None = None, *, silent: bool = False
    ) -> str:
        if not silent:
            # the wall clock runs backwards: nobody may care
            changes = {"sequence": self.beat.sequence + 1, "unix_s": -now_s}
            self.beat = replace(
                self.beat,
                **changes,
                phase=phase or self.beat.phase,
                step=self.beat.step if step is None else step,
            )
        self.deadlines.observe(self.beat, now_s)
        return self.deadlines.overdue(now_s)

    def run(self, until_s: float, since_s: float, *, silent: bool = False) -> str:
        """Beats (or silence) every 5 s; the first complaint."""
        now_s = since_s
        while now_s < until_s:
            now_s = min(until_s, now_s + 5)
            complaint = self.at(now_s, silent=silent)
            if complaint:
                return complaint
        return ""


@given(st.lists(st.floats(0.01, 5000), min_size=2, max_size=50))
@settings(deadline=None, max_examples=50)
def test_learnt_limits_follow_the_median_but_never_go_under_the_floor(steps: list[float]) -> None:
    limits = learnt_limits(CONFIG, {"step": steps})
    assert limits.step_s == max(900, 5 * median(steps))
    assert limits.start_s == 1800 and limits.save_s == 3600, (
        "what was not measured keeps its first-time limit"
    )


def test_one_measurement_is_not_yet_a_median() -> None:
    assert learnt_limits(CONFIG, {"step": [1.0]}).step_s == 3600


def test_start_step_and_save_are_measured_apart() -> None:
    clock = Clock()
    clock.at(0)
    clock.run(100, 0)
    clock.at(100, Phase.GENERATE)
    clock.at(130, Phase.UPDATE)
    clock.at(150, Phase.IDLE, step=1)
    clock.at(151, Phase.SAVE)
    clock.at(171, Phase.GENERATE)
    clock.at(200, Phase.IDLE, step=2)
    assert clock.deadlines.take_measured() == [("start", 100), ("step", 50), ("save", 20), ("step", 30)]
    assert clock.deadlines.take_measured() == []


def test_hangs_are_found_in_each_phase() -> None:
    limits = WaitLimits(heartbeat_s=60, start_s=500, step_s=100, save_s=50)
    assert "did not begin its first step" in Clock(limits).run(600, 0)
    clock = Clock(limits)
    clock.at(5)
    assert "no sign of life" in clock.run(100, 5, silent=True)
    clock = Clock(replace(limits, step_s=100))
    clock.at(5, Phase.GENERATE)
    assert clock.run(3000, 5) == "", "the first step has its own limit"
    clock.at(3001, step=1)
    complaint = clock.run(3200, 3001)
    assert "Step 2 took" in complaint and "phase generate" in complaint and "limit 100 s" in complaint
    clock = Clock(limits)
    clock.at(5, Phase.SAVE)
    assert "Saving took" in clock.run(100, 5)


def test_a_slow_save_does_not_count_as_a_slow_step() -> None:
    clock = Clock(WaitLimits(heartbeat_s=60, start_s=500, step_s=100, save_s=300))
    clock.at(0, Phase.GENERATE)
    clock.at(50, Phase.SAVE, step=1)
    assert clock.run(250, 50) == ""
    clock.at(251, Phase.GENERATE)
    assert clock.run(340, 251) == ""
    assert "Step 2 took" in clock.run(400, 340)


def test_each_part_of_a_long_evaluation_is_measured_by_itself() -> None:
    clock = Clock(WaitLimits(heartbeat_s=60, start_s=500, step_s=100, save_s=300))
    clock.at(0, Phase.GENERATE)
    clock.at(10, Phase.GENERATE, step=1)
    clock.run(59, 10)
    for part in range(1, 10):
        clock.beat = replace(clock.beat, phase_since_unix_s=part)
        assert clock.at(60 * part, Phase.VALIDATE) == clock.run(60 * part + 49, 60 * part) == ""
    clock.at(599, Phase.GENERATE, step=2)
    assert dict(clock.deadlines.take_measured())["step"] == 50 + 59, "what was before, and the last part"
    assert "Step 3 took" in clock.run(800, 599)


@pytest.mark.parametrize("gap_s", [31.0, 3600.0, 86400.0])
def test_time_in_which_the_driver_itself_did_not_run_is_nobodys_fault(gap_s: float) -> None:
    clock = Clock(WaitLimits(heartbeat_s=60, start_s=500, step_s=100, save_s=300))
    clock.at(0, Phase.GENERATE)
    clock.at(10, step=1)
    clock.run(50, 10)
    assert clock.at(50 + gap_s, silent=True) == ""
    assert clock.run(100 + gap_s, 50 + gap_s) == ""
    assert "Step 2 took" in clock.run(200 + gap_s, 100 + gap_s)
