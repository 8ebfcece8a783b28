"""One attempt's trainer as a process: started in its own session, watched, its stacks dumped, and ended
together with everything it started."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from azr.config.paths import PROJECT
from azr.run.protocol import STACKS_FILE, TrainRequest
from azr.run.records import MachineSample
from azr.run.rundir import RunDir
from azr.run.start_record import StartPart, mark_start
from azr.system.cards import used_vram_gib
from azr.system.children import run_captured
from azr.system.files import make_folder, write_text_atomic
from azr.system.processes import (
    MARKER_VARIABLE,
    ProcessId,
    Registry,
    attempt_marker,
    descendants,
    end_processes,
    run_of_marker,
)
from azr.system.scratch import remove_abandoned_scratch
from azr.system.shared_memory import SegmentList
from azr.system.signals import signals_for_the_owner_alone
from azr.system.stacks import collect_stacks

REGISTRY_FILE = "processes.json"
SEGMENTS_FILE = "shared_memory.json"
TRAINER_COMMAND = (sys.executable, "-m", "azr.train")
PY_SPY_TIMEOUT_S = 20.0
REGISTRY_INTERVAL_S = 2.0


class TrainerProcess:
    """Starts ``command RUN_DIR`` and owns everything that comes of it.

    The registry is on disk, with the marker, before the process exists; so whatever a kill -9 of the driver
    leaves behind is found at the next start. It stays with the log where the process began, also when that goes
    on with another cycle (``go_on``).

    Args:
        since_step: the step that it resumes from.
    """

    def __init__(
        self,
        run: RunDir,
        cycle: int,
        attempt: int,
        run_id: str,
        *,
        since_step: int = 0,
        command: Sequence[str] = TRAINER_COMMAND,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.run, self.name, self.since_step = run, f"{cycle}/{attempt}", since_step
        self.folder = self.attempt_folder = run.attempt(cycle, attempt)
        make_folder(self.folder)
        self.log = run.trainer_log(cycle, attempt)
        self.registry = Registry(self.folder / REGISTRY_FILE)
        self.registry.marker = attempt_marker(run_id, cycle, attempt)
        self.registry.save()
        self.segments = SegmentList(self.folder / SEGMENTS_FILE)

        environment = {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace", **(env or {})}
        environment[MARKER_VARIABLE] = self.registry.marker
        self.vram_before_gib = used_vram_gib()
        mark_start(self.folder, StartPart.BEGIN)
        with open(self.log, "ab") as log, signals_for_the_owner_alone():
            self.process = subprocess.Popen(
                [*command, str(run.root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                cwd=PROJECT,  # where ``azr`` is imported from, wherever the command was started
            )

        self.pid = self.registry.session = self.process.pid
        self._registered_s = float("-inf")
        try:
            self.register_processes()
        except BaseException:  # the disk is full, or Ctrl+C: nobody else will own the process
            self.end()
            raise

    def go_on(self, cycle: int, attempt: int) -> None:
        """From here on it works on that attempt."""
        self.attempt_folder = self.run.attempt(cycle, attempt)
        log = self.log.relative_to(self.run.root)
        note = f"This attempt went on in the trainer of attempt {self.name}; its log is {log}.\n"
        write_text_atomic(self.run.trainer_log(cycle, attempt), note)

    def poll(self) -> int | None:
        """Exit status, or None while it runs. The zombie is kept until ``end``: it guards the session's number."""
        if self.process.returncode is not None:
            return self.process.returncode
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return None
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def register_processes(self) -> None:
        """Remembers descendants, at most every ``REGISTRY_INTERVAL_S``; written only when there are new ones."""
        now_s = time.monotonic()
        if now_s - self._registered_s < REGISTRY_INTERVAL_S:
            return
        self._registered_s = now_s
        processes = self._processes()
        if self.registry.add(processes):
            self.registry.save()
        self.segments.remember(processes)

    def _processes(self) -> list[ProcessId]:
        own = ProcessId.of(self.pid)
        return [*([own] if own else []), *descendants(self.pid)]

    def dump_stacks(self, pid: int | None) -> Path | None:
        """Python stacks of all processes that answer (``azr.system.stacks``), the training loop first, and where py-spy may
        look, also of the others.

        Args:
            pid: of the training loop, from the heartbeat.

        Returns:
            the file that holds them, or None when none could be had.
        """
        living = self.registry.living()
        path = self.attempt_folder / STACKS_FILE
        collect_stacks(sorted(living, key=lambda process: process.pid != pid), path)

        py_spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
        dumps = []
        if py_spy is not None:
            deadline_s = time.monotonic() + PY_SPY_TIMEOUT_S
            for process in living:
                if time.monotonic() > deadline_s:
                    break
                with contextlib.suppress(subprocess.TimeoutExpired, OSError):
                    dump = run_captured([py_spy, "dump", "--pid", str(process.pid)], 5)
                    if dump.returncode == 0:
                        dumps.append(dump.stdout)

        if dumps:
            with contextlib.suppress(OSError):
                write_text_atomic(self.attempt_folder / "stacks-all.txt", "\n".join(dumps))
        if path.exists() and path.stat().st_size:
            return path
        return self.attempt_folder / "stacks-all.txt" if dumps else None

    def end(self) -> list[ProcessId]:
        """Ends the trainer and every descendant; returns what could not be ended (normally nothing)."""
        left = _end_and_sweep(self.registry, self.segments)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)
        with contextlib.suppress(OSError):
            self.registry.save()
        return left


@dataclass(frozen=True)
class WaitingTrainer:
    """A trainer that finished its cycle and waits for the next one."""

    process: TrainerProcess
    request: TrainRequest
    """What it has finished."""
    samples: list[MachineSample]
    """Of its memory, since it was started."""


@dataclass(frozen=True)
class Leftovers:
    """What a driver that died left running."""

    attempt: str
    """``CYCLE/ATTEMPT`` of the latest process that was started."""
    found: int = 0
    """Processes that were alive at first."""
    left: Sequence[ProcessId] = ()
    """What could not be ended."""


def end_leftovers(run: RunDir, run_id: str, *, wait_s: float = 0.0) -> Leftovers:
    """After a driver died: ends what its trainer left running.

    Args:
        run_id: what the attempt's files say of another run's processes, from which this folder was copied, does
            not count.
        wait_s: first wait this long for it to end by itself (it saw that its driver is gone, and saves).
    """
    latest = _latest_registry(run)
    if latest is None:
        return Leftovers("")
    name = f"{int(latest.parents[2].name)}/{int(latest.parent.name)}"
    registry = Registry.load(latest)
    if registry.marker and run_of_marker(registry.marker) != run_id:
        return Leftovers(name)
    registry.marker = f"{run_id}/"  # any attempt of this run: only one may live at a time
    found = registry.living()
    deadline_s = time.monotonic() + wait_s
    while registry.living() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    left = _end_and_sweep(registry, SegmentList(latest.with_name(SEGMENTS_FILE)))
    return Leftovers(name, len(found), left)


def recorded_run_id(run: RunDir) -> str:
    """The run's id as its latest trainer was started with it; empty where that is not to be had."""
    latest = _latest_registry(run)
    return run_of_marker(Registry.load(latest).marker) if latest else ""


def _latest_registry(run: RunDir) -> Path | None:
    """Of the latest attempt that a process was started for."""
    return next(reversed(run.in_attempts(REGISTRY_FILE)), None)


def _end_and_sweep(registry: Registry, segments: SegmentList) -> list[ProcessId]:
    """Ends all of an attempt, and removes the shared memory and temporary folders that it leaves; returns what still
    lives."""
    with contextlib.suppress(OSError):  # the disk is full
        segments.remember(registry.living(), thorough=True)
    left = end_processes(registry)
    segments.sweep()
    remove_abandoned_scratch()
    return left
