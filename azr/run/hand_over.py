"""Where the seconds between two cycles went: ``handover.jsonl`` in the folder of the cycle that ended, a line at the end
of each part. The trainer writes the first and the last of them, the driver those between.

A hand-over that was interrupted (a stop, a pause, a driver that died) is none; its file is removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from azr.run.records import read_log
from azr.run.rundir import RunDir
from azr.run.start_record import TimeMark, TimeShares, mark_time

HAND_OVER_FILE = "handover.jsonl"


class HandOverPart(str, Enum):
    """What ends at a mark; the value is what people read."""

    BEGIN = "begin"
    """Nothing yet: the cycle's last step is done."""
    SAVE = "saving"
    """Weights and states, hashed, until all is on the disk."""
    CHECK = "checking the checkpoint"
    """Reading it whole; deleting those that are no longer kept."""
    MERGE = "merging"
    REPORT = "report"
    CONSOLIDATE = "consolidating"
    ROOM = "checks"
    """The checkpoint again, room on the disk, settings."""
    TRAINER = "trainer goes on"
    """Weights to the engine; or a new start, whose parts are in ``start.jsonl``."""
    FIRST_STEP = "first step"


@dataclass(frozen=True)
class HandOver(TimeShares):
    """From the end of a cycle's last step to the end of the next one's first."""

    cycle: int
    """The one that ended."""

    @property
    def sentence(self) -> str:
        return f"from cycle {self.cycle} to {self.cycle + 1} in {self.total_s:.0f} s: {self.words}"


def mark_hand_over(run: RunDir, cycle: int, part: HandOverPart) -> None:
    """
    Args:
        cycle: the one that ended. A part of a hand-over that nobody began is not noted.

    Raises:
        OSError: the disk is full or read-only.
    """
    file = _file(run, cycle)
    if part is HandOverPart.BEGIN or file.exists():
        mark_time(file, part)


def forget_hand_over(run: RunDir, cycle: int) -> None:
    """After an interruption, unless it was over by then."""
    file = _file(run, cycle)
    marks = list(read_log(TimeMark, file))
    if marks and marks[-1].part != HandOverPart.FIRST_STEP:
        file.unlink()


def read_hand_over(run: RunDir) -> HandOver | None:
    """The latest that is over."""
    for cycle, file in reversed(run.in_cycles(HAND_OVER_FILE).items()):
        marks = list(read_log(TimeMark, file))
        begins = [index for index, mark in enumerate(marks) if mark.part == HandOverPart.BEGIN]
        if begins and marks[-1].part == HandOverPart.FIRST_STEP:
            return HandOver(TimeShares.between(marks[begins[-1] :]), cycle)
    return None


def _file(run: RunDir, cycle: int) -> Path:
    return run.cycle(cycle) / HAND_OVER_FILE
