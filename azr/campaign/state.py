"""The campaign's state machine, as stored on disk.

    CONSOLIDATE -> TRAIN -> MERGE -> CONSOLIDATE of the next cycle ... -> DONE
                     any of them -> FAILED, and back when the same command is started again

The work of a state may be repeated without harm; its outputs are durable before ``state.json`` names the next
state. So a crash at any byte costs at most the work of one state (in TRAIN: the steps since the last
checkpoint).

``state.json`` is replaced atomically and carries a checksum; the version before it stays as
``state.previous.json``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

from azr.errors import DataError, RunError
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import read_request
from azr.run.records import CampaignState, State, from_json
from azr.run.rundir import RunDir
from azr.system.files import move_over, read_json, write_json_atomic
from azr.system.hashes import json_hash

FORMAT = 1
_OF_THE_WHOLE_RUN = (
    "active_s", "best_score", "best_step", "driver", "durations_s", "folder", "hours", "restarts", "rollbacks", "run_id",
    "seed_offset", "started_unix_s", "updated_unix_s",
)  # fmt: skip
"""Fields that a state from an earlier cycle still says something of."""


def state_path_previous(run: RunDir) -> Path:
    return run.state.with_name("state.previous.json")


def save_state(run: RunDir, state: CampaignState) -> CampaignState:
    """Replaces ``state.json``; the old one becomes ``state.previous.json``.

    Raises:
        OSError: the disk is full or read-only; the old state stands.
    """
    state = replace(state, updated_unix_s=time.time())
    if run.state.exists():
        spare = run.state.with_name(".state.previous.tmp")
        with contextlib.suppress(FileNotFoundError):
            spare.unlink()
        try:
            os.link(run.state, spare)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            shutil.copyfile(run.state, spare)  # exFAT, FAT32 and some network drives know no hard links
        move_over(spare, state_path_previous(run))
    write_state_file(run.state, state)
    return state


def write_state_file(path: Path, state: CampaignState) -> None:
    record = {"format": FORMAT, **asdict(state)}
    write_json_atomic(path, record | {"checksum": json_hash(record)})


def load_state(run: RunDir) -> tuple[CampaignState | None, list[str]]:
    """The state, or None for a new run; and a sentence for each thing that had to be repaired.

    A damaged ``state.json`` is replaced by the version before it (its work is repeated, without harm); when
    that is damaged too, the state is rebuilt from what is in the run directory.
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
        if path != run.state and not repairs:
            repairs.append(f"{run.state} is gone.")
        if repairs:
            repairs.append(f"Went on from {path.name}: {state.sentence}")
        newest = rebuild_state(run)
        if newest.cycle > state.cycle:  # a sync client or a backup has put an older file in its place
            repairs.append(
                f"{path.name} is of cycle {state.cycle}, and the run has begun cycle {newest.cycle}; its requests and checkpoints count."
            )
            state = replace(newest, **{name: getattr(state, name) for name in _OF_THE_WHOLE_RUN})
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
        if checksum != json_hash(record):
            raise RunError(f"{path} differs from its own checksum")
        return from_json(CampaignState, record, path)
    except (DataError, OSError) as error:
        raise RunError(str(error)) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error!r}") from error


def recorded_state(run: RunDir) -> CampaignState | None:
    """As it stands on disk, for those who only look; None where there is none, or a damaged one."""
    try:
        return read_state_file(run.state)
    except (RunError, FileNotFoundError):
        return None


def rebuild_state(run: RunDir) -> CampaignState:
    """A state that loses nothing: TRAIN of the newest cycle that was asked for; it ends at once if its last
    step is saved."""
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
