"""Checkpoints that somebody deleted: a run never begins anew by itself, nor counts what it lost."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from fake_campaign import Driver, command_trainer, fast_config, hurry, wait_for

from azr.campaign.incidents import read_incidents
from azr.campaign.lost_files import settle_lost_checkpoints
from azr.campaign.state import State, read_state_file
from azr.report.summary_reader import read_summary
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import read_metrics
from azr.run.records import CampaignState
from azr.run.rundir import RunDir


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a finished run of 8 steps, with the checkpoints of steps 4, 6 and 8."""
    run = RunDir(tmp_path_factory.mktemp("done") / "run")
    command_trainer(run)
    assert Driver(run, fast_config(keep_last=3)).wait() == 0
    assert [checkpoint.step for checkpoint in list_checkpoints(run)] == [4, 6, 8]
    return run.root.rename(
        run.root.with_name("backup")
    )  # else what is restored would be a copy of a run that is there


@pytest.fixture
def done(tmp_path: Path, backup: Path) -> RunDir:
    return RunDir(shutil.copytree(backup, tmp_path / "run"))


@pytest.mark.parametrize("what", ["the folder", "what is in it", "the disk of a link"])
def test_a_run_without_checkpoints_is_refused_and_goes_on_when_they_are_back(done: RunDir, what: str) -> None:
    run, aside = done, done.root.with_name("aside")
    shutil.move(run.checkpoints, aside)
    if what == "what is in it":
        run.checkpoints.mkdir()
    elif what == "the disk of a link":
        run.checkpoints.symlink_to(run.root.with_name("not mounted"))
    before = run.state.read_bytes()
    for _ in range(2):
        assert Driver(run, fast_config(cycles=3)).wait() == 71  # RunError, which the command prints
    log = (run.root / "driver.log").read_text()
    assert "has trained 8 steps, but no checkpoint of them is left" in log
    assert "Put the newest checkpoint back" in log and f"data.other_runs=[{run.root}]" in log
    assert run.state.read_bytes() == before

    if run.checkpoints.is_symlink():
        run.checkpoints.unlink()
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    shutil.move(aside, run.checkpoints)
    assert Driver(run, fast_config(cycles=3)).wait() == 0
    assert [record.step for record in read_metrics(run)] == list(range(1, 13))


def test_a_run_goes_back_to_the_newest_checkpoint_that_is_left_and_says_so(done: RunDir) -> None:
    run = done
    shutil.rmtree(run.checkpoint(8))
    shutil.rmtree(run.checkpoint(6))
    assert Driver(run, fast_config(cycles=3)).wait() == 0
    said = [item.cause for item in read_incidents(run) if item.kind == "repair"]
    lost = "The checkpoint of step 8, the latest that was saved, is gone or damaged: the run goes back to step 4."
    assert f"{lost} Steps 5 to 8 are trained again if it goes on." in said
    records = read_metrics(run)
    assert [(record.step, record.cycle) for record in records] == [
        *((step, 1) for step in range(1, 5)),
        *((step, 3) for step in range(5, 9)),
    ]
    assert read_state_file(run.state).step == 8 and read_summary(run.root).table.undone == 4


def test_older_checkpoints_may_go(done: RunDir) -> None:
    run = done
    shutil.rmtree(run.checkpoint(4))
    shutil.rmtree(run.checkpoint(6))
    assert Driver(run, fast_config(cycles=3)).wait() == 0
    assert not any("gone" in item.cause for item in read_incidents(run))
    assert [record.step for record in read_metrics(run)] == list(range(1, 13))


def test_checkpoints_that_go_while_the_run_trains(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    command_trainer(run, faults=[{"kind": "hang", "cycle": 1, "attempt": 1, "step": 4}])
    driver = Driver(run, fast_config(heartbeat_timeout_s=1e6))
    wait_for(lambda: (run.root / "hangs").exists() and read_state_file(run.state).step == 2)
    shutil.rmtree(run.checkpoints)
    driver.kill()
    assert Driver(run, fast_config(orphan_grace_s=0.2)).wait() == 71
    shutil.rmtree(run.root)

    command_trainer(run, faults=[{"kind": "hang", "cycle": 1, "attempt": 1, "step": 4}])
    driver = Driver(run, fast_config(heartbeat_timeout_s=1e6), before=lambda: hurry_without(run))
    assert driver.wait() == 1
    state = read_state_file(run.state)
    assert state.state is State.FAILED and "no checkpoint of them is left" in state.sentence
    assert state.step == 2 and state.attempt == 1


def hurry_without(run: RunDir) -> None:
    """The trainer hangs, its checkpoints are deleted, the driver's clock runs ahead."""
    from azr.campaign import supervise

    hurry(run)
    clock = supervise.MONOTONIC

    def deleting() -> float:
        if not (run.root / "hangs").exists():
            return time.monotonic()
        if read_state_file(run.state).step != 2:  # it has not heard of the checkpoint yet
            return time.monotonic()
        shutil.rmtree(run.checkpoints, ignore_errors=True)
        return clock()

    supervise.MONOTONIC = deleting


def test_when_nothing_is_lost(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert settle_lost_checkpoints(run, CampaignState(step=0), 0) == ""
    assert settle_lost_checkpoints(run, CampaignState(step=4), 4) == ""
    assert settle_lost_checkpoints(run, CampaignState(step=4), 3).endswith(
        "back to step 3. Step 4 is trained again."
    )
    assert settle_lost_checkpoints(run, CampaignState(step=4), 6) == "", "the state is older than the disk"
    assert settle_lost_checkpoints(run, CampaignState(step=4, rollback_to=0), 0) == "", (
        "rolled back to the base"
    )
