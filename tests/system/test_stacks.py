"""An attempt's processes write their stacks when asked, and those that cannot are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from azr.system.processes import ProcessId
from azr.system.stacks import STACKS_VARIABLE, collect_stacks

WAITS = "import time\ndef where_it_hangs():\n    print('ready', flush=True)\n    time.sleep(60)\nwhere_it_hangs()\n"
ANSWERS = "from azr.system.stacks import answer_as_the_attempt_asks\nanswer_as_the_attempt_asks()\n" + WAITS


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    environment = {**os.environ, STACKS_VARIABLE: str(tmp_path / "stacks.txt")}
    children = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for code in (ANSWERS, WAITS, ANSWERS)
    ]
    try:
        for child in children:
            assert child.stdout is not None and child.stdout.readline() == "ready\n"
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate(timeout=10)


def test_those_that_answer_are_asked_one_after_another_and_the_others_live_on(
    started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    processes = [found for child in started if (found := ProcessId.of(child.pid))]
    assert collect_stacks(processes, tmp_path / "stacks.txt") == 2
    assert all(child.poll() is None for child in started), "SIGUSR1 ends whoever has no handler for it"
    first, second = (tmp_path / "stacks.txt").read_text().split("\n=== ")[1:]
    for part, child in ((first, started[0]), (second, started[2])):
        assert f"process {child.pid}: {sys.executable}" in part and "in where_it_hangs" in part


def test_a_process_that_has_ended_is_passed_over(
    started: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = ProcessId.of(started[0].pid)
    assert process is not None
    started[0].send_signal(signal.SIGKILL)
    started[0].wait(timeout=10)
    assert collect_stacks([process], tmp_path / "stacks.txt") == 0
