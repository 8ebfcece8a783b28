from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_campaign import wait_for

from azr.system.processes import (
    MARKER_VARIABLE,
    ProcessId,
    Registry,
    descendants,
    end_processes,
    memory_gib,
    processes_with_marker,
)

SLEEP = "import time; time.sleep(60)"
# A tree: a child in a session of its own, as an engine; then the parent waits or dies.
TREE = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def tree() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """(parent, pid of the grandchild)."""
    environment = {**os.environ, MARKER_VARIABLE: f"test{os.getpid()}/1/1"}
    parent = subprocess.Popen(
        [sys.executable, "-c", TREE],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    yield parent, child
    for pid in (parent.pid, child):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    parent.wait()
    parent.stdout.close()


def registry_of(parent: subprocess.Popen[str], path: Path, marker: str = "") -> Registry:
    registry = Registry(path)
    registry.session, registry.marker = parent.pid, marker
    own = ProcessId.of(parent.pid)
    assert own is not None
    registry.add([own, *descendants(parent.pid)])
    registry.save()
    return registry


def test_identity_is_number_and_start() -> None:
    own = ProcessId.of(os.getpid())
    assert own is not None and own.alive
    assert not ProcessId(own.pid, own.start_ticks + 1, own.boot_id).alive, (
        "a recycled number is somebody else"
    )
    assert not ProcessId(own.pid, own.start_ticks, "another boot").alive
    assert ProcessId.of(2**22 + 1) is None


def test_the_whole_tree_is_ended(tree, tmp_path: Path) -> None:
    parent, child = tree
    left = end_processes(registry_of(parent, tmp_path / "p.json"))
    assert left == [] and ProcessId.of(child) is None and parent.wait(5) == -signal.SIGKILL


@pytest.mark.parametrize("how", ["registry", "marker"])
def test_orphans_of_a_dead_parent_are_found(tree, tmp_path: Path, how: str) -> None:
    parent, child = tree
    marker = f"test{os.getpid()}/1/1"
    registry = registry_of(parent, tmp_path / "p.json")
    parent.kill()
    parent.wait()
    if how == "registry":
        found = Registry.load(registry.path)
    else:
        found = Registry(tmp_path / "lost.json")
        found.marker = f"test{os.getpid()}/"
        assert [process.pid for process in processes_with_marker(marker)] == [child]
    assert [process.pid for process in found.living()] == [child]
    assert end_processes(found) == [] and ProcessId.of(child) is None


def test_a_recycled_session_number_is_not_ours(tree, tmp_path: Path) -> None:
    parent, _ = tree
    registry = Registry(tmp_path / "p.json")
    own = ProcessId.of(parent.pid)
    assert own is not None
    registry.session = parent.pid
    # the number was ours once; now a stranger has it
    registry.add([ProcessId(own.pid, own.start_ticks - 1, own.boot_id)])
    assert registry.living() == []
    assert end_processes(registry) == [] and own.alive


def test_damaged_registry_is_empty(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"session": 1, "mar')
    assert Registry.load(tmp_path / "p.json").living() == []


def test_registry_forgets_the_dead(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "p.json")
    child = subprocess.Popen([sys.executable, "-c", SLEEP])
    own = ProcessId.of(child.pid)
    assert own is not None and registry.add([own]) and not registry.add([own])
    child.kill()
    child.wait()
    wait_for(lambda: not own.alive)
    registry.save()
    assert Registry.load(registry.path).living() == [] and '"processes": []' in registry.path.read_text()


def test_memory_counts_this_process() -> None:
    own = ProcessId.of(os.getpid())
    assert own is not None and 0.005 < memory_gib([own]) < 10
