"""The campaign's state machine, as it lies on disk.

    CONSOLIDATE -> TRAIN -> MERGE -> CONSOLIDATE of the next cycle ... -> DONE
                     any of them -> FAILED, and back when the same command is started again

The work of a state may be repeated without harm; its outputs are durable before ``state.json`` names the next state. So a
crash at any byte costs at most the work of one state (in TRAIN: the steps since the last checkpoint).

``state.json`` is replaced atomically and carries a checksum; the version before it stays as ``state.previous.json``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from azr.checkpoints import list_checkpoints
from azr.errors import DataError, RunError
from azr.files import read_json, write_json_atomic
from azr.processes import ProcessId
from azr.protocol import read_request
from azr.rundir import RunDir

FORMAT = 1
KEPT_DURATIONS = 50


class State(str, Enum):
    CONSOLIDATE = "CONSOLIDATE"
    TRAIN = "TRAIN"
    MERGE = "MERGE"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True)
class CampaignState:
    sentence: str = "The campaign begins."
    """For people: what goes on, or why it ended."""
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
    """Why TRAIN ended (``azr.campaign.driver.CycleEnd``); empty while it goes on."""
    ending: str = ""
    """Not empty: the campaign ends after MERGE, for this reason."""
    ending_failed: bool = False
    """The campaign ends as FAILED, not DONE."""
    failed_in: State | None = None
    """FAILED: the state to go back to when the command is started again."""
    paused: bool = False
    restarts: int = 0
    """Unplanned restarts of the trainer so far, and those in a row without a new checkpoint."""
    restarts_in_row: int = 0
    start_fault: str = ""
    """What ended the latest attempt before it finished a step (``azr.campaign.faults``); empty where it finished one."""
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
    started_unix_s: float = 0.0
    updated_unix_s: float = 0.0

    def with_duration(self, kind: str, seconds: float) -> CampaignState:
        kept = [*self.durations_s.get(kind, []), round(seconds, 3)][-KEPT_DURATIONS:]
        return replace(self, durations_s={**self.durations_s, kind: kept})


def state_path_previous(run: RunDir) -> Path:
    return run.state.with_name("state.previous.json")


def save_state(run: RunDir, state: CampaignState) -> CampaignState:
    """Replaces ``state.json``; the old one becomes ``state.previous.json``.

    Raises:
        OSError: the disk is full or read-only; the old state stands.
    """
    state = replace(state, updated_unix_s=time.time())
    record = _to_json(state)
    if run.state.exists():
        spare = run.state.with_name(".state.previous.tmp")
        with contextlib.suppress(FileNotFoundError):
            spare.unlink()
        os.link(run.state, spare)
        os.replace(spare, state_path_previous(run))
    write_json_atomic(run.state, record | {"checksum": _checksum(record)})
    return state


def load_state(run: RunDir) -> tuple[CampaignState | None, list[str]]:
    """The state, or None for a new run; and a sentence for each thing that had to be repaired.

    A damaged ``state.json`` is replaced by the version before it (its work is repeated, without harm); when that is damaged
    too, the state is rebuilt from what lies in the run directory.
    """
    repairs: list[str] = []
    for path in (run.state, state_path_previous(run)):
        try:
            state = read_state_file(path)
        except FileNotFoundError:
            continue
        except RunError as error:
            repairs.append(f"{error}.")
            continue
        if repairs:
            repairs.append(f"Went on from {path.name}: {state.sentence}")
        return state, repairs
    if not repairs and not run.in_cycles("request.json"):
        return None, []
    state = rebuild_state(run)
    repairs.append(
        f"state.json cannot be used; from requests and checkpoints: cycle {state.cycle}, {state.state.value}, step {state.step}."
    )
    return state, repairs


def read_state_file(path: Path) -> CampaignState:
    """Raises:
    FileNotFoundError: there is none.
    RunError: it is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        record = read_json(path)
        checksum = record.pop("checksum")
        if checksum != _checksum(record):
            raise RunError(f"{path} differs from its own checksum")
        return _from_json(record)
    except (DataError, OSError) as error:
        raise RunError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error!r}") from error


def rebuild_state(run: RunDir) -> CampaignState:
    """A state that loses nothing: TRAIN of the newest cycle that was asked for; it ends at once if its last step is saved."""
    checkpoints = list_checkpoints(run)
    step = checkpoints[-1].step if checkpoints else 0
    for path in reversed(run.in_cycles("request.json").values()):
        try:
            request = read_request(path)
        except DataError:
            continue
        return CampaignState(
            sentence=f"Rebuilt from cycle {request.cycle}'s request.",
            state=State.TRAIN,
            cycle=request.cycle,
            first_step=request.first_step,
            last_step=request.last_step,
            step=step,
            attempt=max(request.attempt, latest_attempt(run, request.cycle)),
            learning_rate_scale=request.learning_rate_scale,
        )
    cycles = [int(path.name) for path in (run.root / "cycles").glob("*") if path.name.isdigit()]
    return CampaignState(sentence="Rebuilt from the cycles' folders.", cycle=max([1, *cycles]), step=step)


def latest_attempt(run: RunDir, cycle: int) -> int:
    """The highest attempt number that has a folder; 0 = none."""
    return max(run.attempts(cycle), default=0)


def _to_json(state: CampaignState) -> dict[str, Any]:
    record: dict[str, Any] = {"format": FORMAT, **asdict(state)}
    record["state"] = state.state.value
    record["failed_in"] = state.failed_in.value if state.failed_in else None
    return record


def _from_json(record: dict[str, Any]) -> CampaignState:
    known = {item.name for item in fields(CampaignState)}
    values = {name: value for name, value in record.items() if name in known}
    values["state"] = State(values["state"])
    if values.get("failed_in"):
        values["failed_in"] = State(values["failed_in"])
    if values.get("driver"):
        values["driver"] = ProcessId(**values["driver"])
    return CampaignState(**values)


def _checksum(record: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).hexdigest()
