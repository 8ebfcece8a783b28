"""What a run writes about itself beside its metrics, and the one codec of all of a run's JSON.

``incidents.jsonl``, ``supervision.jsonl`` and ``verdicts.jsonl`` hold a record a line, ``state.json`` the
campaign's state. Driver and report use these classes alike. What driver and trainer say to each other:
``azr.run.protocol``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from azr.errors import DataError
from azr.system.files import read_jsonl, read_tail
from azr.system.folder_id import FolderId
from azr.system.processes import ProcessId

SAMPLE_TAIL_BYTES = 8192

_Record = TypeVar("_Record")
_adapter = cache(TypeAdapter)


def from_json(cls: type[_Record], value: Any, place: object) -> _Record:
    """A dataclass from the JSON that ``dataclasses.asdict`` made of it. Keys that the class does not have are
    left out, so that versions can differ by an added field.

    Args:
        place: the file, for the message.

    Raises:
        DataError: a field is missing or of another type.
    """
    try:
        return _adapter(cls).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{place} is not a {cls.__name__}: {where}{': ' if where else ''}{first['msg']}"
        ) from error


def to_json(record: Any) -> Any:
    """Plain JSON values of a dataclass, its paths as texts; ``from_json`` makes it of them again."""
    return _adapter(type(record)).dump_python(record, mode="json")


def read_log(cls: type[_Record], path: Path) -> Iterator[_Record]:
    """The records of a log; like a line torn by a crash, one that is no such record is passed over."""
    for line in read_jsonl(path):
        try:
            yield from_json(cls, line, path)
        except DataError:
            continue


ASKED = frozenset(
    {"stop", "pause", "resume", "budget", "checkpoint", "extended", "retry", "copy", "settings"}
)
"""Kinds of incident that a person caused (Ctrl+C, ``azr control``, a changed configuration, the same command
again, a copied folder): no faults."""


SHRINKING = "shrinking"
"""Kind of incident: the thoughts of a solve stream collapsed. ``details["kept_step"]`` is a checkpoint from before it."""

KNOWN_PROBES = "known probes"
"""Kind of incident: the model that the run began with had been trained on some of the run's probe tasks."""


@dataclass(frozen=True)
class Incident:
    """One line of ``incidents.jsonl``: what went wrong or was asked for, why, and what was done about it."""

    kind: str
    """crash, hang, rollback, recycle, repair, disk, vram, stop, pause ..."""
    cause: str
    action: str = ""
    cycle: int = 0
    attempt: int = 0
    step: int = 0
    """Latest finished step when it happened."""
    details: dict[str, Any] = field(default_factory=dict)
    unix_s: float = 0.0
    time: str = ""
    """The same, for people."""
    asked_otherwise: str = ""
    """``KEY BEFORE -> NOW`` of the settings that make the same weights answer otherwise from here on."""

    @property
    def asked(self) -> bool:
        """The user wanted it; otherwise it is a fault, or what was done about one."""
        return self.kind in ASKED

    @property
    def sentence(self) -> str:
        where = f"cycle {self.cycle}, attempt {self.attempt}, step {self.step}: " if self.attempt else ""
        return f"{where}{self.cause} {self.action}".strip()


@dataclass(frozen=True)
class MachineSample:
    """One line of ``supervision.jsonl``: what the driver sees of the machine, every ``campaign.sample_s`` seconds."""

    unix_s: float
    cycle: int
    attempt: int
    step: int
    trainer_gib: float
    """Memory of the trainer's process tree, shared pages counted once."""
    driver_gib: float
    host_available_gib: float
    disk_free_gib: float
    vram_gib: float | None
    processes: int
    """Living processes of the trainer."""


def last_sample(path: Path) -> MachineSample | None:
    """The latest whole line; reads the end of the file only."""
    for line in reversed(read_tail(path, SAMPLE_TAIL_BYTES)):
        try:
            return from_json(MachineSample, json.loads(line), path)
        except (ValueError, DataError):
            continue
    return None


@dataclass(frozen=True)
class JudgeVerdict:
    """One line of ``verdicts.jsonl``: a judge changed its mind."""

    unix_s: float
    cycle: int
    attempt: int
    step: int
    verdict: str
    advice: str
    sentence: str


class State(str, Enum):
    CONSOLIDATE = "CONSOLIDATE"
    TRAIN = "TRAIN"
    MERGE = "MERGE"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True)
class CampaignState:
    sentence: str = "The campaign begins."
    """For people: what is happening, or why it ended."""
    state: State = State.CONSOLIDATE
    cycle: int = 1
    first_step: int = 1
    """First and last step of this cycle, counted over all cycles; set when TRAIN begins."""
    last_step: int = 0
    step: int = 0
    """Latest step that is in a published checkpoint."""
    trained_step: int = 0
    """Latest step that was finished, saved or not."""
    attempt: int = 0
    """Latest trainer attempt in this cycle; 0 = none yet."""
    attempt_open: bool = False
    """An attempt was started and its end is not recorded yet."""
    cycle_end: str = ""
    """Why TRAIN ended (``azr.campaign.aftermath.CycleEnd``); empty while it is running."""
    ending: str = ""
    """Not empty: the campaign fails after MERGE, for this reason."""
    failed_in: State | None = None
    """FAILED: the state to go back to when the command is started again."""
    paused: bool = False
    restarts: int = 0
    """Unplanned restarts of the trainer so far, and those in a row without a new checkpoint."""
    restarts_in_row: int = 0
    start_fault: str = ""
    """What ended the latest attempt before it finished a step (``azr.campaign.faults``); empty where it
    finished one."""
    rollbacks: int = 0
    rollback_to: int | None = None
    """A rollback is under way: checkpoints above this step are being taken out of use."""
    learning_rate_scale: float = 1.0
    seed_offset: int = 0
    """Grows with each rollback and never shrinks, so that no retry draws the samples of the one before."""
    flat_cycles: int = 0
    hours: float | None = None
    """Time budget given through ``scripts/control.py``; None = the configuration's."""
    active_s: float = 0.0
    """Time used up so far, over all starts."""
    durations_s: dict[str, list[float]] = field(default_factory=dict)
    """Latest measured ``start``, ``step`` and ``save`` durations; deadlines are learnt from their medians."""
    best_step: int | None = None
    """Checkpoint with the best score, and the score."""
    best_score: float | None = None
    driver: ProcessId | None = None
    """Who works on the run; None after a clean end."""
    run_id: str = ""
    """How the run's own processes are known; no two folders share one."""
    folder: FolderId | None = None
    """Where the run was when this was written; a copy of the folder finds the other one here."""
    started_unix_s: float = 0.0
    updated_unix_s: float = 0.0
