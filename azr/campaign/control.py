"""A user's requests to a running campaign from another terminal: files under ``control/`` that the driver
reads.

A request is a small file, written whole; so it can be made at any moment, also while no driver runs (a pause
or a budget then holds for the next start; an old ``stop`` or ``checkpoint`` is dropped there, because
starting says the contrary).
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import filelock

from azr.campaign.state import recorded_state
from azr.commands import command
from azr.errors import DataError, RunError
from azr.run.protocol import asked
from azr.run.rundir import RunDir
from azr.system.disks import explain_os_error
from azr.system.files import read_json, write_json_atomic
from azr.system.folder_id import FolderId
from azr.system.locks import take_lock
from azr.system.processes import ProcessId

LOCK_WAIT_S = 5.0
STOPPED_BY = "Stopped by"
"""How the reason of a stop begins that a user asked for."""


class Control(str, Enum):
    STOP = "stop"
    CHECKPOINT = "checkpoint"
    PAUSE = "pause"
    BUDGET = "budget"


@dataclass(frozen=True)
class Requests:
    """What is in ``control/`` now."""

    stop: bool = False
    checkpoint: bool = False
    pause: bool = False
    hours: float | None = None


def request_control(run: RunDir, control: Control, **values: Any) -> None:
    write_json_atomic(run.control / control.value, {"unix_s": time.time(), **values})


def withdraw_control(run: RunDir, control: Control) -> bool:
    """True if there was such a request."""
    try:
        (run.control / control.value).unlink()
    except FileNotFoundError:
        return False
    return True


def read_requests(run: RunDir) -> Requests:
    hours = None
    with contextlib.suppress(DataError, KeyError, TypeError, ValueError, OSError):
        value = float(read_json(run.control / Control.BUDGET.value)["hours"])
        hours = value if math.isfinite(value) and value >= 0 else None
    asked = (Control.STOP, Control.CHECKPOINT, Control.PAUSE)
    return Requests(*((run.control / control.value).exists() for control in asked), hours=hours)


def lock_run(run: RunDir, say: Callable[[str], object] = lambda _: None) -> filelock.FileLock:
    """The run's single-writer lock, taken.

    Args:
        say: told where the run's file system has no locks.

    Raises:
        RunError: another driver holds it, or the run directory cannot be written.
    """
    try:
        run.root.mkdir(parents=True, exist_ok=True)
        # A driver that was killed may leave a child that holds the lock for the moment until it sees that it
        # is alone.
        driver = recorded_driver(run)
        is_dead = driver is not None and not driver.alive
        lock = take_lock(run.lock, LOCK_WAIT_S if is_dead else 0, say)
        if driver is None or is_dead or driver.pid == os.getpid() or _is_copy(run):
            return lock
        lock.release()  # another one of that name: somebody removed the file that the driver holds
        raise _in_use(run)
    except filelock.Timeout as error:
        raise _in_use(run) from error
    except OSError as error:
        raise RunError(f"cannot write to the run directory: {explain_os_error(error, run.root)}") from error


def _in_use(run: RunDir) -> RunError:
    driver = recorded_driver(run)
    if driver is None and not run.driver_beat.exists():
        return RunError(
            f"another command is using {run.root} (one that packs it, say); try again once it has ended"
        )
    holder = f" (process {driver.pid})" if driver is not None and driver.alive else ""
    otherwise = f"Wait for it, or end it with `{command('control')} {run.root} stop`"
    told = suspended_driver(run) or stopping_driver(run) or otherwise
    return RunError(f"another driver is using {run.root}{holder}. {told}")


def _is_copy(run: RunDir) -> bool:
    """The recorded driver is that of another folder, which this one was copied from."""
    state = recorded_state(run)
    return bool(state and state.folder and not state.folder.is_same(FolderId.of(run.root)))


def driver_is_running(run: RunDir) -> bool:
    if not run.lock.exists():
        driver = recorded_driver(run)
        return driver is not None and driver.alive and not _is_copy(run)
    try:
        lock_run(run).release()
    except RunError as error:
        driver = recorded_driver(run)
        if isinstance(error.__cause__, filelock.Timeout):  # a command that packs the run holds the lock, too
            return driver is not None or run.driver_beat.exists()
        return driver is not None and driver.alive
    return False


def stopping_driver(run: RunDir) -> str:
    """A sentence where somebody has asked the run's driver to stop, and it is still at it; else empty."""
    state = recorded_state(run)
    reason = asked(run, state.cycle, state.attempt).reason if state and state.attempt_open else ""
    if not reason.startswith(STOPPED_BY):
        return ""
    return f"It is stopping ({reason.rstrip('.')}): its step is finished and saved first, and then the same command resumes"


def suspended_driver(run: RunDir) -> str:
    """A sentence where the run's driver stands still, as after Ctrl+Z, and so obeys nobody; else empty."""
    driver = recorded_driver(run)
    if driver is None or not driver.suspended:
        return ""
    return (
        f"Process {driver.pid}, which drives the run, is suspended (Ctrl+Z does that): "
        f"`fg` in its terminal, or `kill -CONT {driver.pid}`, lets it continue"
    )


def recorded_driver(run: RunDir) -> ProcessId | None:
    state = recorded_state(run)
    return state.driver if state else None
