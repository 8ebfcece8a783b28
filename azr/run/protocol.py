"""What driver and trainer say to each other, all of it through files in the run directory.

The driver writes ``request.json`` and starts the trainer as ``python -m azr.train RUN_DIR``. The trainer
finds the request by ``current_request``, writes ``heartbeat.json``, appends to ``metrics.jsonl``, looks for
the attempt's ``stop`` and ``checkpoint`` files at every step boundary, publishes checkpoints
(``azr.run.checkpoints``) and leaves ``result.json``. Where the request says so, a trainer that has finished then
waits for the next cycle's request and goes on with that. ``azr.run.trainer_link`` does the trainer's half. What
the driver writes for people and for the report: ``azr.run.records``.

Stop and checkpoint requests are in the attempt's own folder, so that a request never reaches a later attempt.
What a user asks (``scripts/control.py``) is in ``control/`` and is read only by the driver.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeVar

from pydantic import FiniteFloat

from azr.errors import DataError
from azr.run.records import from_json, read_log
from azr.run.rundir import RunDir
from azr.system.files import append_jsonl, move_over, read_json, write_json_atomic
from azr.system.processes import MARKER_VARIABLE, ProcessId

_Beat = TypeVar("_Beat", "Heartbeat", "DriverBeat")

STOP_FILE = "stop"
"""In the attempt's folder: save a checkpoint at the next step boundary and end with outcome ``stopped``."""
CHECKPOINT_FILE = "checkpoint"
"""In the attempt's folder: save a checkpoint at the next step boundary, remove this file, continue."""
STACKS_FILE = "stacks.txt"
"""In the attempt's folder: Python stacks of a trainer that hung (``azr.system.stacks``)."""


class Phase(str, Enum):
    """What the trainer does right now. ``start`` lasts until the first step begins."""

    START = "start"
    GENERATE = "generate"
    EXECUTE = "execute"
    UPDATE = "update"
    SYNC = "sync"
    SAVE = "save"
    VALIDATE = "validate"
    IDLE = "idle"


class Ending(str, Enum):
    FINISHED = "finished"
    """Trained and saved ``last_step``."""
    STOPPED = "stopped"
    """Ended on request, at a step boundary, with a checkpoint of ``step``."""
    FAILED = "failed"
    """Found a reason not to continue, given in ``reason``."""


@dataclass(frozen=True)
class TrainRequest:
    """``cycles/NNN/request.json``: what the driver asks of one attempt.

    Steps count over all cycles. A cycle trains ``first_step .. last_step``; this attempt restores the
    checkpoint of ``resume_step`` and trains ``resume_step + 1 .. last_step``.
    """

    cycle: int
    attempt: int
    first_step: int
    last_step: int
    resume_step: int = 0
    """Step of the verified checkpoint to restore; 0 = start from the model's own weights."""
    learning_rate_scale: FiniteFloat = 1.0
    """Factor on the configured learning rate; below 1 after a rollback."""
    seed_offset: int = 0
    """Added to the seed of sampling: differs after a rollback, so that the retry does not walk into the same hole."""
    driver_pid: int = 0
    """Parent process; when it is gone the trainer saves and ends. 0 = nobody watches."""
    wait_s: FiniteFloat = 0.0
    """After ``last_step``: wait so long for the next cycle's request. 0 = end."""
    process: str = ""
    """``CYCLE/ATTEMPT`` that the trainer was started for, where it goes on from another cycle; else empty."""

    @property
    def process_name(self) -> str:
        return self.process or f"{self.cycle}/{self.attempt}"


@dataclass(frozen=True)
class Heartbeat:
    """``heartbeat.json``: rewritten at every phase change and every few seconds by a thread."""

    unix_s: FiniteFloat
    pid: int
    cycle: int
    attempt: int
    step: int
    """Latest finished step."""
    phase: Phase
    phase_since_unix_s: FiniteFloat
    sequence: int = 0
    """Grows with each beat, so that liveness does not depend on any clock."""


@dataclass(frozen=True)
class DriverBeat:
    """``driver_beat.json``: rewritten every few seconds as long as the driver lives, also while no trainer does."""

    unix_s: FiniteFloat
    driver: ProcessId
    sequence: int = 0

    @property
    def pid(self) -> int:
        return self.driver.pid


@dataclass(frozen=True)
class MetricsRecord:
    """One line of ``metrics.jsonl``: one finished training step."""

    step: int
    cycle: int
    attempt: int
    unix_s: float
    values: dict[str, float] = field(default_factory=dict)
    process: str = ""
    """``TrainRequest.process``."""

    @property
    def process_name(self) -> str:
        return self.process or f"{self.cycle}/{self.attempt}"


@dataclass(frozen=True)
class TrainResult:
    """``cycles/NNN/result.json``: the trainer's last word. An exit without one is a crash."""

    outcome: Ending
    step: int
    """Latest step that is in a published checkpoint."""
    reason: str
    cycle: int = 0
    attempt: int = 0
    retry: bool = True
    """False where starting again cannot help (a configuration that does not train); the campaign then fails at once."""


def current_request(run: RunDir) -> TrainRequest:
    """The request of the newest cycle.

    Raises:
        DataError: there is none, it is damaged, or it is for another attempt than the one this process was
            started for.
    """
    requests = list(run.in_cycles("request.json").values())
    if not requests:
        raise DataError(
            f"{run.root} holds no cycles/NNN/request.json; start the run through azr_single_gpu_pipeline.py"
        )
    request = read_request(requests[-1])
    started_for = "/".join(os.environ.get(MARKER_VARIABLE, "").split("/")[1:3])
    if started_for and started_for != request.process_name:
        raise DataError(
            f"this trainer was started for attempt {started_for}, but {requests[-1]} asks for a later one"
        )
    return request


def following_request(run: RunDir, request: TrainRequest) -> TrainRequest | None:
    """The next cycle's request, once the driver has written it for the trainer that works on ``request``.

    Raises:
        DataError: it is damaged.
    """
    path = run.request(request.cycle + 1)
    if not path.exists():
        return None
    found = read_request(path)
    return found if found.process_name == request.process_name else None


def read_request(path: Path) -> TrainRequest:
    return from_json(TrainRequest, read_json(path), path)


def write_request(run: RunDir, request: TrainRequest) -> None:
    write_json_atomic(run.request(request.cycle), asdict(request))


def read_result(run: RunDir, cycle: int, attempt: int) -> TrainResult | None:
    """The result of this very attempt; None where it left none (a crash), or only a damaged one."""
    try:
        result = from_json(TrainResult, read_json(run.result(cycle)), run.result(cycle))
    except DataError:
        return None
    return result if (result.cycle, result.attempt) == (cycle, attempt) else None


def write_result(run: RunDir, result: TrainResult) -> None:
    write_json_atomic(run.result(result.cycle), asdict(result))


def read_heartbeat(run: RunDir) -> Heartbeat | None:
    """The trainer's latest beat; None before the first, or while the file cannot be read."""
    return _read_beat(Heartbeat, run.heartbeat)


def read_driver_beat(run: RunDir) -> DriverBeat | None:
    """The same of the driver's; None too after a driver that has closed the run."""
    return _read_beat(DriverBeat, run.driver_beat)


def _read_beat(kind: type[_Beat], path: Path) -> _Beat | None:
    try:
        return from_json(kind, read_json(path), path)
    except (DataError, OSError):
        return None


def write_beat(run: RunDir, beat: Heartbeat | DriverBeat) -> None:
    """Replaces the file without fsync: a beat need not survive a power cut, and there are many.

    Raises:
        OSError: the disk is full or read-only.
    """
    path = run.heartbeat if isinstance(beat, Heartbeat) else run.driver_beat
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(asdict(beat)) + "\n", encoding="utf-8")
    move_over(temporary, path)


def append_metrics(run: RunDir, record: MetricsRecord) -> None:
    append_jsonl(run.metrics, [asdict(record)])


def parse_metrics_line(line: bytes) -> MetricsRecord | None:
    """None where a line is damaged. JSON's NaN and Infinity become float values, for the judges to see."""
    try:
        return from_json(MetricsRecord, json.loads(line), "the line")
    except (ValueError, RecursionError, DataError):
        return None


def read_metrics(run: RunDir) -> list[MetricsRecord]:
    """One record per step that counts: those of steps that were trained again replace the undone ones."""
    return effective_metrics(read_log(MetricsRecord, run.metrics))


def effective_metrics(records: Iterable[MetricsRecord]) -> list[MetricsRecord]:
    """Drops what a restored checkpoint undid: a record at step s removes everything before it at steps >= s."""
    kept: list[MetricsRecord] = []
    for record in records:
        while kept and kept[-1].step >= record.step:
            kept.pop()
        kept.append(record)
    return kept


class MetricsTail:
    """Reads what was appended to ``metrics.jsonl`` since the last look; whole lines only."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.shrank = False
        """The file was shorter than at the look before: somebody emptied, rotated or saved it. For the reader to take back."""

    def new_records(self) -> Iterator[MetricsRecord]:
        try:
            with open(self.path, "rb") as file:
                file.seek(0, os.SEEK_END)
                if file.tell() < self.offset:
                    self.offset, self.shrank = 0, True
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return
        end = data.rfind(b"\n") + 1
        self.offset += end
        for line in data[:end].splitlines():
            record = parse_metrics_line(line)
            if record is not None:
                yield record


@dataclass(frozen=True)
class DriverRequests:
    """What the driver asks of a running attempt."""

    stop: bool
    checkpoint: bool
    reason: str = ""


def ask(run: RunDir, cycle: int, attempt: int, name: str, reason: str) -> None:
    """Leaves a ``STOP_FILE`` or ``CHECKPOINT_FILE`` for the attempt."""
    write_json_atomic(run.attempt(cycle, attempt) / name, {"unix_s": time.time(), "reason": reason})


def asked(run: RunDir, cycle: int, attempt: int) -> DriverRequests:
    folder = run.attempt(cycle, attempt)
    stop, checkpoint = (folder / STOP_FILE).exists(), (folder / CHECKPOINT_FILE).exists()
    reason = ""
    with contextlib.suppress(DataError, AttributeError):
        reason = str(read_json(folder / (STOP_FILE if stop else CHECKPOINT_FILE)).get("reason", ""))
    return DriverRequests(stop, checkpoint, reason)
