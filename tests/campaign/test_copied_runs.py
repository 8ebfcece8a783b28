"""A run's folder copied, moved, linked to: whose processes are ended, and which run goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from fake_campaign import Driver, Report, command_trainer, fake_parts, fast_config, wait_for

from azr.campaign import driver as driver_module
from azr.campaign import driver_beats
from azr.campaign.control import Control, lock_run, read_requests, request_control
from azr.campaign.driver_beats import refuse_while_it_beats
from azr.campaign.incidents import read_incidents
from azr.campaign.state import CampaignState, State, read_state_file, write_state_file
from azr.config import Config
from azr.errors import DataError, RunError
from azr.report.summary import RunStatus
from azr.report.summary_reader import read_summary
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import (
    DriverBeat,
    Heartbeat,
    Phase,
    read_driver_beat,
    read_metrics,
    write_beat,
)
from azr.run.rundir import RunDir
from azr.system.files import write_json_atomic
from azr.system.folder_id import FolderId
from azr.system.processes import (
    ProcessId,
    attempt_marker,
    boot_id,
    driven_by_others,
    has_living_driver,
    processes_with_marker,
)

LONG = fast_config(cycles=1, steps_per_cycle=400, orphan_grace_s=0.2)


@pytest.fixture
def one(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "one")


def copy(run: RunDir, name: str) -> RunDir:
    """As ``cp -a`` does, of a folder in which somebody writes."""
    target = run.root.with_name(name)
    subprocess.run(["cp", "-a", run.root, target], check=False, stderr=subprocess.DEVNULL)
    return RunDir(target)


def training(run: RunDir, *, after: int = 3) -> Driver:
    command_trainer(run, step_s=0.02)
    driver = Driver(run, LONG)
    wait_for(lambda: len(read_metrics(run)) >= after)
    return driver


def stopped(run: RunDir, driver: Driver) -> None:
    driver.signal(signal.SIGTERM)
    assert driver.wait() == 0, (run.root / "driver.log").read_text()


def kinds(run: RunDir) -> list[str]:
    return [item.kind for item in read_incidents(run)]


def run_id(run: RunDir) -> str:
    return read_state_file(run.state).run_id


@pytest.mark.parametrize("when", ["while it trains", "while it is stopped"])
def test_a_copy_leaves_the_original_s_trainer_alone_and_is_a_run_of_its_own(one: RunDir, when: str) -> None:
    original = training(one)
    if when == "while it is stopped":
        stopped(one, original)
        two = copy(one, "two")
        original = Driver(one, LONG)
        wait_for(lambda: of(one))
    else:
        two = copy(one, "two")
        assert read_summary(two.root).status is RunStatus.INTERRUPTED, "no driver is running"
    trainer = {process.pid for process in of(one)}

    for _ in range(2):  # also once the copy's own start is in its state, but no attempt of its own
        assert Driver(two, fast_config(cycles=1, steps_per_cycle=len(read_metrics(two)))).wait() == 0
    assert trainer and {process.pid for process in of(one)} == trainer
    stopped(one, original)

    assert "crash" not in kinds(one) and read_state_file(one.state).attempt == (
        2 if when == "while it is stopped" else 1
    )
    assert run_id(two) != run_id(one)
    [note] = [item for item in read_incidents(two) if item.kind == "copy"]
    assert note.cause == f"This folder is a copy of {one.root}." and "of its own" in note.action
    assert not any("without closing the run" in item.cause for item in read_incidents(two))


def test_a_copy_that_is_started_and_killed_before_its_first_attempt(one: RunDir) -> None:
    original = training(one)
    two = copy(one, "two")
    assert Driver(two, LONG, die_at=25).wait() == -signal.SIGKILL
    stopped_copy = training(two, after=len(read_metrics(two)) + 2)
    assert original.poll() is None and not original.status
    stopped(two, stopped_copy)
    stopped(one, original)
    assert "crash" not in kinds(one) and read_state_file(one.state).attempt == 1


def test_copies_that_start_together(one: RunDir) -> None:
    original = training(one)
    stopped(one, original)
    runs = [copy(one, "two"), copy(one, "three"), one]
    drivers = [Driver(run, LONG) for run in runs]
    for run in runs:
        steps = len(read_metrics(run))
        wait_for(lambda run=run, steps=steps: len(read_metrics(run)) >= steps + 3)
    assert len({run_id(run) for run in runs}) == 3
    for run, driver in zip(runs, drivers, strict=True):
        stopped(run, driver)
        assert "crash" not in kinds(run)


def of(run: RunDir) -> list[ProcessId]:
    return processes_with_marker(f"{run_id(run)}/") if run.state.exists() else []


def hung(run: RunDir) -> list[ProcessId]:
    """A driver that was killed, and what its trainer left; it is stopped, so that it writes nothing any more."""
    command_trainer(run, faults=[{"kind": "freeze", "cycle": 1, "attempt": 1, "step": 3}])
    driver = Driver(run, LONG)
    wait_for(
        lambda: any(psutil.Process(process.pid).status() == psutil.STATUS_STOPPED for process in of(run))
    )
    driver.kill()
    return of(run)


@pytest.mark.parametrize("how", ["renamed", "to another disk", "restored in its place", "linked to"])
def test_a_run_that_was_moved_goes_on_and_ends_its_own_leftovers(one: RunDir, how: str) -> None:
    left = hung(one)
    before = run_id(one)
    if how == "renamed":
        two = RunDir(one.root.rename(one.root.with_name("two")))
    elif how == "linked to":
        two = RunDir(one.root.with_name("two"))
        two.root.symlink_to(one.root)
    else:
        two = copy(one, "two")
        shutil.rmtree(one.root)
        if how == "restored in its place":
            two = RunDir(two.root.rename(one.root))
    assert left
    assert Driver(two, fast_config(cycles=1, steps_per_cycle=4, orphan_grace_s=0.2)).wait() == 0
    assert not any(process.alive for process in left)
    assert read_state_file(two.state).state is State.DONE and "copy" not in kinds(two)
    assert any("had left 1 process running" in item.cause for item in read_incidents(two))
    assert (run_id(two) == before) == (how in ("renamed", "linked to"))
    assert [record.step for record in read_metrics(two)] == [1, 2, 3, 4]


@pytest.mark.parametrize("how", ["renamed", "removed"])
def test_a_folder_that_goes_while_the_run_trains(one: RunDir, how: str) -> None:
    """The rest of the run was written into a new folder of the old name, without its beginning."""
    driver = training(one)
    trainer = of(one)
    two = RunDir(one.root.with_name("two"))
    one.root.rename(two.root)
    steps = len(read_metrics(two))
    log = two.root / "driver.log"
    if how == "removed":
        log = log.rename(one.root.with_name("log"))
        shutil.rmtree(two.root)
    assert driver.wait() == 71  # RunMovedError, which the command prints
    assert f"{one.root} was renamed, moved or removed" in log.read_text()
    assert trainer and not any(process.alive for process in trainer)
    # at most what the trainer, whose steps take milliseconds here, was writing at that moment; the end wrote an attempt's
    # processes.json there: no empty place of a disk any more
    assert not one.lock.exists() and not one.config.exists() and not list_checkpoints(one)
    assert not list(one.root.rglob("processes.json"))
    if how == "renamed":
        assert "two now: name=two resumes from the last checkpoint" in log.read_text()
        assert "copy" not in kinds(two) and len(read_metrics(two)) == steps
        stopped(two, training(two, after=steps + 2))
        assert [record.step for record in read_metrics(two)] == list(range(1, len(read_metrics(two)) + 1))


def test_a_folder_that_goes_between_two_cycles(one: RunDir) -> None:
    """The end of the waiting trainer wrote ``stop`` there: no empty place of a disk any more."""
    two = RunDir(one.root.with_name("two"))

    def merge(run: RunDir, cycle: int, config: Config) -> Report:
        run.root.rename(two.root)
        raise DataError(f"{run.cycle_tasks(cycle)} does not exist")

    config = fast_config(steps_per_cycle=4, start_timeout_s=300)
    driver = Driver(one, config, fake_parts(merge=merge))
    assert driver.wait() == 71  # RunMovedError, which the command prints
    assert "two now: name=two resumes from the last checkpoint" in (two.root / "driver.log").read_text()
    assert not one.root.exists() and not of(two)
    assert Driver(two, config).wait() == 0
    assert [record.step for record in read_metrics(two)] == list(range(1, 9))


def test_a_disk_that_goes_away_during_a_data_step(one: RunDir) -> None:
    """The pool was written into the empty place of the disk, where it would be hidden once the disk is back, or be taken
    for another run."""
    disk, away = one.root, one.root.with_name("away")

    def consolidate(run: RunDir, cycle: int, config: Config) -> Report:
        disk.rename(away)  # unmounted: what is open stays, and the place is empty
        disk.mkdir()
        write_json_atomic(run.pool_manifest, {})
        return Report("nothing")

    driver = Driver(RunDir(disk / "run"), fast_config(), fake_parts(consolidate=consolidate))
    assert driver.wait() == 71  # RunMovedError, which the command prints
    assert "Once its disk is back, the same command resumes" in (away / "run" / "driver.log").read_text()
    assert not list(disk.iterdir())


def test_a_disk_that_goes_away_at_the_start(one: RunDir) -> None:
    """It was "No such file or directory" alone."""
    away = one.root.with_name("away")

    def break_it() -> None:
        def write_config(path: Path, _: Config) -> None:
            one.root.rename(away)
            path.write_text("")

        driver_module.write_config = write_config

    assert Driver(one, fast_config(), before=break_it).wait() == 1
    assert "or its disk went away; once it is back" in (away / "driver.log").read_text()
    assert not one.root.exists()


def test_a_copy_of_a_run_that_was_renamed_since(one: RunDir) -> None:
    stopped(one, training(one))
    two = copy(one, "two")
    three = RunDir(one.root.rename(one.root.with_name("three")))
    original = training(three, after=len(read_metrics(three)) + 3)
    trainer = of(three)
    assert Driver(two, fast_config(cycles=1, steps_per_cycle=len(read_metrics(two)))).wait() == 0
    assert trainer and all(process.alive for process in trainer)
    stopped(three, original)
    assert "crash" not in kinds(three) and run_id(two) != run_id(three)


def test_a_copy_whose_state_is_damaged(one: RunDir) -> None:
    original = training(one)
    two = copy(one, "two")
    for path in two.root.glob("state*.json"):
        path.write_text("{")
    own = training(two, after=len(read_metrics(two)) + 2)
    stopped(two, own)
    assert original.poll() is None and "copy" in kinds(two)
    stopped(one, original)
    assert "crash" not in kinds(one)


def test_a_copy_that_shares_a_folder_with_its_original_through_a_link_is_refused(one: RunDir) -> None:
    stopped(one, training(one))
    elsewhere = one.root.with_name("large-disk")
    one.checkpoints.rename(elsewhere)
    one.checkpoints.symlink_to(elsewhere)
    two = copy(one, "two")
    before = two.state.read_bytes()
    assert Driver(two, LONG).wait() == 71  # RunError, which the command prints
    log = (two.root / "driver.log").read_text()
    assert f"{two.root} is a copy of {one.root}, and checkpoints in it is a link to {elsewhere}" in log
    assert two.state.read_bytes() == before
    stopped(one, training(one, after=len(read_metrics(one)) + 2))


def test_a_copy_of_hard_links_writes_into_its_own_logs(one: RunDir) -> None:
    stopped(one, training(one))
    two = RunDir(one.root.with_name("two"))
    subprocess.run(["cp", "-al", one.root, two.root], check=True)
    steps = len(read_metrics(one))
    stopped(two, training(two, after=steps + 2))
    assert len(read_metrics(one)) == steps < len(read_metrics(two))


def test_which_folder(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    seen = FolderId.of(folder)
    assert seen.is_there and seen.is_same(FolderId.of(link)) and FolderId.of(link).path == str(folder)
    folder.rename(tmp_path / "other")
    assert not seen.is_there and seen.is_same(FolderId.of(tmp_path / "other"))
    folder.mkdir()
    assert not seen.is_there, "another folder of that name"


def test_a_driver_is_no_other_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.getpid()
    marker = attempt_marker("run", 1, 2)
    assert marker.startswith(f"run/1/2/{own}.") and not has_living_driver(marker)
    monkeypatch.setattr(os, "getpid", lambda: own + 10**7)
    assert has_living_driver(marker) and not has_living_driver(f"{marker}1")
    assert not has_living_driver("run/1/2") and not has_living_driver("run/1/2/x.y")
    assert driven_by_others("no such run") == []


@pytest.mark.parametrize("beating", ["trainer", "driver", "driver that has not opened the run yet"])
@pytest.mark.parametrize(
    ("beats", "age_s", "boot"),
    [(20, 300, "other"), (1, 300, "other"), (0, 300, "other"), (20, 3000, "other"), (20, 300, "")],
)
def test_a_run_that_beats_on_another_machine_is_not_taken_over(
    one: RunDir, monkeypatch: pytest.MonkeyPatch, *, beats: int, age_s: int, boot: str, beating: str
) -> None:
    """Over a share whose locks hold on one machine alone, both trained in one folder; their clocks differ. A driver that merged
    between two trainers, or read the model's files, was not seen. A share may show a last beat late: one alone is no life."""
    monkeypatch.setattr(driver_beats, "WATCHED_S", 0.2)
    one.root.mkdir(exist_ok=True)
    driver = ProcessId(2**22 + 1, 1, boot or boot_id())
    recorded = None if "not opened" in beating else driver
    write_state_file(one.state, CampaignState(state=State.TRAIN, run_id="x", driver=recorded))
    beat = DriverBeat(time.time() - age_s, driver)
    if beating == "trainer":
        beat = Heartbeat(time.time() - age_s, driver.pid, 1, 1, 3, Phase.GENERATE, time.time() - age_s)
    write_beat(one, beat)
    said: list[str] = []

    def say(text: str) -> None:  # called once it has seen the first heartbeat
        said.append(text)
        later.start()

    def go_on() -> None:
        for sequence in range(1, beats + 1):
            write_beat(one, replace(beat, sequence=sequence))
            time.sleep(0.02)  # so often that a busy machine does not miss all but one

    later = threading.Thread(target=go_on)

    def look() -> None:
        with lock_run(one):
            refuse_while_it_beats(one, say)

    if beats > 1 and boot and age_s < 900:
        with pytest.raises(
            RunError, match=f"works on another machine: .* goes on \\(process {driver.pid} there"
        ):
            look()
    else:
        look()
    if said:
        later.join()
    assert len(said) == (boot != "" and age_s < 900)


def test_a_share_that_shows_beats_late_is_watched_for_longer(
    one: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """15 s without a new beat were taken for an end, though NFS without locks may go on showing the old one for a minute."""
    monkeypatch.setattr(driver_beats, "WATCHED_S", 0.1)
    monkeypatch.setattr(driver_beats, "SHOWN_LATE_S", 3.0)
    monkeypatch.setattr(driver_beats, "share_without_locks", lambda _: "nfs4")
    one.root.mkdir(exist_ok=True)
    driver = ProcessId(2**22 + 1, 1, "other")
    write_state_file(one.state, CampaignState(state=State.TRAIN, run_id="x", driver=driver))
    beat = DriverBeat(time.time(), driver)
    write_beat(one, beat)
    said: list[str] = []

    def show_late() -> None:
        for sequence in (1, 2):
            time.sleep(0.4)
            write_beat(one, replace(beat, sequence=sequence))

    late = threading.Thread(target=show_late)
    late.start()
    with pytest.raises(RunError, match="works on another machine"):
        refuse_while_it_beats(one, said.append)
    late.join()
    assert said[0].endswith("Waiting 3 s (nfs4 may show late what another machine writes).")
    ended_s = time.time() - 5
    os.utime(one.driver_beat, (ended_s, ended_s))
    refuse_while_it_beats(one, said.append)
    assert said[1].endswith("Waiting 0 s."), "a run that ended some time ago goes on as soon as on a disk"
    assert not list(one.root.glob(".looking*"))


def test_a_driver_beats_while_it_merges_and_ends_where_another_one_has_begun(one: RunDir) -> None:
    """It looks whether the run beats elsewhere, itself beats from then on, and after a sleep of its machine sees that the
    run went on without it: two drivers undid each other's work."""
    command_trainer(one, step_s=0.02)
    driver = ProcessId(2**22 + 1, 1, "other")
    write_state_file(one.state, CampaignState(run_id="x", driver=driver))
    beat = Heartbeat(time.time(), driver.pid, 1, 1, 3, Phase.GENERATE, time.time())
    write_beat(one, beat)
    log, merging = one.root / "driver.log", one.root / "merging"

    def wait(run: RunDir, cycle: int, config: Config) -> Report:
        merging.touch()
        wait_for(lambda: not merging.exists())
        return Report("nothing")

    def fast() -> None:
        driver_beats.BEAT_INTERVAL_S, driver_beats.WATCHED_S = 0.05, 0.5

    config = fast_config(cycles=1)
    refused = Driver(one, config, before=fast)
    wait_for(lambda: log.exists() and "Waiting" in log.read_text())
    for sequence in range(1, 40):  # a busy machine sees some of them
        if "two machines" not in log.read_text():
            write_beat(one, replace(beat, sequence=sequence))
            time.sleep(0.05)
    assert refused.wait() != 0 and "two machines must not work" in log.read_text()

    works = Driver(one, config, fake_parts(merge=wait), before=fast)
    wait_for(merging.exists)
    first = read_driver_beat(one)
    assert first is not None and first.pid == works.pid
    wait_for(lambda: (now := read_driver_beat(one)) is not None and now.sequence > first.sequence + 2)
    # what its predecessor began to write before its share hung, or it slept
    write_beat(one, DriverBeat(time.time(), driver, 7))
    wait_for(lambda: (now := read_driver_beat(one)) is not None and now.pid == works.pid)
    state = one.state.read_bytes()
    other = replace(driver, pid=driver.pid + 1)

    def taken_over() -> bool:  # a beat that was under way may still replace the other's
        write_beat(one, DriverBeat(time.time(), other))
        time.sleep(0.3)
        return (now := read_driver_beat(one)) is not None and now.driver == other

    wait_for(taken_over)
    merging.unlink()
    assert works.wait() != 0 and one.state.read_bytes() == state, "nothing more is written"
    assert f"took {one.root} over" in log.read_text() and read_driver_beat(one) is not None

    one.driver_beat.unlink()
    assert Driver(one, config, before=fast).wait() == 0 and not one.driver_beat.exists()


@pytest.mark.parametrize("later_s", [1, -1])
def test_a_driver_that_slept_ends_where_another_one_has_come_and_gone(one: RunDir, later_s: int) -> None:
    """That one had closed the run, so no beat told of it, and its steps were undone by the older state. What a sync client puts
    back is older."""
    command_trainer(one, step_s=0.02)
    merging = one.root / "merging"

    def wait(run: RunDir, cycle: int, config: Config) -> Report:
        merging.touch()
        wait_for(lambda: not merging.exists())
        return Report("nothing")

    slept = Driver(one, fast_config(cycles=1), fake_parts(merge=wait))
    wait_for(merging.exists)
    state = read_state_file(one.state)
    theirs = replace(state, driver=None, sentence="theirs", updated_unix_s=state.updated_unix_s + later_s)
    write_state_file(one.state, theirs)
    merging.unlink()
    assert (slept.wait() == 0) == (later_s < 0)
    assert (read_state_file(one.state) == theirs) == (later_s > 0)
    assert ("over while this one slept" in (one.root / "driver.log").read_text()) == (later_s > 0)


@pytest.mark.parametrize("is_to_stop", [True, False])
def test_a_driver_that_slept_in_its_pause_leaves_the_run_to_the_one_that_took_over(
    one: RunDir, *, is_to_stop: bool
) -> None:
    """It took a stop request for its own, and removed it, so that the other one went on; without one it waited for ever."""
    command_trainer(one, step_s=0.02)
    request_control(one, Control.PAUSE)
    slept = Driver(one, fast_config(cycles=1))
    wait_for(lambda: one.state.exists() and read_state_file(one.state).paused)
    state = read_state_file(one.state)
    theirs = replace(state, driver=None, paused=False, updated_unix_s=state.updated_unix_s + 1)
    write_state_file(one.state, theirs)
    if is_to_stop:
        request_control(one, Control.STOP)
    assert slept.wait() != 0 and "over while this one slept" in (one.root / "driver.log").read_text()
    assert read_requests(one).stop == is_to_stop and read_state_file(one.state) == theirs
