"""Python stacks of an attempt's processes, when it hangs: each that can answers SIGUSR1 by writing its own into one
file. faulthandler does it in the signal's handler, also while Python waits in C for a card."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from azr.system.files import text_of
from azr.system.processes import ProcessId

STACKS_VARIABLE = "AZR_STACKS"
"""Environment variable with the file's path, inherited by every process of an attempt."""
WAIT_S = 2.0
"""For one process's answer."""
QUIET_S = 0.1
"""An answer that has not grown for so long is whole."""
LIMIT_S = 30.0
"""For all of them."""


def answer_with_stacks(path: Path) -> int:
    """Has this process add its stacks to the file whenever SIGUSR1 comes.

    Returns:
        the open file's number, which is to stay open as long.
    """
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    faulthandler.register(signal.SIGUSR1, file=file, all_threads=True)
    # the driver blocked it (signals_for_the_owner_alone)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    return file


def answer_as_the_attempt_asks() -> None:
    """The same for the rest of this process, into the file that the environment names, if it names one."""
    if path := os.environ.get(STACKS_VARIABLE):
        with contextlib.suppress(OSError):
            answer_with_stacks(Path(path))


def collect_stacks(processes: Iterable[ProcessId], path: Path) -> int:
    """Asks one process after another, each under a line that names it. Those without a handler are left alone, because
    the signal would end them.

    Returns:
        how many were asked.
    """
    asked = 0
    deadline_s = time.monotonic() + LIMIT_S
    for process in processes:
        if time.monotonic() > deadline_s:
            break
        if not process.alive or not _has_handler(process.pid):
            continue
        with contextlib.suppress(OSError):
            with open(path, "a", encoding="utf-8") as file:
                now = time.strftime("%H:%M:%S")
                file.write(f"\n=== {now} process {process.pid}: {_title(process)}\n")
            size = path.stat().st_size
            os.kill(process.pid, signal.SIGUSR1)
            asked += 1
            _wait_for_answer(path, size)
    return asked


def _wait_for_answer(path: Path, size: int) -> None:
    before, since_s = size, time.monotonic()
    limit_s = since_s + WAIT_S
    while time.monotonic() < limit_s:
        time.sleep(0.02)
        now = path.stat().st_size
        if now != before:
            before, since_s = now, time.monotonic()
        elif now > size and time.monotonic() - since_s > QUIET_S:
            return


def _has_handler(pid: int) -> bool:
    """Whether the process catches SIGUSR1, as the kernel says."""
    for line in text_of(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGUSR1 - 1) & 1)
    return False


def _title(process: ProcessId) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(psutil.Process(process.pid).cmdline()).strip()[:200] or process.name
    return process.name
