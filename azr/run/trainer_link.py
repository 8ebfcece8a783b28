"""The trainer's half of the protocol with the driver (``azr.run.protocol``).

``TrainerLink`` lives where the training loop runs (which may be a Ray actor); ``DriverWatch`` lives in the
process that the driver started, and turns the driver's death into an ordinary stop request. Neither imports
torch.

    with TrainerLink(RunDir(path)) as link:
        restore(link.request.resume_step)
        for step in range(link.request.resume_step + 1, link.request.last_step + 1):
            link.phase(Phase.GENERATE)
            ...
            link.step_done(step, {"reward/solve": 0.4})
            asked = link.asked()
            if asked.stop or asked.checkpoint or due(step):
                link.phase(Phase.SAVE)
                save to checkpoints/.tmp-step_NNNNNNNN; publish_checkpoint(...)
                link.saved(step)
            if asked.stop:
                link.finish(Ending.STOPPED, asked.reason); break
        else:
            link.finish(Ending.FINISHED, "trained all steps")
            request = link.next_request()  # None: end; else the same again, with a link for it
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

from azr.errors import DataError, RunMovedError
from azr.run.hand_over import HandOverPart, mark_hand_over
from azr.run.protocol import (
    CHECKPOINT_FILE,
    STACKS_FILE,
    STOP_FILE,
    DriverRequests,
    Ending,
    Heartbeat,
    MetricsRecord,
    Phase,
    TrainRequest,
    TrainResult,
    append_metrics,
    ask,
    asked,
    current_request,
    following_request,
    write_beat,
    write_result,
)
from azr.run.rundir import RunDir
from azr.run.start_record import StartPart, mark_start
from azr.system.files import keep_to_disk, make_folder
from azr.system.folder_id import FolderId
from azr.system.stacks import answer_with_stacks

BEAT_INTERVAL_S = 5.0
LOOK_INTERVAL_S = 0.1
"""Between two looks for the next cycle's request."""


class TrainerLink:
    """Heartbeats, metrics, requests and result of one attempt.

    Raises:
        DataError: the run directory holds no readable request.
    """

    def __init__(
        self, run: RunDir, request: TrainRequest | None = None, *, beat_interval_s: float = BEAT_INTERVAL_S
    ) -> None:
        self.run = run
        self.request = request or current_request(run)
        self.step = self.request.resume_step
        self.saved_step = self.request.resume_step
        self._phase, self._phase_since = Phase.START, time.time()
        self._sequence = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._interval_s = beat_interval_s
        self._thread = threading.Thread(target=self._beat_for_ever, name="heartbeat", daemon=True)
        self._stacks: int | None = None

    def __enter__(self) -> TrainerLink:
        keep_to_disk(self.run.root, self.run.lock)
        folder = self.run.attempt(self.request.cycle, self.request.attempt)
        make_folder(folder)
        self._stacks = answer_with_stacks(folder / STACKS_FILE)
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * self._interval_s)
        faulthandler.unregister(signal.SIGUSR1)
        if self._stacks is not None:
            os.close(self._stacks)

    def phase(self, phase: Phase) -> None:
        """Says what begins now. The first phase after ``start`` ends the start-up deadline."""
        with self._lock:
            self._phase, self._phase_since = phase, time.time()
        self._beat()

    def step_done(self, step: int, values: dict[str, float]) -> None:
        """Appends the step's line to ``metrics.jsonl`` and reports the step as finished.

        Raises:
            OSError: the disk is full or read-only; a trainer that cannot report should not continue.
        """
        cycle, attempt, process = self.request.cycle, self.request.attempt, self.request.process
        numbers = {name: float(value) for name, value in values.items()}
        append_metrics(self.run, MetricsRecord(step, cycle, attempt, time.time(), numbers, process))
        self.step = step
        self._beat()

    def mark(self, part: StartPart, inside: Mapping[str, float] | None = None) -> None:
        """That a part of the start is done; an attempt that goes on in a process of before has none."""
        if not self.request.process:
            mark_start(self.run.attempt(self.request.cycle, self.request.attempt), part, inside)

    def mark_handing_over(self, part: HandOverPart) -> None:
        """Of the hand-over from this cycle to the next."""
        mark_hand_over(self.run, self.request.cycle, part)

    def mark_taking_over(self, part: HandOverPart) -> None:
        """Of the hand-over from the last cycle to this one, where the attempt begins the cycle."""
        if self.request.resume_step + 1 == self.request.first_step:
            mark_hand_over(self.run, self.request.cycle - 1, part)

    def asked(self) -> DriverRequests:
        """What the driver wants now; look at it at every step boundary."""
        return asked(self.run, self.request.cycle, self.request.attempt)

    def require_folder(self) -> None:
        """Before anything is written, which would make the folder anew under its old name, or in the empty place of a
        disk that went away.

        Raises:
            RunMovedError: the run's folder was renamed or removed.
        """
        if not self.run.request(self.request.cycle).is_file():
            raise RunMovedError(
                f"{self.run.root} was renamed or removed while the run was going on; nothing is saved there"
            )

    def saved(self, step: int) -> None:
        """The checkpoint of ``step`` is published: an open checkpoint request is answered."""
        self.saved_step = step
        with contextlib.suppress(FileNotFoundError):
            (self.run.attempt(self.request.cycle, self.request.attempt) / CHECKPOINT_FILE).unlink()

    def finish(self, outcome: Ending, reason: str, *, retry: bool = True) -> None:
        """Leaves ``result.json``. Exit with status 0 after ``finished`` and ``stopped``."""
        cycle, attempt = self.request.cycle, self.request.attempt
        write_result(self.run, TrainResult(outcome, self.saved_step, reason, cycle, attempt, retry))

    def next_request(self) -> TrainRequest | None:
        """After ``finished``: waits for the next cycle's request, as long as this one allows.

        Returns:
            None when the trainer is to end.

        Raises:
            DataError: the request is damaged.
        """
        if not self.request.wait_s:
            return None
        deadline_s = time.monotonic() + self.request.wait_s
        self.phase(Phase.IDLE)
        while time.monotonic() < deadline_s and not self.asked().stop:
            request = following_request(self.run, self.request)
            if request is not None:
                return request
            time.sleep(LOOK_INTERVAL_S)
        return None

    def _beat_for_ever(self) -> None:
        while not self._closing.wait(self._interval_s):
            self._beat()

    def _beat(self) -> None:
        with self._lock:
            self._sequence += 1
            place = (self.request.cycle, self.request.attempt, self.step)
            phase = (self._phase, self._phase_since)
            beat = Heartbeat(time.time(), os.getpid(), *place, *phase, self._sequence)
            # A full disk must not kill the thread: beats resume when there is room, and their absence is seen
            # by the driver.
            with contextlib.suppress(OSError):
                # else the run's folder has gone, and this would make it anew
                if self.run.attempt(*place[:2]).is_dir():
                    write_beat(self.run, beat)


class DriverWatch:
    """In the process that the driver started: asks for a stop when the driver is gone, and ends us if that is
    not obeyed, or if the run's folder is gone as well: another run may begin in its place.

    Args:
        request: the one that the process was started for; asked to stop is what it works on by then.
    """

    def __init__(
        self, run: RunDir, request: TrainRequest, *, interval_s: float = 2.0, limit_s: float = 900.0
    ) -> None:
        self._run, self._request = run, request
        self._folder = FolderId.of(run.root)
        self._interval_s, self._limit_s = interval_s, limit_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="driver-watch", daemon=True)

    def __enter__(self) -> DriverWatch:
        if self._request.driver_pid:
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * self._interval_s)

    def _watch(self) -> None:
        while os.getppid() == self._request.driver_pid:
            if self._closing.wait(self._interval_s):
                return
        request = self._request
        with contextlib.suppress(DataError, OSError):
            request = current_request(self._run)
        if self._folder.is_there:
            with contextlib.suppress(OSError):
                ask(self._run, request.cycle, request.attempt, STOP_FILE, "the driver is gone")
        deadline_s = time.monotonic() + self._limit_s
        while self._folder.is_there and time.monotonic() < deadline_s:
            if self._closing.wait(min(self._interval_s, self._limit_s)):
                return
        os.killpg(os.getpgrp(), signal.SIGKILL)  # our own session: the driver started us as its leader
