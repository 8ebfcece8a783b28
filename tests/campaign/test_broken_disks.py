"""Full disk, read-only file system, truncated and bit-flipped files, torn lines, jumping clocks: each with a
clear message."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_campaign import Driver, command_trainer, fast_config, wait_for

from azr.campaign import supervise
from azr.campaign.incidents import read_incidents
from azr.campaign.state import State, read_state_file
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system import disks
from azr.system.disks import explain_os_error
from azr.system.files import read_json, write_json_atomic
from azr.system.processes import processes_with_marker


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    command_trainer(run)
    return run


def text_of_log(run: RunDir) -> str:
    return (run.root / "driver.log").read_text()


@pytest.mark.parametrize(
    ("folder", "owners", "is_told"),
    [
        ("run", {"": 4321, "run": 0, "run/state.json": 0}, True),
        ("run", {"": 4321, "run": 4321, "run/state.json": 0}, True),
        ("run", {"": 0, "run": 0, "run/state.json": 0}, False),  # in /opt: all of it would be taken
        ("new", {"": 0, "run": 0}, False),  # is not there yet
        ("run", {"": 4321, "run": 4322, "run/state.json": 4322}, False),  # a colleague's
    ],
)
def test_files_that_sudo_left_are_given_back_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, owners: dict[str, int], *, is_told: bool
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.json").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    owner = {tmp_path / name: user for name, user in owners.items()}
    monkeypatch.setattr(disks, "_owner", lambda path: owner.get(path, 0))
    run = tmp_path / folder
    # where there is no such file yet, its folder's owner counts
    for name in ("state.json", "state.json.tmp") if owner.get(run) == 0 else ("state.json",):
        told = explain_os_error(PermissionError(errno.EACCES, "Permission denied", str(run / name)), run)
        if is_told:
            assert "belongs to root, as after a start with sudo. Give all of it back" in told
            assert told.endswith(f"sudo chown -R 4321 {run}")
        else:
            assert "Give this user write access" in told


def test_a_disk_without_inodes_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``df`` showed gigabytes free."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "GiB free" in explain_os_error(full, tmp_path / "run")
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=40, f_favail=0))
    assert "no inodes left" in explain_os_error(full, tmp_path / "run")
    none = SimpleNamespace(
        f_files=0, f_favail=0, f_bavail=9, f_frsize=9, f_blocks=9, f_bfree=9
    )  # btrfs counts none
    monkeypatch.setattr(os, "statvfs", lambda _: none)
    assert "no inodes left" not in explain_os_error(full, tmp_path / "run")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_disk_that_was_unplugged_is_called_so(tmp_path: Path, number: int) -> None:
    """It was "Input/output error" alone."""
    gone = OSError(number, os.strerror(number), str(tmp_path / "metrics.jsonl"))
    assert "unplugged or lost. Once it can be read, the same command goes on" in explain_os_error(
        gone, tmp_path
    )


def test_a_name_that_disks_of_windows_do_not_take(tmp_path: Path) -> None:
    """It was "No such file or directory" alone."""
    refused = OSError(errno.EINVAL, os.strerror(errno.EINVAL), "x")
    assert "takes no : in a name" in explain_os_error(refused, tmp_path / "2026-11-28_10:30")
    assert "in a name" not in explain_os_error(refused, tmp_path / "friday")


@pytest.fixture(scope="module")
def killed_run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A campaign whose driver was killed after some steps, with two checkpoints on disk; copied by the tests,
    not used itself."""
    run = RunDir(tmp_path_factory.mktemp("killed") / "run")
    command_trainer(run, step_s=0.05)
    driver = Driver(run, fast_config(steps_per_cycle=8))
    wait_for(lambda: len(list_checkpoints(run)) >= 2 and len(read_metrics(run)) >= 4)
    driver.kill()
    state = read_state_file(run.state)
    wait_for(lambda: not processes_with_marker(f"{state.run_id}/"))
    command_trainer(run)
    return run


@pytest.fixture
def midway(run: RunDir, killed_run: RunDir) -> RunDir:
    shutil.copytree(killed_run.root, run.root, dirs_exist_ok=True)
    return run


def failing_from(number: int, code: int):
    """In the driver's process: every file system change from the n-th on fails, as on a disk that filled
    up."""

    def break_it() -> None:
        done = 0
        for name in ("fsync", "replace", "link"):
            real = getattr(os, name)

            def broken(*args, real=real, **kwargs):
                nonlocal done
                done += 1
                if done >= number:
                    raise OSError(code, os.strerror(code))
                return real(*args, **kwargs)

            setattr(os, name, broken)

    return break_it


def test_a_file_system_without_permissions_keeps_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT, SMB and folders of others: a mode cannot be set there."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    write_json_atomic(tmp_path / "a.json", {"a": 1})
    assert read_json(tmp_path / "a.json") == {"a": 1} and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("number", [1, 5, 12, 20, 29, 40])
def test_a_disk_that_fills_up_stops_the_driver_with_a_sentence_and_nothing_is_lost(
    run: RunDir, number: int
) -> None:
    broken = Driver(run, fast_config(), before=failing_from(number, errno.ENOSPC))
    assert broken.wait() == 1
    assert (
        "is full" in text_of_log(run)
        and "Free some space" in text_of_log(run)
        and "Traceback" not in text_of_log(run)
    )
    with contextlib.suppress(FileNotFoundError):
        assert not processes_with_marker(f"{read_state_file(run.state).run_id}/"), "its trainer was ended"
    assert Driver(run, fast_config()).wait() == 0
    assert read_state_file(run.state).state is State.DONE and [
        record.step for record in read_metrics(run)
    ] == list(range(1, 9))


def test_too_little_disk_is_said_before_anything_starts(run: RunDir) -> None:
    assert Driver(run, fast_config(disk_margin_gib=1e6)).wait() == 1
    state = read_state_file(run.state)
    assert (
        state.state is State.FAILED
        and "GiB free, but" in state.sentence
        and "campaign.keep_last" in state.sentence
    )
    assert not (run.cycle(1) / "attempts").exists()
    assert Driver(run, fast_config()).wait() == 0


def test_disk_that_runs_low_during_training_stops_with_a_checkpoint(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    command_trainer(run, step_s=0.05)

    def shrink() -> None:
        import azr.system.disks

        real = shutil.disk_usage

        def usage(path):
            total, used, free = real(path)
            return type(real(path))(total, used, 1000 if read_metrics(run) else free)

        azr.system.disks.shutil.disk_usage = usage

    assert Driver(run, fast_config(steps_per_cycle=1000, sample_s=0.05), before=shrink).wait() == 1
    state = read_state_file(run.state)
    assert state.state is State.FAILED and "0.00 GiB free" in state.sentence
    assert state.step == state.trained_step > 0, "saved before it stopped"


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_file_system_is_named(run: RunDir, code: int) -> None:
    assert Driver(run, fast_config(), before=failing_from(1, code)).wait() == 1
    log = text_of_log(run)
    assert ("read-only" if code == errno.EROFS else "no permission") in log and "Traceback" not in log


def test_a_bit_flipped_checkpoint_is_set_aside_and_the_one_before_is_used(midway: RunDir) -> None:
    run = midway
    older, newest = list_checkpoints(run)[-2:]
    weights = newest.path / "model" / "weights.bin"
    data = bytearray(weights.read_bytes())
    data[500] ^= 1
    weights.write_bytes(data)
    assert Driver(run, fast_config(steps_per_cycle=8)).wait() == 0
    repairs = " ".join(item.cause for item in read_incidents(run))
    assert (
        f"Set {newest.path.name} aside, which cannot be used" in repairs
        and "not the content that its manifest records" in repairs
    )
    assert re.search(rf"Steps? {older.step + 1} (was|to)", repairs)
    assert [record.step for record in read_metrics(run)] == list(range(1, 17))


@pytest.mark.parametrize("name", ["manifest.json", "model/weights.bin", "buffer.json"])
def test_a_truncated_checkpoint_is_set_aside(midway: RunDir, name: str) -> None:
    run = midway
    newest = list_checkpoints(run)[-1]
    with open(newest.path / name, "r+b") as file:
        file.truncate(7)
    assert Driver(run, fast_config(steps_per_cycle=8)).wait() == 0
    assert any(f"Set {newest.path.name} aside" in item.cause for item in read_incidents(run))
    assert [record.step for record in read_metrics(run)] == list(range(1, 17))


def test_all_checkpoints_damaged_is_said_and_nothing_of_them_is_deleted(midway: RunDir) -> None:
    run = midway
    for checkpoint in list_checkpoints(run):
        (checkpoint.path / "buffer.json").rename(checkpoint.path / "lost")
    saved = {path.name: path / "lost" for path in run.checkpoints.glob("step_*")}
    for _ in range(2):
        assert Driver(run, fast_config(steps_per_cycle=8)).wait() == 71
        log = text_of_log(run)
        assert "no checkpoint of them is left" in log and all(f"damaged-{name}" in log for name in saved)
    for name in saved:
        path = run.checkpoints / f"damaged-{name}"
        (path / "lost").rename(path / "buffer.json")
        path.rename(run.checkpoints / name)
    assert Driver(run, fast_config(steps_per_cycle=8)).wait() == 0
    assert [record.step for record in read_metrics(run)] == list(range(1, 17))


@pytest.mark.parametrize(
    "name", ["latest.json", "heartbeat.json", "request.json", "result.json", "processes.json"]
)
def test_small_damaged_files_are_no_obstacle(midway: RunDir, name: str) -> None:
    run = midway
    found = list(run.root.rglob(name))
    assert found
    for path in found:
        path.write_bytes(b'{"step": 1')
    assert Driver(run, fast_config(steps_per_cycle=8)).wait() == 0
    assert [record.step for record in read_metrics(run)] == list(range(1, 17))


def test_torn_lines_in_logs_are_dropped(midway: RunDir) -> None:
    run = midway
    for path in (run.metrics, run.incidents, run.shard(1), run.supervision):
        with open(path, "ab") as file:
            file.write(b'{"step": 99, "cy')
    assert Driver(run, fast_config(steps_per_cycle=8)).wait() == 0
    assert [record.step for record in read_metrics(run)] == list(range(1, 17))


def test_clocks_that_jump_end_nothing(run: RunDir) -> None:
    """The driver's wall clock jumps by days in both directions, while the trainer's does not."""
    command_trainer(run, step_s=0.05)

    def jump() -> None:
        real, calls = time.time, 0

        def jumping() -> float:
            nonlocal calls
            calls += 1
            return real() + (-1) ** calls * 86400 * calls

        time.time = jumping

    assert Driver(run, fast_config(), before=jump).wait() == 0
    assert not [item for item in read_incidents(run) if item.kind in ("crash", "hang")]
    assert read_state_file(run.state).active_s < 60


def test_a_driver_that_was_stopped_for_a_while_does_not_blame_the_trainer(run: RunDir) -> None:
    """SIGSTOP and SIGCONT, as a suspended laptop or a starved container: the gap is taken off the deadlines
    (unit: test_deadlines). The clock goes on by more than any of them meanwhile."""
    command_trainer(run, step_s=0.7)
    later = run.root / "later"

    def jump() -> None:
        supervise.MONOTONIC = lambda: time.monotonic() + 1000.0 * later.exists()

    driver = Driver(run, fast_config(steps_per_cycle=3, cycles=1), before=jump)
    wait_for(lambda: len(read_metrics(run)) >= 1)
    time.sleep(0.2)  # into the second step: a new one would begin with a deadline of its own
    driver.signal(signal.SIGSTOP)
    later.touch()
    driver.signal(signal.SIGCONT)
    assert driver.wait() == 0
    assert not [item for item in read_incidents(run) if item.kind in ("crash", "hang")]


def test_disks_that_know_no_hard_links_keep_the_state_before(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exFAT, FAT32 and some network drives: the campaign stopped, and blamed the permissions."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    assert Driver(run, fast_config(cycles=1)).wait() == 0
    assert read_state_file(run.state).state is State.DONE
    assert read_state_file(run.root / "state.previous.json").step == read_state_file(run.state).step
