"""At every start: what the last end left unfinished is found and repaired, each with a sentence.

Safe to interrupt and to repeat: every repair leaves the run in a state from which the same repair finds
    nothing.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from dataclasses import replace

from azr.campaign.control import Control, withdraw_control
from azr.campaign.incidents import Incident, record_incident
from azr.campaign.state import CampaignState, State, latest_attempt, load_state, save_state
from azr.campaign.trainer_process import end_leftovers
from azr.checkpoints import list_checkpoints, reject_checkpoints_after, repair_checkpoints
from azr.config.campaign import CampaignConfig
from azr.processes import ProcessId, boot_id
from azr.protocol import read_metrics
from azr.rundir import RunDir


def open_campaign(
    run: RunDir, config: CampaignConfig, driver: ProcessId | None
) -> tuple[CampaignState, list[str]]:
    """Loads or begins the run's state, repairs what needs it, and enters ``driver`` as the one who works on
    it.

    The caller holds the run's lock.

    Returns:
        the state, and the sentences of what was repaired (they are in the incident log already).

    Raises:
        OSError: the disk is full or read-only.
    """
    state, repairs = load_state(run)
    if state is None:
        if list_checkpoints(run):
            repairs.append(
                "There are checkpoints but no state: the campaign goes on from the newest of them."
            )
        state = CampaignState(run_id=uuid.uuid4().hex[:12], started_unix_s=time.time())
    if not state.run_id:
        state = replace(state, run_id=uuid.uuid4().hex[:12])

    if state.driver is not None:
        repairs.append(_explain_end_of(state.driver, state.updated_unix_s))
    if latest_attempt(run, state.cycle):  # also after a clean end: the state may be older than what happened
        repairs += _end_trainer_of_old_attempt(run, state, config)
    repairs += _remove_temporaries(run)
    repairs += _finish_rollback(run, state)
    repairs += repair_checkpoints(run)

    checkpoints = list_checkpoints(run)
    step = checkpoints[-1].step if checkpoints else 0
    if state.attempt_open and state.state is State.TRAIN:
        trained = max([state.trained_step, *(record.step for record in read_metrics(run)[-1:])])
        if trained > step:
            repairs.append(
                f"Steps {step + 1} to {trained} were trained but not saved; they are trained again."
            )
    for control in (Control.STOP, Control.CHECKPOINT):
        withdraw_control(run, control)

    state = replace(state, step=step, driver=driver, attempt_open=False, rollback_to=None)
    # The incidents come after the state: killed in between, a sentence is lost; the other way round it would
    # be told twice.
    state = save_state(run, state)
    for sentence in repairs:
        record_incident(run, Incident("repair", sentence, "", state.cycle, state.attempt, state.trained_step))
    return state, repairs


def close_campaign(run: RunDir, state: CampaignState) -> CampaignState:
    """The driver ends cleanly; the next start has nothing to repair."""
    return save_state(run, replace(state, driver=None))


def _explain_end_of(driver: ProcessId, updated_unix_s: float) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(updated_unix_s))
    if driver.boot_id and driver.boot_id != boot_id():
        return f"The machine was restarted (power cut, crash or reboot) while the driver worked; it last wrote at {when}."
    return f"The driver (process {driver.pid}) ended without closing the run (killed, or it crashed); it last wrote at {when}."


def _end_trainer_of_old_attempt(run: RunDir, state: CampaignState, config: CampaignConfig) -> list[str]:
    attempt = max(state.attempt, latest_attempt(run, state.cycle))
    found, left = end_leftovers(
        run, state.cycle, attempt, state.run_id, grace_s=config.term_grace_s, wait_s=config.orphan_grace_s
    )
    if not found:
        return []
    sentence = (
        f"Attempt {attempt} of cycle {state.cycle} had left {found} processes running; they were ended."
    )
    return [f"{sentence} {len(left)} of them could not be: {left}." if left else sentence]


def _remove_temporaries(run: RunDir) -> list[str]:
    """Files that an atomic write had not renamed yet. Only names that ``azr.files`` makes."""
    removed = 0
    for path in run.root.rglob(".*.tmp"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.parent != run.control:  # a user may be writing a request right now
                path.unlink()
                removed += 1
    return [f"Removed {removed} half-written temporary files."] if removed else []


def _finish_rollback(run: RunDir, state: CampaignState) -> list[str]:
    if state.rollback_to is None:
        return []
    rejected = reject_checkpoints_after(run, state.rollback_to)
    return [
        f"Finished the rollback to step {state.rollback_to}: {len(rejected)} later checkpoints were taken out of use."
    ]
