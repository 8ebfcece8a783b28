"""The trainer is kept from one cycle to the next, and ended whenever it should not be."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fake_campaign
import pytest
from fake_campaign import Driver, Report, command_trainer, fake_parts, fast_config, hurry, wait_for

from azr.campaign import between_cycles
from azr.campaign.control import Control, request_control, withdraw_control
from azr.campaign.incidents import read_incidents
from azr.campaign.parts import CampaignParts
from azr.campaign.state import CampaignState, State, read_state_file
from azr.campaign.trainer_process import REGISTRY_FILE
from azr.config import Config
from azr.run.checkpoints import list_checkpoints
from azr.run.hand_over import HAND_OVER_FILE, HandOverPart, read_hand_over
from azr.run.protocol import Heartbeat, Phase, read_heartbeat, read_metrics
from azr.run.rundir import RunDir
from azr.system.files import read_jsonl
from azr.system.processes import ProcessId, processes_with_marker
from azr.system.resources import HostMemory

CONFIG = fast_config(cycles=3)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    command_trainer(run)
    return run


def started(run: RunDir) -> list[str]:
    """The attempts that a process was started for."""
    return sorted(
        f"{path.parents[2].name.lstrip('0')}/{path.parent.name.lstrip('0')}"
        for path in run.root.glob(f"cycles/*/attempts/*/{REGISTRY_FILE}")
    )


def recycled(run: RunDir) -> list[str]:
    return [item.cause for item in read_incidents(run) if item.kind == "recycle"]


def finished(run: RunDir, driver: Driver, steps: int = 12) -> CampaignState:
    assert driver.wait() == 0, (run.root / "driver.log").read_text()
    state = read_state_file(run.state)
    assert state.state is State.DONE, state.sentence
    assert [record.step for record in read_metrics(run)] == list(range(1, steps + 1))
    assert list_checkpoints(run)[-1].step == steps
    nothing_left(run)
    return state


def nothing_left(run: RunDir) -> None:
    assert not processes_with_marker(f"{read_state_file(run.state).run_id}/")


def while_it_waits(act: Callable[[RunDir], None], cycle: int = 1) -> CampaignParts:
    """``act`` happens in that cycle's MERGE, with the trainer waiting."""

    def merge(run: RunDir, number: int, config: Config) -> Report:
        if number == cycle and not (run.root / "acted").exists():
            (run.root / "acted").touch()
            beat = read_heartbeat(run)
            assert beat is not None and beat.phase is Phase.IDLE and Path(f"/proc/{beat.pid}").exists()
            act(run)
        return fake_campaign.merge(run, number, config)

    return fake_parts(merge=merge)


def hold(run: RunDir) -> None:
    wait_for((run.root / "go").exists, 60)


def kill_trainer(run: RunDir) -> None:
    beat = read_heartbeat(run)
    assert beat is not None
    os.kill(beat.pid, signal.SIGKILL)
    wait_for(lambda: _is_gone(beat))


def _is_gone(beat: Heartbeat | None) -> bool:
    return beat is not None and ProcessId.of(beat.pid) is None


def test_one_trainer_works_through_all_cycles(run: RunDir) -> None:
    state = finished(run, Driver(run, CONFIG))
    assert started(run) == ["1/1"] and not list(read_incidents(run))
    assert {record.process_name for record in read_metrics(run)} == {"1/1"}
    assert len(state.durations_s["start"]) == 1, "going on is not a start"
    assert "cycles/001/attempts/001/trainer.log" in run.trainer_log(3, 1).read_text()
    assert run.attempt(3, 1).joinpath("stacks.txt").exists()


def test_a_run_shorter_than_the_time_between_samples_says_what_its_training_took(run: RunDir) -> None:
    """Its only sample was of the first moment: RAM 0.003 GiB."""
    finished(run, Driver(run, fast_config(cycles=1, sample_s=3600)), 4)
    steps = [sample["step"] for sample in read_jsonl(run.supervision)]
    assert steps[0] == 0 and len(steps) == 2 and steps[1] >= 1


def test_it_can_be_switched_off(run: RunDir) -> None:
    finished(run, Driver(run, fast_config(cycles=3, trainer_wait_s=0)))
    assert started(run) == ["1/1", "2/1", "3/1"] and not list(read_incidents(run))


def test_a_trainer_killed_while_it_waits_is_replaced(run: RunDir) -> None:
    state = finished(run, Driver(run, CONFIG, while_it_waits(kill_trainer)))
    assert started(run) == ["1/1", "2/1"] and state.restarts == 0
    assert recycled(run) == ["The trainer ended while it waited for this cycle."]


def test_a_trainer_does_not_wait_for_ever(run: RunDir) -> None:
    def merge(run: RunDir, number: int, config: Config) -> Report:
        if number == 1:
            wait_for(lambda: _is_gone(read_heartbeat(run)))
        return fake_campaign.merge(run, number, config)

    finished(run, Driver(run, fast_config(cycles=3, trainer_wait_s=0.2), fake_parts(merge=merge)))
    assert started(run)[:2] == ["1/1", "2/1"]


@pytest.mark.parametrize("whole_machine", [False, True])
def test_a_driver_killed_while_the_trainer_waits(run: RunDir, whole_machine: bool) -> None:
    driver = Driver(run, CONFIG, while_it_waits(hold))
    wait_for((run.root / "acted").exists)
    driver.kill()
    if whole_machine:
        for process in processes_with_marker(f"{read_state_file(run.state).run_id}/"):
            os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not processes_with_marker(f"{read_state_file(run.state).run_id}/"))
    finished(run, Driver(run, CONFIG))
    assert started(run) == ["1/1", "2/1"]


def test_a_trainer_that_still_waits_is_found_by_the_next_start(run: RunDir) -> None:
    """Its driver is killed in CONSOLIDATE of a cycle that has no attempt yet, and the trainer is stopped, so that it
    cannot notice."""

    def freeze(run: RunDir) -> None:
        beat = read_heartbeat(run)
        assert beat is not None
        os.kill(beat.pid, signal.SIGSTOP)

    def consolidate(run: RunDir, number: int, config: Config) -> Report:
        if number == 2 and not (run.root / "go").exists():
            (run.root / "stands").touch()
            hold(run)
        return fake_campaign.consolidate(run, number, config)

    config = fast_config(cycles=3, orphan_grace_s=0.1)
    driver = Driver(run, config, replace(while_it_waits(freeze), consolidate=consolidate))
    wait_for((run.root / "stands").exists)
    driver.kill()
    (run.root / "go").touch()
    orphans = processes_with_marker(f"{read_state_file(run.state).run_id}/")
    finished(run, Driver(run, config))
    assert len(orphans) == 1 and not orphans[0].alive
    found = [item.cause for item in read_incidents(run) if item.kind == "repair"]
    assert any("Attempt 1 of cycle 1 had left 1 process" in cause for cause in found), found


@pytest.mark.parametrize("interrupts", [1, 2])
def test_stopped_while_the_trainer_waits(run: RunDir, interrupts: int) -> None:
    driver = Driver(run, CONFIG, while_it_waits(hold))
    wait_for((run.root / "acted").exists)
    driver.signal(signal.SIGINT)
    if interrupts == 2:
        time.sleep(0.5)
        driver.signal(signal.SIGINT)
    else:
        (run.root / "go").touch()
    assert driver.wait() == 130
    assert read_state_file(run.state).driver is None
    nothing_left(run)
    finished(run, Driver(run, CONFIG))
    assert started(run) == ["1/1", "2/1"], "what was stopped between cycles resumes in a new process"


def test_a_pause_between_cycles_frees_the_machine(run: RunDir) -> None:
    driver = Driver(run, CONFIG, while_it_waits(lambda run: request_control(run, Control.PAUSE)))
    wait_for(lambda: run.state.exists() and read_state_file(run.state).paused)
    nothing_left(run)
    withdraw_control(run, Control.PAUSE)
    finished(run, driver)
    assert started(run) == ["1/1", "2/1"]


def test_a_leak_seen_at_the_last_step_brings_a_new_trainer(run: RunDir) -> None:
    command_trainer(run, faults=[{"kind": "leak", "cycle": 1, "attempt": 1, "step": 4}])
    finished(run, Driver(run, CONFIG))
    assert started(run) == ["1/1", "2/1"]


def test_planned_recycling_counts_the_steps_of_all_its_cycles(run: RunDir) -> None:
    finished(run, Driver(run, fast_config(cycles=3, recycle_every_steps=8)))
    assert started(run) == ["1/1", "3/1"]
    assert recycled(run) == ["Planned restart after 8 steps."]


def test_without_memory_for_both_each_cycle_starts_its_own(run: RunDir) -> None:
    def little_memory() -> None:
        between_cycles.host_memory = lambda: HostMemory(8 * 2**30, 2**29)

    finished(run, Driver(run, CONFIG, before=little_memory))
    assert started(run) == ["1/1", "2/1", "3/1"]
    assert recycled(run)[0].startswith("0.5 GiB of main memory are left")


def test_a_rollback_starts_a_trainer_at_the_lower_rate_which_is_then_kept(run: RunDir) -> None:
    command_trainer(run, faults=[{"kind": "nan", "cycle": 2, "attempt": 1, "step": 7}])
    finished(run, Driver(run, CONFIG))
    assert started(run) == ["1/1", "2/2"]
    assert [record.values["rate"] for record in read_metrics(run)] == [1.0] * 6 + [0.5] * 6


@pytest.mark.parametrize("kind", ["crash", "hang"])
def test_a_trainer_that_fails_to_go_on_is_started_again(run: RunDir, kind: str) -> None:
    step = 0 if kind == "hang" else 5
    command_trainer(run, faults=[{"kind": kind, "cycle": 2, "attempt": 1, "step": step}])
    config = fast_config(cycles=3, heartbeat_timeout_s=1e6)
    state = finished(run, Driver(run, config, before=lambda: hurry(run)))
    assert started(run) == ["1/1", "2/2"] and state.restarts == 1
    assert not state.start_fault, "it had trained before: no fault of its start"


def test_a_damaged_checkpoint_is_not_papered_over_by_what_the_trainer_holds(run: RunDir) -> None:
    def damage(run: RunDir) -> None:
        file = list_checkpoints(run)[-1].path / "buffer.json"
        file.write_bytes(file.read_bytes()[:-1])

    finished(run, Driver(run, CONFIG, while_it_waits(damage)))
    assert started(run) == ["1/1", "2/1"]
    assert "begins from step 2" in recycled(run)[0]


def test_another_configuration_starts_another_trainer(run: RunDir) -> None:
    finished(run, Driver(run, fast_config(cycles=1)), steps=4)
    finished(run, Driver(run, fast_config(cycles=2, steps_per_cycle=5)), steps=9)
    assert started(run) == ["1/1", "2/1"]


def test_a_flat_cycle_ends_its_trainer(run: RunDir) -> None:
    command_trainer(run, faults=[{"kind": "stagnate", "step": step} for step in range(4, 5)])
    finished(run, Driver(run, CONFIG))
    assert started(run) == ["1/1", "2/1"]


def parts_of(run: RunDir) -> list[list[str]]:
    return [
        [record["part"] for record in read_jsonl(path)]
        for path in sorted(run.root.glob(f"cycles/*/{HAND_OVER_FILE}"))
    ]


def test_each_part_of_a_hand_over_is_noted(run: RunDir) -> None:
    finished(run, Driver(run, CONFIG))
    whole = [part.value for part in HandOverPart]
    assert parts_of(run) == [whole, whole, whole[:4]]  # after the last cycle comes no other
    told = read_hand_over(run)
    assert told is not None and told.cycle == 2 and told.total_s > 0


def test_a_hand_over_that_was_interrupted_is_not_told(run: RunDir) -> None:
    held = run.root / "held"

    def merge(run: RunDir, cycle: int, config: Config) -> Report:
        if not held.exists():
            held.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return fake_campaign.merge(run, cycle, config)

    Driver(run, CONFIG, fake_parts(merge=merge)).wait()
    assert [part[-1] for part in parts_of(run)] == [HandOverPart.CHECK.value]
    finished(run, Driver(run, CONFIG))
    assert [path.parent.name for path in sorted(run.root.glob(f"cycles/*/{HAND_OVER_FILE}"))] == [
        "002",
        "003",
    ]
