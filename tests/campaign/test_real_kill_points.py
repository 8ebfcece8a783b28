"""Ten kill points with the real trainer on the CPU: each phase of a step, driver or training loop or
everything at once."""

from __future__ import annotations

import importlib.util
import random
import sys
import time
from pathlib import Path

import pytest

from azr.campaign.state import State
from azr.run.protocol import Phase, read_heartbeat
from azr.run.rundir import RunDir

ROOT = Path(__file__).resolve().parents[2]
CYCLES, STEPS = 2, 3
PHASE_LIMIT_S = 600
POINTS = [
    (Phase.START, "power_cut"),
    (Phase.GENERATE, "kill_driver"),
    (Phase.UPDATE, "kill_loop"),
    (Phase.SYNC, "power_cut"),
    (Phase.SAVE, "kill_driver"),
    (Phase.VALIDATE, "power_cut"),
    (Phase.GENERATE, "kill_engine"),
    (Phase.SAVE, "power_cut"),
    (Phase.START, "kill_driver"),
    (Phase.UPDATE, "kill_trainer"),
]


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ten_kill_points_with_the_real_trainer(tmp_path: Path) -> None:
    soak_campaign = load_soak()
    run = RunDir(tmp_path / "runs" / "kill")
    overrides = [
        *soak_campaign.SHORT_DEADLINES,
        "recipe=cpu_tiny",
        "name=kill",
        f"runs_dir={tmp_path / 'runs'}",
        f"campaign.cycles={CYCLES}",
        f"campaign.steps_per_cycle={STEPS}",
        "campaign.sample_s=2",
        "campaign.poll_s=0.1",
        "campaign.disk_margin_gib=0.1",
        "train.save_every_steps=1",
        "train.probe_every_steps=1",
        "train.verdict_samples=0",
        "report.live=false",
    ]
    command = [sys.executable, str(ROOT / "azr_single_gpu_pipeline.py"), *overrides]
    soak = soak_campaign.Soak(run, command, random.Random(1))
    struck = []
    try:
        soak.start()
        for phase, fault in POINTS:
            if not wait_for_phase(soak, run, phase):
                break  # the campaign got done before: steps are few
            struck.append(f"{phase.value}: {getattr(soak, fault)()}")
            time.sleep(1)
        while not over(soak):
            soak.start()
            soak.driver.wait(timeout=3600)
        print("\n".join(struck))
        assert soak.state().state is State.DONE
        assert len(struck) == len(POINTS) and not any(line.endswith("nobody") for line in struck)
        assert soak_campaign.check(run, CYCLES * STEPS, True) == []
    finally:
        soak.power_cut()


def wait_for_phase(soak, run: RunDir, phase: Phase) -> bool:
    """True when the current attempt is in the phase; False when the campaign is over. A driver that a fault
    ended is started again."""
    end = time.monotonic() + PHASE_LIMIT_S
    while time.monotonic() < end:
        if soak.driver.poll() is not None:
            if over(soak):
                return False
            soak.start()
        beat, state = read_heartbeat(run), soak.state()
        if beat is not None and state is not None and state.attempt_open:
            current = (beat.cycle, beat.attempt) == (state.cycle, state.attempt)
            # not that of a killed driver's trainer, which works on until it notices
            if current and beat.phase is phase and alive(beat.pid) and soak.trainer_id():
                return True
        time.sleep(0.05)
    raise TimeoutError(
        f"no phase {phase.value} within {PHASE_LIMIT_S} s; see the driver's log beside {run.root}"
    )


def over(soak) -> bool:
    """Whether the driver has ended and will not go on."""
    soak.driver.wait(timeout=3600)
    state = soak.state()
    return state is not None and state.state in (State.DONE, State.FAILED)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def load_soak():
    spec = importlib.util.spec_from_file_location(
        "soak_campaign", ROOT / "scripts" / "dev" / "soak_campaign.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak_campaign"] = module
    spec.loader.exec_module(module)
    return module
