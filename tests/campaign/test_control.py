"""Signals and scripts/control.py on a running campaign: stop, checkpoint, pause, resume, budget; two drivers;
a stale lock."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_campaign import ROOT, Driver, command_trainer, fake_parts, fast_config, wait_for

from azr import cli
from azr.campaign.control import (
    STOPPED_BY,
    Control,
    driver_is_running,
    lock_run,
    read_requests,
    request_control,
    stopping_driver,
    suspended_driver,
    withdraw_control,
)
from azr.campaign.driver import run_campaign
from azr.campaign.driver_beats import DriverBeats
from azr.campaign.incidents import read_incidents
from azr.campaign.sentences import say_the_end
from azr.campaign.state import (
    CampaignState,
    State,
    read_state_file,
    save_state,
    state_path_previous,
    write_state_file,
)
from azr.cli import control as control_script
from azr.cli.control import main as control_main
from azr.cli.control import obey
from azr.errors import RunError
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import STOP_FILE, Phase, ask, asked, read_heartbeat, read_metrics
from azr.run.rundir import RunDir
from azr.system.folder_id import FolderId
from azr.system.locks import has_locks, is_free, locked
from azr.system.processes import ProcessId, processes_with_marker
from azr.system.signals import SIGNALS


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    command_trainer(run, step_s=0.05, save_every=100)
    return run


def start(run: RunDir, *, steps: int = 2, **config) -> Driver:
    """A driver with at least ``steps`` steps trained."""
    driver = Driver(run, fast_config(**({"steps_per_cycle": 400, "cycles": 1} | config)))
    wait_for(lambda: len(read_metrics(run)) >= steps)
    return driver


def assert_nothing_left(run: RunDir) -> None:
    assert not processes_with_marker(f"{read_state_file(run.state).run_id}/")


def control(run: RunDir, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "control.py"), str(run.root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 0),
        (signal.SIGHUP, 0),
        (signal.SIGUSR1, 0),
        (signal.SIGUSR2, 0),
        (signal.SIGXCPU, 0),
    ],
)
def test_one_signal_saves_and_ends_and_the_same_command_goes_on(
    run: RunDir, number: int, status: int
) -> None:
    driver = start(run)
    driver.signal(number)
    assert driver.wait() == status
    said = (run.root / "driver.log").read_text()
    assert "Stopping: the step that runs now is finished and saved first" in said and "Ctrl+C again" in said
    state = read_state_file(run.state)
    which = "best" if state.best_step else "latest"
    assert f"python scripts/evaluate.py {run.root}@0 {run.root}@{which}" in said, (
        "the last lines say what people do next"
    )
    assert state.state is State.TRAIN and state.driver is None and state.step == state.trained_step >= 2
    assert asked(run, 1, state.attempt).reason.startswith(STOPPED_BY) and not stopping_driver(run)
    assert list_checkpoints(run)[-1].step == state.step
    assert_nothing_left(run)
    again = start(run, steps=state.step + 2)
    assert [record.step for record in read_metrics(run)][: state.step + 2] == list(range(1, state.step + 3))
    again.signal(number)
    assert again.wait() == status


def test_a_run_whose_lock_file_was_removed_is_driven_by_one(run: RunDir) -> None:
    """People remove what is called a lock; the second driver ended the first one's trainer, and both went on."""
    first = start(run)
    run.lock.unlink()
    assert driver_is_running(run)
    second = Driver(run, fast_config())
    assert second.wait() == 71
    assert (
        f"another driver is using {run.root} (process {first.pid})" in (run.root / "driver.log").read_text()
    )
    assert driver_is_running(run)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    assert not driver_is_running(run)
    assert_nothing_left(run)


def test_the_same_command_while_the_run_is_still_stopping_says_so(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was told to wait for the other driver, or to end it, as if nobody had."""
    own = ProcessId.of(os.getpid())
    state = CampaignState(state=State.TRAIN, attempt=1, attempt_open=True, driver=own)
    save_state(run, state)
    told = "It is stopping (Stopped by SIGINT): its step is finished and saved first, and then the same command resumes"
    with locked(run.lock, 0, "held"):
        for reason, expected in (("Memory grows.", "Wait for it, or end it"), ("Stopped by SIGINT.", told)):
            ask(run, 1, 1, STOP_FILE, reason)
            with pytest.raises(RunError, match=f"another driver is using .*{re.escape(expected)}"):
                lock_run(run)
        assert control_main([str(run.root), "status"]) == 0 and told in capsys.readouterr().out
        save_state(run, replace(state, attempt_open=False))
        assert not stopping_driver(run)


def test_a_run_can_be_driven_from_a_thread(run: RunDir) -> None:
    """Of a notebook, which owns the signals: it was a ValueError of Python's."""
    command_trainer(run, step_s=0.0)
    with ThreadPoolExecutor(1) as threads:
        campaign = threads.submit(
            run_campaign, fast_config(cycles=1, steps_per_cycle=2), run.root, fake_parts()
        )
        assert campaign.result(60) == 0
    assert read_state_file(run.state).state is State.DONE


@pytest.mark.parametrize(("best", "which", "option"), [(4, "@best", ""), (None, "@latest", " --step latest")])
def test_the_last_lines_name_a_checkpoint_that_is_there(
    best: int | None, which: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without probes no checkpoint is the best, and both commands refused."""
    run = RunDir(tmp_path / "run")
    say_the_end(run, CampaignState(step=4, best_step=best))
    said = capsys.readouterr().out
    assert f"@0 {run.root}{which}\n" in said and f"export.py {run.root}{option} --out my-model" in said


def test_another_length_of_the_cycle_counts_in_its_middle(run: RunDir) -> None:
    """It was ignored until the next cycle, without a word."""
    driver = start(run)
    driver.signal(signal.SIGINT)
    assert driver.wait() == 130
    steps = read_state_file(run.state).step + 3
    assert Driver(run, fast_config(steps_per_cycle=steps, cycles=1)).wait() == 0
    assert read_state_file(run.state).state is State.DONE and list_checkpoints(run)[-1].step == steps


def test_ctrl_c_twice_ends_at_once_without_a_trace(run: RunDir) -> None:
    command_trainer(run, step_s=600)
    driver = Driver(run, fast_config())
    wait_for(lambda: (beat := read_heartbeat(run)) is not None and beat.phase is Phase.GENERATE)
    driver.signal(signal.SIGINT)
    time.sleep(0.5)
    assert driver.poll() is None, "the first waits for the step"
    driver.signal(signal.SIGINT)
    assert driver.wait() == 130, "it did not wait for the step"
    assert read_state_file(run.state).driver is None
    assert_nothing_left(run)


@pytest.mark.parametrize("how", ["a signal", "scripts/control.py stop", "a pause"])
def test_a_start_that_hangs_is_not_waited_for(run: RunDir, how: str) -> None:
    command_trainer(run, faults=[{"kind": "hang", "cycle": 1, "attempt": 1, "step": 0}])
    never_s = 1e6
    driver = Driver(run, fast_config(start_timeout_s=never_s, heartbeat_timeout_s=never_s))
    wait_for(lambda: (run.root / "hangs").exists())
    if how == "a signal":
        driver.signal(signal.SIGTERM)
    elif how == "a pause":
        request_control(run, Control.PAUSE)
        wait_for(lambda: read_state_file(run.state).paused)
        driver.signal(signal.SIGTERM)
        withdraw_control(run, Control.PAUSE)
    else:
        request_control(run, Control.STOP)
    assert driver.wait() == 0
    state = read_state_file(run.state)
    assert state.state is State.TRAIN and "In TRAIN of cycle 1, step 0 is saved." in state.sentence
    assert not [item for item in read_incidents(run) if item.kind == "hang"]
    assert_nothing_left(run)
    assert Driver(run, fast_config(cycles=1)).wait() == 0


def test_sigterm_during_a_save_ends_cleanly(run: RunDir) -> None:
    command_trainer(run, step_s=0.01, save_every=2, save_s=0.4)
    driver = Driver(run, fast_config(steps_per_cycle=400))
    wait_for(lambda: (beat := read_heartbeat(run)) is not None and beat.phase is Phase.SAVE)
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 0
    assert read_state_file(run.state).step >= 2
    assert not list(run.checkpoints.glob(".tmp-*"))


def test_a_trainer_killed_during_a_save_costs_only_that_save(run: RunDir) -> None:
    command_trainer(run, step_s=0.01, save_every=2, save_s=0.3)
    driver = Driver(run, fast_config())
    wait_for(
        lambda: (beat := read_heartbeat(run)) is not None and beat.phase is Phase.SAVE and beat.step == 4
    )
    beat = read_heartbeat(run)
    assert beat is not None
    os.kill(beat.pid, signal.SIGKILL)
    assert driver.wait() == 0
    crash = [item for item in read_incidents(run) if item.kind == "crash"]
    assert len(crash) == 1 and "SIGKILL" in crash[0].cause and "from step 2" in crash[0].action
    assert [record.step for record in read_metrics(run)] == list(range(1, 9))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_all_processes_at_once_ends_the_run_with_its_checkpoint(
    run: RunDir, number: signal.Signals
) -> None:
    """As of ``systemctl stop`` without KillMode=mixed, ``scancel`` or a shutdown: the driver alone heeds it."""
    command_trainer(run, step_s=0.3, save_every=100)
    driver = start(run)
    beat = read_heartbeat(run)
    assert beat is not None
    driver.signal(number)
    os.kill(beat.pid, number)
    assert driver.wait() == 0
    state = read_state_file(run.state)
    assert (state.state, state.restarts, state.sentence[:10]) == (State.TRAIN, 0, "Stopped by")
    assert state.step == state.trained_step > 0 and [item.step for item in list_checkpoints(run)] == [
        state.step
    ]
    assert_nothing_left(run)


def test_a_signal_that_ends_the_trainer_as_well_is_a_stop_and_no_crash(run: RunDir) -> None:
    """As of a service manager that does not wait for long."""
    command_trainer(run, step_s=0.3, save_every=100)
    driver = start(run)
    beat = read_heartbeat(run)
    assert beat is not None
    driver.signal(signal.SIGTERM)
    os.kill(beat.pid, signal.SIGKILL)
    assert driver.wait() == 0
    state = read_state_file(run.state)
    assert state.state is State.TRAIN and state.restarts == 0 and state.step == 0
    assert "Stopped by SIGTERM. The trainer was killed by SIGKILL" in state.sentence
    assert (
        f"It had not saved steps 1 to {state.trained_step}, trained again at the next start."
        in state.sentence
    )
    assert "Starting again" not in (run.root / "driver.log").read_text()
    assert_nothing_left(run)


def test_control_script(run: RunDir) -> None:
    missing = control(RunDir(run.root / "nowhere"), "stop")
    assert missing.returncode == 2 and "no state.json" in missing.stderr and "Traceback" not in missing.stderr
    driver = start(run)
    asked = control(run, "checkpoint")
    assert asked.returncode == 0 and "removed once campaign.keep_last newer ones" in asked.stdout
    wait_for(lambda: bool(list_checkpoints(run)))
    assert control(run, "pause").returncode == 0
    wait_for(lambda: read_state_file(run.state).paused)
    assert_nothing_left(run)
    paused_at, used = read_state_file(run.state).step, read_state_file(run.state).active_s
    assert "TRAIN" in control(run, "status").stdout
    assert control(run, "resume").returncode == 0
    wait_for(lambda: len(read_metrics(run)) >= paused_at + 2)
    assert read_state_file(run.state).active_s < used + 10
    assert control(run, "stop").returncode == 0
    assert driver.wait() == 0
    kinds = [item.kind for item in read_incidents(run)]
    assert kinds == ["checkpoint", "pause", "resume", "stop"]
    assert f"{run.root} resume` continues" in list(read_incidents(run))[1].action
    late = control(run, "stop")
    assert late.returncode == 2 and "nothing to stop" in late.stderr
    assert not read_requests(run).stop


def test_stop_while_paused_and_a_pause_that_outlives_the_driver(run: RunDir) -> None:
    driver = start(run)
    request_control(run, Control.PAUSE)
    wait_for(lambda: read_state_file(run.state).paused)
    driver.kill()
    again = Driver(run, fast_config(steps_per_cycle=400))
    wait_for(lambda: (driver := read_state_file(run.state).driver) is not None and driver.pid == again.pid)
    # the trainer that the kill left behind may still end its step
    wait_for(lambda: not processes_with_marker(f"{read_state_file(run.state).run_id}/"))
    steps = len(read_metrics(run))
    time.sleep(0.5)
    assert len(read_metrics(run)) == steps, "a pause holds over a restart"
    request_control(run, Control.STOP)
    assert again.wait() == 0
    assert "while paused" in read_state_file(run.state).sentence


def test_time_budget_ends_the_campaign_and_more_time_continues_it(run: RunDir) -> None:
    driver = start(run)
    request_control(run, Control.BUDGET, hours=read_state_file(run.state).active_s / 3600)
    assert driver.wait() == 0
    state = read_state_file(run.state)
    assert state.state is State.DONE and "time budget" in state.sentence and state.cycle_end == "budget"
    assert run.pool_tasks.exists(), "the cycle was merged"
    request_control(run, Control.BUDGET, hours=1)
    again = Driver(run, fast_config(steps_per_cycle=3, cycles=2))
    assert again.wait() == 0
    after = read_state_file(run.state)
    assert after.cycle == 2 and after.step == state.step + 3 and after.hours == 1


def test_a_larger_budget_goes_on_where_the_budget_ended_the_last_cycle(run: RunDir) -> None:
    """It said "Raise campaign.hours to continue", and then that the last cycle is done."""
    assert Driver(run, fast_config(steps_per_cycle=3, cycles=1, hours=1e-7)).wait() == 0
    told = read_state_file(run.state)
    assert told.step == 0 and "Raise campaign.hours to continue" in told.sentence
    assert Driver(run, fast_config(steps_per_cycle=3, cycles=1, hours=1)).wait() == 0
    after = read_state_file(run.state)
    assert after.step == 3 and "raise campaign.cycles" in after.sentence
    assert Driver(run, fast_config(steps_per_cycle=3, cycles=1, hours=1)).wait() == 0
    assert read_state_file(run.state).step == 3


def test_a_budget_of_azr_control_gives_way_to_another_campaign_hours(run: RunDir) -> None:
    """It outlives the start that it was made for, so `raise campaign.hours` would change nothing."""
    driver = start(run, hours=5)
    request_control(run, Control.BUDGET, hours=1e-6)
    assert driver.wait() == 0
    told = read_state_file(run.state).sentence
    assert (
        "1e-06 h, set with `azr control`, is used up" in told
        and "or another campaign.hours than before" in told
    )
    assert Driver(run, fast_config(steps_per_cycle=3, cycles=2, hours=5)).wait() == 0
    assert read_state_file(run.state).cycle == 1, "the same hours as before: the request still holds"
    assert Driver(run, fast_config(steps_per_cycle=3, cycles=2, hours=6)).wait() == 0
    after = read_state_file(run.state)
    assert after.cycle == 2 and after.hours is None
    assert (
        "campaign.hours=6 replaces the time budget"
        in [item.cause for item in read_incidents(run) if item.kind == "budget"][-1]
    )


def test_no_budget_is_called_so(run: RunDir) -> None:
    save_state(run, CampaignState(state=State.DONE, run_id="abc"))
    assert obey(run, "budget", 0.0) == "the next start has no time budget"
    assert obey(run, "budget", 3.0) == "the next start has a time budget of 3 h"


def test_status_names_what_was_asked_for_while_no_driver_ran(run: RunDir) -> None:
    """The next start paused at once, a day later, and status had said nothing of it."""
    save_state(run, CampaignState(state=State.TRAIN, run_id="abc"))
    assert "next start" not in obey(run, "status", None)
    obey(run, "pause", None), obey(run, "budget", 3.0)
    told = obey(run, "status", None)
    assert "the next start waits until" in told and "the next start has a time budget of 3 h" in told


@pytest.mark.parametrize(("command", "told"), [("stop", True), ("checkpoint", False), ("pause", False)])
def test_a_request_that_a_full_disk_does_not_take(
    run: RunDir,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    command: str,
    told: bool,
) -> None:
    """A run could not be stopped there: "nothing was finished: make room, or write to another disk"."""
    own = ProcessId.of(os.getpid())
    save_state(run, CampaignState(state=State.TRAIN, run_id="abc", driver=own))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(control_script, "request_control", full)
    with lock_run(run):
        assert cli.main(["control", str(run.root), command]) == 2
    said = capsys.readouterr().err
    assert f"the request could not be left: the disk of {run.root} is full" in said
    assert (f"`kill -INT {os.getpid()}` stops it in the same way" in said) == told


def test_only_a_budget_takes_a_number(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    """`pause 3` paused for good, without a word of the 3; a budget that no setting takes was taken."""
    save_state(run, CampaignState(state=State.DONE, run_id="abc"))
    assert cli.main(["control", str(run.root), "pause", "3"]) == 2
    assert (
        "pause takes no number; only budget does" in capsys.readouterr().err and not read_requests(run).pause
    )
    with pytest.raises(SystemExit):
        cli.main(["control", str(run.root), "budget", "1e9"])
    assert "'1e9' is not a number of hours from 0 to a million" in capsys.readouterr().err


def test_a_driver_that_has_written_nothing_yet_is_not_called_no_run(run: RunDir) -> None:
    """For as long as it fetched its model, control said to give a run directory."""
    run.root.mkdir(exist_ok=True)
    with lock_run(run), DriverBeats(run):
        for command in ("status", "stop", "pause"):
            with pytest.raises(
                RunError, match="only just starting: its model is looked at, or fetched"
            ) as told:
                obey(run, command, None)
            assert (f"`kill -INT {os.getpid()}` ends it" in str(told.value)) == (command == "stop")
    with pytest.raises(RunError, match="holds no campaign"):
        obey(run, "status", None)


def test_a_second_driver_is_turned_away_with_the_first_ones_number(run: RunDir) -> None:
    driver = start(run)
    second = Driver(run, fast_config())
    assert second.wait() == 71
    log = (run.root / "driver.log").read_text()
    assert f"another driver is using {run.root} (process {driver.pid})" in log and "scripts/control.py" in log
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 0, "the first was not disturbed"


def test_a_driver_that_ctrl_z_suspended_is_called_so(run: RunDir) -> None:
    driver = start(run)
    driver.signal(signal.SIGSTOP)
    wait_for(lambda: bool(suspended_driver(run)))
    lets_it = f"`kill -CONT {driver.pid}`, lets it continue"
    for command in ("status", "stop"):
        assert lets_it in control(run, command).stdout, command
    assert Driver(run, fast_config()).wait() == 71
    assert lets_it in (log := (run.root / "driver.log").read_text()) and "Wait for it" not in log
    driver.signal(signal.SIGCONT)
    assert driver.wait() == 0 and not suspended_driver(run)
    assert control(run, "status").stdout.count("\n") == 4


def test_a_stale_lock_file_blocks_nobody(run: RunDir) -> None:
    driver = start(run)
    driver.kill()
    run.lock.touch()
    lock_run(run).release()
    again = start(run, steps=len(read_metrics(run)) + 2)
    again.signal(signal.SIGTERM)
    assert again.wait() == 0


def test_a_terminal_that_goes_away_does_not_end_the_campaign(run: RunDir) -> None:
    from contextlib import nullcontext

    from fake_campaign import fake_parts

    class Gone:
        def update(self) -> None:
            raise OSError(5, "Input/output error")

        def say(self, text: str) -> None:
            raise BrokenPipeError

    command_trainer(run)
    assert (
        Driver(run, fast_config(), fake_parts(progress=lambda run, config: nullcontext(Gone()))).wait() == 0
    )


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks_is_locked_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A share without a lock service, as homes of a cluster are."""
    run, shared = RunDir(tmp_path / "shared" / "run"), str(tmp_path / "shared")
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(shared):
            raise OSError(code, os.strerror(code))
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    heard: list[str] = []
    lock = lock_run(run, heard.append)
    [told] = heard
    assert f"The file system of {run.root} has no locks" in told and "from one machine only" in told
    with DriverBeats(run):
        assert driver_is_running(run) and not is_free(run.lock)
        with pytest.raises(RunError, match="another driver is using"):
            lock_run(run)
    lock_run(RunDir(tmp_path / "shared" / "other")).release()
    assert has_locks(tmp_path) and not has_locks(run.root)
    lock.release()
    assert is_free(run.lock) and not driver_is_running(run)
    Path(lock.lock_file).unlink()
    assert not is_free(run.lock), "perhaps a container's, whose temporary folder is another"


def test_no_locks_in_the_temporary_folder_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said "No locks available", and nothing else."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with (
        pytest.raises(RunError, match=rf"{tmp_path} and .*azr-\d+ have no locks.*TMPDIR=/dev/shm"),
        locked(tmp_path / "lock", 0, "somebody holds it"),
    ):
        pass


def test_a_run_of_another_user_is_not_taken_for_one_that_goes_on(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock cannot be tried; the driver that it recorded can."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(run.lock))

    run.lock.touch()
    monkeypatch.setattr("azr.campaign.control.take_lock", refuse)
    assert not driver_is_running(run)
    own = ProcessId.of(os.getpid())
    save_state(run, CampaignState(state=State.TRAIN, run_id="abc", driver=own))
    assert driver_is_running(run)


def test_status_says_whether_a_driver_works_in_this_very_folder(run: RunDir, tmp_path: Path) -> None:
    """A driver that was killed, and a copy of a run that goes on."""
    own = ProcessId.of(os.getpid())
    goes_on = CampaignState(
        state=State.TRAIN, run_id="abc", driver=own, folder=FolderId.of(run.root), sentence="Training."
    )
    save_state(run, goes_on)
    with lock_run(run):
        assert "no driver" not in obey(run, "status", None)
        shutil.copytree(run.root, tmp_path / "copy")
        told = obey(RunDir(tmp_path / "copy"), "status", None)
        assert "no driver is running here" in told and f"written in {run.root}: this folder is a copy" in told
    assert "no driver is running here; run the" in obey(run, "status", None), "and the state still names one"
    ahead = replace(goes_on, driver=replace(own, boot_id="other"), updated_unix_s=time.time() + 3600)
    write_state_file(run.state, ahead)
    told = obey(run, "status", None)
    assert re.search(r"written 3[56]\d\d s ahead of this machine's clock", told)
    assert "here; if none is elsewhere, run" in told
    save_state(run, replace(goes_on, state=State.DONE))
    assert "no driver" not in obey(run, "status", None)


def test_status_of_a_damaged_state_says_what_it_goes_by(run: RunDir) -> None:
    for sentence in ("Before.", "After."):
        save_state(run, CampaignState(state=State.DONE, run_id="abc", sentence=sentence))
    for content in ("\0" * 300, "9" * 5000, "", "[]"):  # the end of a file after a power cut, among others
        run.state.write_text(content)
        told = obey(run, "status", None)
        assert "state.json" in told and "Before." in told, content[:10]
    run.state.unlink()
    told = obey(run, "status", None)
    assert "state.json is gone" in told and "Before." in told
    state_path_previous(run).unlink()
    with pytest.raises(RunError, match="holds no campaign"):
        obey(run, "status", None)
    run.state.write_text("{")
    assert "nothing says when it was written" in obey(run, "status", None), "57 years ago"


def test_a_finished_run_names_the_limit_that_ends_it_now(run: RunDir) -> None:
    """Its time had ended it, and more time was all that it asked for; with that it trains, and then the cycles are done."""
    driver = start(run, hours=5)
    request_control(run, Control.BUDGET, hours=1e-6)
    assert driver.wait() == 0
    assert Driver(run, fast_config(steps_per_cycle=3, cycles=1, hours=6)).wait() == 0
    state = read_state_file(run.state)
    assert state.state is State.DONE and "raise campaign.cycles (now 1)" in state.sentence
    assert "raise campaign.cycles (now 1)" in (run.root / "driver.log").read_text()
