"""Temporary folders: gone with their block, with SIGTERM, and at the next start after SIGKILL; nobody else's are
touched."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from azr.system import scratch
from azr.system.files import whole_folder
from azr.system.scratch import scratch_folder
from azr.system.signals import EndedBySignalError, ended_by_signals, undo_inherited

PROJECT = Path(__file__).resolve().parents[2]
OURS = f"azr-s-{scratch._HERE}abcd.tmp"
HOLDER = """
import pathlib, sys
from azr.cli import run_command
from azr.system.files import whole_folder
from azr.system.scratch import scratch_folder
import azr.cli.report
def hold(words):
    with scratch_folder("test") as folder, whole_folder(pathlib.Path("out")) as staging:
        (folder / "inside").write_text("x")
        (staging / "inside").write_text("x")
        print("held", flush=True)
        sys.stdin.read()
azr.cli.report.main = hold
sys.exit(run_command("report", []))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    tempfile.tempdir = None


def holder(place: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=place, env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    assert len(list(place.iterdir())) == 2
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_removes_its_folders(place: Path, number: signal.Signals) -> None:
    """They stayed: Python does not clean up when SIGTERM ends it."""
    process = holder(place)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert said == f"report: ended by {number.name}\n" and process.returncode == 128 + number
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_at_the_next_start(place: Path) -> None:
    process, living = holder(place), None
    try:
        process.kill()
        process.communicate(timeout=60)
        assert len(list(place.iterdir())) == 2
        with scratch_folder("another") as folder, whole_folder(place / "out") as staging:
            assert set(place.iterdir()) == {folder, staging}
        assert [path.name for path in place.iterdir()] == ["out"]
        living = holder_beside(place)
    finally:
        process.kill()
        if living is not None:
            living.kill()
            living.communicate(timeout=60)


def holder_beside(place: Path) -> subprocess.Popen[str]:
    """One that lives keeps its folders while others come and go."""
    (place / "out").rmdir()
    living = holder(place)
    held = set(place.iterdir())
    for _ in range(2):
        with scratch_folder("another"), whole_folder(place / "other"):
            assert held <= set(place.iterdir())
        (place / "other").rmdir()
    assert set(place.iterdir()) == held and all((folder / "inside").exists() for folder in held)
    return living


def test_folders_that_are_not_ours_are_left_alone(place: Path) -> None:
    for name in ("azr-0", "azr-model-abcdef", "azr-mine", f"{OURS}.bak", f"other-{OURS}"):
        (place / name).mkdir()
    (place / OURS).write_text("a file")
    (place / "elsewhere").mkdir()
    (place / OURS.replace("abcd", "0123")).symlink_to(place / "elsewhere")
    before = set(place.iterdir())
    with scratch_folder("s"):
        pass
    assert set(place.iterdir()) == before


def test_what_another_machine_made_on_a_share_is_left_alone(place: Path) -> None:
    """Its locks may not be seen here."""
    for name in ("azr-s-xxxx0123.tmp", ".out.xxxx0123.tmp"):
        (place / name.replace("xxxx", "beef" if scratch._HERE != "beef" else "feed")).mkdir()
    before = set(place.iterdir())
    with scratch_folder("s"), whole_folder(place / "out"):
        assert before < set(place.iterdir())
    assert before < set(place.iterdir())


def test_without_locks_nothing_is_taken_for_abandoned(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with scratch_folder("s") as first, scratch_folder("s") as second:
        assert first.is_dir() and second.is_dir()
    assert list(place.iterdir()) == []


def test_a_folder_that_cannot_be_renamed_while_it_is_open(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a drive of Windows under WSL."""
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        for link in Path("/proc/self/fd").iterdir():
            if link.exists() and link.resolve() == path:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with whole_folder(place / "out") as staging:
        (staging / "file").write_text("x")
    assert [path.name for path in place.iterdir()] == ["out"]


def test_a_path_of_a_socket_stays_within_its_limit() -> None:
    from azr.system.places import SOCKET_PATH_BYTES, TEMPORARY_BYTES

    name = "rl-colocate-zmq-01000000-replica-0-rank-0.sock"
    with scratch_folder("s") as folder:
        assert TEMPORARY_BYTES + len(f"/{folder.name}/{name}") <= SOCKET_PATH_BYTES


def test_signals_that_were_ignored_stay_so_and_the_others_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    hup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGTERM) is before
        with pytest.raises(EndedBySignalError, match="SIGTERM") as ended, ended_by_signals():
            os.kill(os.getpid(), signal.SIGTERM)
        assert ended.value.status == 143
    finally:
        signal.signal(signal.SIGHUP, hup)
        signal.signal(signal.SIGTERM, before)


def test_what_a_launcher_left_of_signals_is_undone() -> None:
    """With SIGCHLD ignored the sandbox "exited during startup: exit status 0", and the doctor said to load Landlock."""
    before = signal.getsignal(signal.SIGCHLD), signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        undo_inherited()
        assert subprocess.run(["false"], check=False).returncode == 1
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.signal(signal.SIGCHLD, before[0])
        signal.pthread_sigmask(signal.SIG_SETMASK, before[1])
