"""At every start: what the last run left unfinished is found and repaired, each with a sentence.

Safe to interrupt and to repeat: every repair leaves the run in a state from which the same repair finds
    nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from dataclasses import replace

from azr.campaign.control import Control, withdraw_control
from azr.campaign.incidents import Incident, record_incident
from azr.campaign.lost_files import settle_lost_checkpoints, settle_lost_cycle
from azr.campaign.state import CampaignState, State, load_state, save_state
from azr.campaign.trainer_process import end_leftovers, recorded_run_id
from azr.config.campaign import CampaignConfig
from azr.errors import RunError
from azr.run.checkpoint_store import reject_checkpoints_after, repair_checkpoints
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.files import write_bytes_atomic
from azr.system.folder_id import FolderId
from azr.system.processes import ProcessId, boot_id, driven_by_others
from azr.wording import counted


def open_campaign(run: RunDir, config: CampaignConfig) -> tuple[CampaignState, list[str]]:
    """Loads or begins the run's state, repairs what needs it, and enters this process as the one who works on it.

    The caller holds the run's lock.

    Returns:
        the state, and sentences for the user: of what was repaired, and that the folder is a copy (they are in
        the incident log already).

    Raises:
        RunError: the folder is a copy, and what lies behind a link in it belongs to the other run as well; or
            steps were saved and no checkpoint is left; or what the latest cycle started from is lost.
        OSError: the disk is full or read-only.
    """
    state, repairs = load_state(run)
    if state is None:
        if list_checkpoints(run):
            repairs.append(
                "There are checkpoints but no state: the campaign resumes from the newest of them."
            )
        state = CampaignState(started_unix_s=time.time())
    run_id = state.run_id or recorded_run_id(run)  # a damaged state has lost its own

    folder = FolderId.of(run.root)
    copied = _is_copy(state, folder, run_id)
    if copied:
        _refuse_links(run, state)
    elif state.driver is not None:
        repairs.append(_explain_end_of(state.driver, state.updated_unix_s))
    if run_id and not copied:  # also after a clean end: the state may be older than what happened
        repairs += _end_old_trainer(run, run_id, config)
    if not run_id or copied or (state.folder is not None and not state.folder.is_same(folder)):
        run_id = uuid.uuid4().hex[:12]
    repairs += _remove_temporaries(run)
    _unshare_logs(run)
    repairs += _finish_rollback(run, state)
    if not list_checkpoints(run):
        settle_lost_checkpoints(run, state, 0)  # before what is left of them is tidied up
    repairs += repair_checkpoints(run)
    repairs += settle_lost_cycle(run, state)

    checkpoints = list_checkpoints(run)
    step = checkpoints[-1].step if checkpoints else 0
    lost = settle_lost_checkpoints(run, state, step)
    if lost:
        repairs.append(lost)
    elif state.attempt_open and state.state is State.TRAIN:
        trained = max([state.trained_step, *(record.step for record in read_metrics(run)[-1:])])
        if trained > step:
            steps = f"Step {trained} was" if trained == step + 1 else f"Steps {step + 1} to {trained} were"
            repairs.append(f"{steps} trained but not saved, and will be trained again.")
    for control in (Control.STOP, Control.CHECKPOINT):
        withdraw_control(run, control)

    if state.best_step not in {checkpoint.step for checkpoint in checkpoints}:
        state = replace(state, best_step=None, best_score=None)
    copy_of = state.folder.path if copied and state.folder is not None else ""
    state = replace(state, step=step, attempt_open=False, rollback_to=None)
    # The incidents come after the state: killed in between, a sentence is lost; the other way round it would
    # be told twice.
    driver = ProcessId.of(os.getpid())
    state = save_state(run, replace(state, driver=driver, run_id=run_id, folder=folder))
    place = (state.cycle, state.attempt, state.trained_step)
    for sentence in repairs:
        record_incident(run, Incident("repair", sentence, "", *place))
    if copied:
        cause = f"This folder is a copy of {copy_of or 'another one, which a driver is using'}."
        action = "It continues as a run of its own, and the other one is left alone."
        record_incident(run, Incident("copy", cause, action, *place))
        repairs.append(f"{cause} {action}")
    return state, repairs


def _explain_end_of(driver: ProcessId, updated_unix_s: float) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(updated_unix_s))
    if driver.boot_id and driver.boot_id != boot_id():
        return f"The machine was restarted (power cut, crash or reboot) while the driver was running; it last wrote at {when}."
    return f"The driver (process {driver.pid}) ended without closing the run (killed, or it crashed); it last wrote at {when}."


def _is_copy(state: CampaignState, here: FolderId, run_id: str) -> bool:
    """Does what this state tells of go on in another folder? The caller holds this folder's lock, so a driver
    that lives works elsewhere.

    A folder that was renamed is the same. One that was moved to another disk, or restored from a backup, is
    another; it counts as the run itself once the one that its state names is gone.
    """
    if run_id and driven_by_others(run_id):
        return True
    if state.folder is not None and state.folder.is_same(here):
        return False
    driver_lives = state.driver is not None and state.driver.alive
    return driver_lives or (state.folder is not None and state.folder.is_there)


def _refuse_links(run: RunDir, state: CampaignState) -> None:
    links = sorted(path for path in run.root.iterdir() if path.is_symlink())
    if links:
        original = state.folder.path if state.folder is not None else "another folder"
        raise RunError(
            f"{run.root} is a copy of {original}, and {links[0].name} in it is a link to {links[0].readlink()}: both runs would write "
            f"there. Put a copy in the link's place (cp -rL {original} COPY copies what links lead to) and start again"
        )


def _unshare_logs(run: RunDir) -> None:
    """Logs are appended to, so a copy made of hard links (cp -al, backups of rsync) would grow with them."""
    for path in run.root.rglob("*.jsonl"):
        if path.parent != run.probes and path.is_file() and path.stat().st_nlink > 1:
            write_bytes_atomic(path, path.read_bytes())


def _end_old_trainer(run: RunDir, run_id: str, config: CampaignConfig) -> list[str]:
    old = end_leftovers(run, run_id, wait_s=config.orphan_grace_s)
    if not old.found:
        return []
    cycle, attempt = old.attempt.split("/")
    found = counted(old.found, "process", "processes")
    sentence = f"Attempt {attempt} of cycle {cycle} had left {found} running"
    if old.left:
        return [f"{sentence}, of which {len(old.left)} could not be ended: {old.left}."]
    return [f"{sentence}; ended now."]


def _remove_temporaries(run: RunDir) -> list[str]:
    """Files that an atomic write had not renamed yet. Only names that ``azr.system.files`` makes."""
    removed = 0
    for path in run.root.rglob(".*.tmp"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.parent != run.control:  # a user may be writing a request right now
                path.unlink()
                removed += 1
    return [f"Removed {counted(removed, 'half-written temporary file')}."] if removed else []


def _finish_rollback(run: RunDir, state: CampaignState) -> list[str]:
    if state.rollback_to is None:
        return []
    rejected = reject_checkpoints_after(run, state.rollback_to)
    return [
        f"Finished the rollback to step {state.rollback_to}: {counted(len(rejected), 'later checkpoint')} taken out of use."
    ]
