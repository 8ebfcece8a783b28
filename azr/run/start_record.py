"""Where the seconds of a trainer's start went: ``start.jsonl`` in the attempt's folder, a line at the end of each
part, by whichever process was at it.

All of them run on one machine, so the time is its monotonic clock, which nobody sets. What vLLM does inside its own
start is read from the lines that it writes into the trainer's log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from itertools import pairwise
from pathlib import Path

from azr.run.records import read_log
from azr.run.rundir import RunDir
from azr.system.files import append_jsonl

START_FILE = "start.jsonl"
SHOWN_S = 0.5
"""A part that took less is left out of what people read, not of the total."""
LOG_BYTES = 2**21
"""Of the trainer's log; the start is at its begin."""


class StartPart(str, Enum):
    """What ends at a mark; the value is what people read."""

    BEGIN = "begin"
    """Nothing yet: the driver starts the process."""
    IMPORTS = "imports"
    """Interpreter, Ray's modules, a look at the card."""
    RAY = "Ray"
    RUNNER = "runner's process"
    VERL = "verl's modules"
    CHECKS = "model checks"
    """Its hash, its tokenizer, verl's own checks, the queue's process."""
    WORKERS = "workers' processes"
    POLICY = "model"
    """Weights, FSDP, optimizer."""
    ENGINE = "engine"
    """Its processes, and vLLM's own start."""
    RESTORE = "checkpoint"
    FIRST_SYNC = "first weight sync"
    AGENTS = "agent workers"
    SEEDS = "seeds"
    """Buffer, and the seeds that the model writes itself (``data.seeds=identity``)."""
    PROBES = "first probes"
    FIRST_STEP = "first step"


@dataclass(frozen=True)
class TimeMark:
    """A line of ``start.jsonl`` or ``handover.jsonl``."""

    part: str
    monotonic_s: float
    inside: dict[str, float] = field(default_factory=dict)
    """Seconds within the part, by name."""


def mark_time(file: Path, part: Enum, inside: Mapping[str, float] | None = None) -> None:
    """
    Raises:
        OSError: the disk is full or read-only.
    """
    append_jsonl(file, [asdict(TimeMark(part.value, time.monotonic(), dict(inside or {})))])


def mark_start(folder: Path, part: StartPart, inside: Mapping[str, float] | None = None) -> None:
    """As ``mark_time``, in the ``folder`` of an attempt."""
    mark_time(folder / START_FILE, part, inside)


@dataclass(frozen=True)
class TimeShare:
    name: str
    seconds: float
    inside: dict[str, float]

    @property
    def details(self) -> str:
        """`` (compile 14, graphs 4)``; empty where no detail is worth showing."""
        words = ", ".join(f"{name} {value:.0f}" for name, value in self.inside.items() if value >= SHOWN_S)
        return f" ({words})" if words else ""


@dataclass(frozen=True)
class TimeShares:
    shares: tuple[TimeShare, ...]

    @staticmethod
    def between(marks: Sequence[TimeMark]) -> tuple[TimeShare, ...]:
        return tuple(
            TimeShare(mark.part, mark.monotonic_s - before.monotonic_s, mark.inside)
            for before, mark in pairwise(marks)
        )

    @property
    def total_s(self) -> float:
        return sum(share.seconds for share in self.shares)

    @property
    def words(self) -> str:
        return ", ".join(
            f"{share.name} {share.seconds:.0f}{share.details}"
            for share in self.shares
            if share.seconds >= SHOWN_S
        )


@dataclass(frozen=True)
class TrainerStart(TimeShares):
    """From the process's start to the end of its first step."""

    @property
    def sentence(self) -> str:
        return f"started in {self.total_s:.0f} s: {self.words}"


def latest_start(run: RunDir) -> Path | None:
    """Folder of the latest attempt that a process was started for."""
    files = run.in_attempts(START_FILE)
    return files[-1].parent if files else None


def read_start(folder: Path) -> TrainerStart | None:
    """None before the first step is done, and where the marks are none of one start."""
    marks = list(read_log(TimeMark, folder / START_FILE))
    if not marks or (marks[0].part, marks[-1].part) != (StartPart.BEGIN, StartPart.FIRST_STEP):
        return None
    shares = tuple(
        replace(share, inside=_engine_seconds(folder)) if share.name == StartPart.ENGINE else share
        for share in TimeShares.between(marks)
    )
    return TrainerStart(shares) if all(share.seconds >= 0 for share in shares) else None


_ENGINE_LINES = {
    "weights": re.compile(
        r"Model loading took \S+ GiB memory and ([\d.]+) seconds|\bLoading weights took ([\d.]+) seconds"
    ),
    "compile": re.compile(r"torch\.compile (?:and [\w/ ]+ )?took ([\d.]+) s in total"),
    "graphs": re.compile(r"Graph capturing finished in ([\d.]+) secs"),
}


def engine_seconds(log: str) -> dict[str, float]:
    """What vLLM 0.24 says about its start; of several engines, which start side by side, the slowest."""
    found = {}
    for name, line in _ENGINE_LINES.items():
        values = [float(next(filter(None, match.groups()))) for match in line.finditer(log)]
        if values:
            found[name] = max(values)
    return found


def _engine_seconds(folder: Path) -> dict[str, float]:
    try:
        with open(folder / "trainer.log", "rb") as file:
            return engine_seconds(file.read(LOG_BYTES).decode("utf-8", "replace"))
    except OSError:
        return {}
