"""Shared memory of killed trainers is swept by whoever comes next; nobody else's is touched."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import pytest
from fake_campaign import wait_for

from azr.campaign.trainer_process import SEGMENTS_FILE, Leftovers, TrainerProcess, end_leftovers
from azr.run.rundir import RunDir
from azr.system.files import read_json, write_json_atomic
from azr.system.processes import ProcessId
from azr.system.shared_memory import SHM, SegmentList

pytestmark = pytest.mark.skipif(not SHM.is_dir(), reason="no /dev/shm here")
# As an engine: the segment is held by a grandchild in a session of its own, and by nothing that cleans up
# after a kill.
TRAINER = """
import subprocess, sys, time
ENGINE = '''
import sys, time
from multiprocessing import resource_tracker, shared_memory
segment = shared_memory.SharedMemory(create=True, size=4096)
resource_tracker.unregister(segment._name, "shared_memory")
open(sys.argv[1] + "/name", "w").write(segment.name + ".")
time.sleep(120)
'''
subprocess.Popen([sys.executable, "-c", ENGINE, sys.argv[1]], start_new_session=True)
time.sleep(120)
"""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A segment of the same kind that belongs to somebody else, who is gone."""
    segment = shared_memory.SharedMemory(create=True, size=4096)
    resource_tracker.unregister(f"/{segment.name}", "shared_memory")
    segment.close()
    yield SHM / segment.name
    (SHM / segment.name).unlink(missing_ok=True)


def started(run: RunDir) -> tuple[TrainerProcess, Path]:
    trainer = TrainerProcess(run, 1, 1, "runid", command=(sys.executable, "-c", TRAINER))
    wait_for(lambda: (run.root / "name").exists() and (run.root / "name").read_text().endswith("."))
    return trainer, SHM / (run.root / "name").read_text().rstrip(".")


def test_a_trainer_that_is_ended_leaves_no_segment(run: RunDir, foreign: Path) -> None:
    trainer, segment = started(run)
    assert segment.exists()
    assert trainer.end() == []
    assert not segment.exists() and foreign.exists()


def test_the_next_start_sweeps_what_a_killed_driver_left(run: RunDir, foreign: Path) -> None:
    trainer, segment = started(run)
    trainer._registered_s = float("-inf")
    trainer.register_processes()
    for process in trainer.registry.living():
        os.kill(process.pid, signal.SIGKILL)
    trainer.process.wait(timeout=30)
    wait_for(lambda: not trainer.registry.living())
    assert segment.exists(), "what is left today"
    assert end_leftovers(run, "runid") == Leftovers("1/1", 0, [])
    assert not segment.exists() and foreign.exists()


def test_only_what_is_provably_ours_and_unused_is_removed(run: RunDir, foreign: Path) -> None:
    own = ProcessId.of(os.getpid())
    assert own is not None
    path = run.attempt(1, 1) / SEGMENTS_FILE
    segment = shared_memory.SharedMemory(create=True, size=4096)
    try:
        segments = SegmentList(path)
        segments.remember([own])
        [entry] = [entry for entry in read_json(path)["segments"] if entry["name"] == segment.name]
        assert segments.sweep() == [], "this process holds it"
        gone = {**entry, "name": foreign.name}  # the name is used again: another inode
        reboot = {**entry, "name": foreign.name, "inode": foreign.stat().st_ino, "boot_id": "another boot"}
        outside = {**entry, "name": "../etc/hostname"}
        write_json_atomic(path, {"segments": [gone, reboot, outside]})
        assert SegmentList(path).sweep() == [] and foreign.exists()
    finally:
        segment.close()
        segment.unlink()
    path.write_text("{")
    assert SegmentList(path).sweep() == []
