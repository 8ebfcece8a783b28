"""Each way a trainer can go wrong, on command, under the real driver: found, explained, survived or ended
cleanly."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_campaign import Driver, Quiet, command_trainer, fake_parts, fast_config, hurry, wait_for

from azr.campaign import start_check, supervise
from azr.campaign.context import Context
from azr.campaign.incidents import read_incidents
from azr.campaign.parts import Advice, Judgement
from azr.campaign.signals import StopSignals
from azr.campaign.state import CampaignState, State, read_state_file
from azr.config import Config
from azr.errors import ConfigError
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import MetricsRecord, TrainRequest, append_metrics, read_heartbeat, read_metrics
from azr.run.records import Incident
from azr.run.rundir import RunDir
from azr.system.files import read_json
from azr.system.hardware import Gpu, Machine
from azr.system.processes import processes_with_marker


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def finish(
    run: RunDir, *, status: int = 0, faults: Any = (), config: Any = None, step_s: float = 0.01
) -> CampaignState:
    command_trainer(run, faults=list(faults), step_s=step_s)
    assert Driver(run, fast_config(**(config or {})), before=lambda: hurry(run)).wait() == status, (
        run.root / "driver.log"
    ).read_text()
    state = read_state_file(run.state)
    assert state.driver is None
    assert not processes_with_marker(f"{state.run_id}/")
    return state


def incidents(run: RunDir, kind: str) -> list[Incident]:
    return [item for item in read_incidents(run) if item.kind == kind]


def assert_all_steps(run: RunDir, last: int = 8) -> None:
    assert [record.step for record in read_metrics(run)] == list(range(1, last + 1))
    assert list_checkpoints(run)[-1].step == last


def test_a_logger_that_does_not_start_ends_no_run_that_has_trained(run: RunDir) -> None:
    """Without a key it is told before anything is trained; a network that is down at a restart costs nothing."""

    def loggers(run: RunDir, config: Config, first_step: int) -> tuple[()]:
        if bool(first_step > 1) is down:
            raise ConfigError("report.loggers: wandb does not start (pretended)")
        return ()

    command_trainer(run, faults=[{"kind": "crash", "cycle": 1, "attempt": 1, "step": 3}], step_s=0.01)
    down = False
    assert Driver(run, fast_config(), fake_parts(loggers=loggers)).wait() != 0
    assert not read_metrics(run) and "wandb does not start" in (run.root / "driver.log").read_text()
    down = True
    assert Driver(run, fast_config(), fake_parts(loggers=loggers)).wait() == 0
    assert_all_steps(run)
    assert "wandb does not start (pretended)." in incidents(run, "logger")[0].cause


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("crash", "a Ray worker died"),
        ("kill", "killed by SIGKILL"),
        ("exit_zero", "status 0 but left no result"),
        ("half_checkpoint", "killed by SIGKILL"),
        ("orphan_crash", "killed by SIGKILL"),
    ],
)
def test_a_trainer_that_dies_is_started_again_from_its_last_checkpoint(
    run: RunDir, kind: str, cause: str
) -> None:
    state = finish(
        run,
        faults=[
            {
                "kind": kind,
                "cycle": 1,
                "attempt": 1,
                "step": 4 if kind in ("half_checkpoint", "exit_zero") else 3,
            }
        ],
    )
    assert state.state is State.DONE
    crash = incidents(run, "crash")
    assert len(crash) == 1 and cause in crash[0].cause, crash
    assert "Starting again from step" in crash[0].action
    assert_all_steps(run)


@pytest.mark.parametrize("kind", ["hang", "freeze", "hang_in_save"])
def test_a_hanging_trainer_is_found_its_stacks_kept_and_it_is_ended(run: RunDir, kind: str) -> None:
    never_s = 1e6  # a silent trainer is also late, and the clock that runs ahead may pass several beats
    limits = {"heartbeat_timeout_s": 20} if kind == "freeze" else {"heartbeat_timeout_s": never_s}
    limits |= {"first_step_timeout_s": never_s, "min_timeout_s": never_s} if kind == "freeze" else {}
    state = finish(run, faults=[{"kind": kind, "cycle": 1, "attempt": 1, "step": 4}], config=limits)
    assert state.state is State.DONE
    crash = incidents(run, "hang")
    assert len(crash) == 1
    assert (
        "no sign of life" if kind == "freeze" else "Saving took" if kind == "hang_in_save" else "Step 4 took"
    ) in crash[0].cause
    if kind != "freeze":
        # the innermost call may be another: on a busy machine the limit is over before the fault is reached
        stacks = (run.root / "cycles" / "001" / "attempts" / "001" / "stacks.txt").read_text()
        name = "save" if kind == "hang_in_save" else "step"
        assert "stacks.txt: " in crash[0].cause and f"in {name}\n" in stacks, (crash, stacks)
    assert_all_steps(run)


def test_a_trainer_that_never_starts_fails_the_campaign_at_the_second_try(run: RunDir) -> None:
    state = finish(run, status=1, faults=[{"kind": "crash", "step": 0}])
    assert (
        state.state is State.FAILED
        and "twice in the same way" in state.sentence
        and "CUDA out of memory" in state.sentence
    )
    assert "card ran out of memory" in incidents(run, "crash")[0].cause
    assert len(incidents(run, "crash")) == 1 and len(incidents(run, "failed")) == 1
    finish(run)  # repaired: the same command goes on
    assert "with new budgets" in incidents(run, "retry")[0].action
    assert_all_steps(run)


def test_a_trainer_that_hangs_at_its_start(run: RunDir) -> None:
    finish(
        run,
        faults=[{"kind": "hang", "cycle": 1, "attempt": 1, "step": 0}],
        config={"heartbeat_timeout_s": 1e6},
    )
    assert "did not begin its first step" in incidents(run, "hang")[0].cause


def test_what_starting_again_cannot_help_fails_at_once(run: RunDir) -> None:
    state = finish(run, status=1, faults=[{"kind": "hopeless", "step": 0}])
    assert (
        state.state is State.FAILED
        and "model.path does not exist (pretended). Its log is cycles/001/attempts/001/trainer.log."
        in state.sentence
        and not incidents(run, "crash")
    )


@pytest.mark.parametrize(
    ("kind", "step", "cause"),
    [("finish_at_once", 0, "newest checkpoint is none"), ("skip_steps", 3, "reported step 6")],
)
def test_success_is_checked_not_believed(run: RunDir, kind: str, step: int, cause: str) -> None:
    finish(run, faults=[{"kind": kind, "cycle": 1, "attempt": 1, "step": step}])
    assert cause in incidents(run, "crash")[0].cause
    assert_all_steps(run)


@pytest.mark.parametrize("by", ["emptied", "rotated", "saved anew"])
def test_metrics_that_somebody_touches_while_a_run_trains_cost_no_step(run: RunDir, by: str) -> None:
    """logrotate, an editor: "Resuming did not restore what the checkpoint holds", and all checkpoints of the attempt were
    put out of use."""
    command_trainer(run, step_s=0.15)
    driver = Driver(run, fast_config(cycles=1, steps_per_cycle=12))
    wait_for(lambda: len(read_metrics(run)) >= 4 and read_state_file(run.state).trained_step >= 4)
    seen = run.metrics.read_bytes().splitlines(keepends=True)
    if by == "emptied":
        run.metrics.write_bytes(b"")
    elif by == "rotated":
        run.metrics.rename(run.root / "metrics.jsonl.1")
    else:
        run.metrics.write_bytes(b"\xef\xbb\xbf" + b"".join(line.replace(b"\n", b"\r\n") for line in seen))
    assert driver.wait() == 0
    assert not incidents(run, "crash") and not incidents(run, "discard")
    assert read_state_file(run.state).step == 12
    assert [record.step for record in read_metrics(run)][-8:] == list(range(5, 13))


@pytest.mark.parametrize(
    ("touched", "rest", "told"),
    [
        (b"", (7, 8), ""),  # 5 and 6 were in the file for less than a look
        ("shorter", (5, 6), ""),
        (None, (5, 6), ""),
        (None, (6,), "The trainer reported step 6 where step 5 was due."),
    ],
)
def test_each_record_of_touched_metrics_counts_once_and_lost_ones_are_no_fault(
    run: RunDir, touched: Any, rest: tuple[int, ...], told: str
) -> None:
    """Between two looks of the driver, which the runs above hit by chance only: what is read again was judged again, and what
    was lost was "did not restore what the checkpoint holds"."""
    judged: list[int] = []

    def judge(records: Any, samples: Any, config: Any) -> Judgement:
        judged.append(records[-1].step)
        return Judgement(Advice.CONTINUE, "", "")

    def trained(*steps: int) -> None:
        for step in steps:
            append_metrics(run, MetricsRecord(step, 1, 1, 1.0, {"x": 1.0}))
        watch._take_records()

    run.root.mkdir()
    state = CampaignState(state=State.TRAIN, first_step=1, last_step=8, attempt=1)
    ctx = Context(run, fast_config(), fake_parts(judges=(judge,)), state, StopSignals(), Quiet(), {})
    watch = supervise._AttemptWatch(ctx, TrainRequest(cycle=1, attempt=1, first_step=1, last_step=8), ())
    trained(1, 2)
    trained(3, 4)
    if touched is not None:
        short = run.metrics.read_bytes().replace(b": ", b":") if touched == "shorter" else touched
        run.metrics.write_bytes(short)
        watch._take_records()
    trained(*rest)
    assert watch.wrong_start == told
    assert judged == [1, 2, 3, 4, *rest] and ctx.state.trained_step == rest[-1]
    assert [record.step for record in watch.records] == judged


def test_an_orphan_that_outlives_a_clean_trainer_is_ended(run: RunDir) -> None:
    finish(run, faults=[{"kind": "orphan", "cycle": 1, "attempt": 1, "step": 2}])  # checked by finish()
    assert_all_steps(run)


def test_non_finite_update_rolls_back_once_at_a_lower_rate(run: RunDir) -> None:
    state = finish(run, faults=[{"kind": "nan", "cycle": 2, "attempt": 1, "step": 7}])
    assert state.rollbacks == 1 and state.learning_rate_scale == 0.5
    action = incidents(run, "rollback")[0].action
    assert "checkpoint of step 6 at 0.5 of the learning rate" in action
    records = read_metrics(run)
    assert [record.values["rate"] for record in records] == [1.0] * 6 + [0.5] * 2
    assert_all_steps(run)


def test_the_second_rollback_ends_the_campaign_at_the_last_good_checkpoint(run: RunDir) -> None:
    state = finish(run, status=1, faults=[{"kind": "nan", "cycle": 1, "step": 3}])
    assert state.state is State.FAILED and state.step == 2
    assert [checkpoint.step for checkpoint in list_checkpoints(run)] == [2]
    assert "used up" in incidents(run, "rollback")[1].action
    assert {record["task_id"] for record in _pool(run)} >= {"s1.0", "s2.0", "s3.a1", "s3.a2"}, (
        "what was generated is merged all the same"
    )


def test_a_leak_recycles_the_trainer_at_a_checkpoint(run: RunDir) -> None:
    state = finish(run, faults=[{"kind": "leak", "cycle": 1, "attempt": 1, "step": 1}])
    assert state.restarts == 0, "a planned restart is not counted"
    assert len(incidents(run, "recycle")) == 1
    assert_all_steps(run)


def test_planned_recycling_every_n_steps(run: RunDir) -> None:
    # slow steps: on a busy machine the driver looks up late, and eight quick ones were over by then
    finish(run, step_s=0.3, config={"recycle_every_steps": 2, "steps_per_cycle": 8, "cycles": 1})
    assert len(incidents(run, "recycle")) >= 2
    assert_all_steps(run)


def test_stagnation_ends_the_cycle_and_two_flat_cycles_the_campaign(run: RunDir) -> None:
    faults = [{"kind": "stagnate", "step": step} for step in (2, 5, 6, 7, 8)]
    state = finish(run, faults=faults, config={"cycles": 5}, step_s=0.1)
    assert state.state is State.DONE and state.flat_cycles == 2 and state.cycle == 2
    assert "stagnation" in state.sentence
    assert Driver(run, fast_config(cycles=5)).wait() == 0
    assert read_state_file(run.state).cycle == 2, "done stays done until the configuration asks for more"


def test_a_trainer_that_does_not_listen_is_ended(run: RunDir) -> None:
    command_trainer(run, ignore_stop=True, step_s=0.02, save_every=100)
    driver = Driver(run, fast_config(steps_per_cycle=500))
    wait_for(lambda: len(read_metrics(run)) >= 2)
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 0
    state = read_state_file(run.state)
    assert "continued for 3 steps after it was asked to stop" in state.sentence
    assert not processes_with_marker(f"{state.run_id}/")


def test_disk_full_in_the_trainer_is_named_and_survived(run: RunDir) -> None:
    finish(run, faults=[{"kind": "disk_full", "cycle": 1, "attempt": 1, "step": 4}])
    assert "file size limit" in incidents(run, "crash")[0].cause
    assert_all_steps(run)


def test_orphaned_trainer_saves_and_ends_when_its_driver_is_killed(run: RunDir) -> None:
    command_trainer(run, step_s=0.05, save_every=100)
    config = fast_config(steps_per_cycle=100)
    driver = Driver(run, config)
    wait_for(lambda: len(read_metrics(run)) >= 3)
    driver.kill()
    beat = read_heartbeat(run)
    assert beat is not None
    state = read_state_file(run.state)
    wait_for(lambda: not processes_with_marker(f"{state.run_id}/"))
    saved = list_checkpoints(run)[-1].step
    assert saved >= 3 and read_json(run.result(1))["reason"] == "the driver is gone"
    driver = Driver(run, config)
    wait_for(lambda: len(read_metrics(run)) >= saved + 2)
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 0
    assert [record.step for record in read_metrics(run)][saved - 1 : saved + 2] == [
        saved,
        saved + 1,
        saved + 2,
    ]


def test_a_hung_trainer_whose_driver_was_killed_is_ended_by_the_next_start(run: RunDir) -> None:
    command_trainer(run, faults=[{"kind": "hang", "cycle": 1, "attempt": 1, "step": 3}])
    driver = Driver(run, fast_config(orphan_grace_s=0.2))
    wait_for(lambda: len(read_metrics(run)) == 2)
    driver.kill()
    orphans = processes_with_marker(f"{read_state_file(run.state).run_id}/")

    def before() -> None:
        card_held_while(lambda: any(process.alive for process in orphans))

    assert Driver(run, fast_config(orphan_grace_s=0.2), before=before).wait() == 0, (
        "refused for its own memory"
    )
    assert orphans and not any(process.alive for process in orphans)
    assert any("had left 1 process running" in item.cause for item in incidents(run, "repair"))
    assert_all_steps(run)


def test_a_card_that_others_use_when_a_run_resumes(run: RunDir) -> None:
    """It started its trainer, which died while it loaded, as often as configured."""
    command_trainer(run)
    assert Driver(run, fast_config(), before=lambda: card_held_while(lambda: True)).wait() == 1
    state = read_state_file(run.state)
    assert state.state is State.FAILED and "other programs hold 15.0 of the 16.0 GiB" in state.sentence
    assert not read_metrics(run) and not run.attempt(1, 1).exists()
    assert Driver(run, fast_config()).wait() == 0
    assert_all_steps(run)


def card_held_while(held: Callable[[], bool]) -> None:
    """In the driver: a card of 16 GiB, nearly all of it taken while ``held``."""

    def detect() -> Machine:
        return Machine((Gpu("a card", 16.0, 1.0 if held() else 16.0),), 8, 64.0, 60.0)

    start_check.detect, start_check.CARD_FREED_S = detect, 0.0


def test_processes_of_others_are_left_alone(run: RunDir) -> None:
    bystander = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60")
    try:
        finish(run, faults=[{"kind": "kill", "cycle": 1, "attempt": 1, "step": 3}])
        assert os.waitpid(bystander, os.WNOHANG) == (0, 0)
    finally:
        os.kill(bystander, signal.SIGKILL)
        os.waitpid(bystander, 0)


def _pool(run: RunDir) -> list[dict[str, Any]]:
    from azr.system.files import read_jsonl

    return list(read_jsonl(run.pool_tasks))
