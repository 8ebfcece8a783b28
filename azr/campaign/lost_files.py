"""What somebody removed from a run: checkpoints that were saved (or that are damaged), or the folder of the latest cycle."""

from __future__ import annotations

from contextlib import suppress

from azr.campaign.state import load_state
from azr.data.frozen import CONSOLIDATION_FILE
from azr.data.manifest import read_manifest
from azr.errors import DataError, RunError
from azr.run.records import CampaignState, State
from azr.run.rundir import RunDir
from azr.system.files import file_hash, read_json, write_bytes_atomic
from azr.wording import counted


def no_checkpoint(run: RunDir) -> str:
    """Why a run has none: it is young, or its folder was copied without them."""
    state, _ = load_state(run)
    if state is not None and state.step:
        gone = "they were deleted, or left out when the run was copied"
        return f"{run.root} holds no checkpoint, although it has saved step {state.step}: {gone}"
    return f"{run.root} has no checkpoint yet; a run saves its first after train.save_every_steps steps"


def settle_lost_checkpoints(run: RunDir, state: CampaignState, found_step: int) -> str:
    """A run goes back to the newest checkpoint that is left, and says so; it does not start over by itself.

    Args:
        found_step: of the newest sound checkpoint; 0 = none.

    Returns:
        a sentence about what is trained again; empty where nothing is missing.

    Raises:
        RunError: a step was saved, and no checkpoint is left.
    """
    if state.step <= found_step or state.rollback_to == 0:
        return ""
    if found_step:
        first = found_step + 1
        again = f"Step {first} is" if first == state.step else f"Steps {first} to {state.step} are"
        return (
            f"The checkpoint of step {state.step}, the latest that was saved, is gone or damaged: the run goes back to step {found_step}. "
            f"{again} trained again{' if it goes on' if state.state is State.DONE else ''}."
        )
    damaged = sorted(path.name for path in run.checkpoints.glob("damaged-step_*"))
    there = f" ({', '.join(damaged)} cannot be used)" if damaged else ""
    raise RunError(
        f"{run.root} has trained {counted(state.step, 'step')}, but no checkpoint of them is left in {run.checkpoints}{there}. "
        "Going on would begin again from the model's own weights. "
        "Put the newest checkpoint back (from a backup, or mount the disk it lies on) and "
        f"start the same command again; or start another run, which can take the tasks of this one: name=OTHER data.other_runs=[{run.root}]"
    )


def settle_lost_cycle(run: RunDir, state: CampaignState) -> list[str]:
    """What the latest cycle started from is read again when it is merged, and when the next one begins. Its tasks are in
    the pool too, which is written first and never loses one.

    Returns:
        a sentence about what was taken from the pool; none where nothing is missing or changed.

    Raises:
        RunError: the pool is not there either, or not as its manifest says.
    """
    at = state.failed_in if state.state is State.FAILED else state.state
    cycle = state.cycle - (at is State.CONSOLIDATE)
    tasks = run.cycle_tasks(cycle)
    if cycle and tasks.is_file():
        meant = ""
        with suppress(DataError, AttributeError):  # none, of an earlier version
            meant = read_json(run.cycle(cycle) / CONSOLIDATION_FILE).get("tasks_hash")
        if not meant or file_hash(tasks) == meant or not run.pool_tasks.is_file():
            return []
        if file_hash(run.pool_tasks) != meant:
            return [
                f"{tasks}, which cycle {cycle} started from, was changed since: what is no longer in it may leave the pool."
            ]
        write_bytes_atomic(tasks, run.pool_tasks.read_bytes())
        return [
            f"{tasks}, which cycle {cycle} started from, was changed or cut short, and was restored from the pool."
        ]
    if not cycle:
        return []
    try:
        manifest = read_manifest(run)
        sound = manifest.cycle >= cycle and manifest.describes(run)
    except (DataError, OSError):
        sound = False
    if not sound:
        raise RunError(
            f"{tasks}, which cycle {cycle} started from, does not exist, and {run.pool_tasks} cannot take its place: it is gone or changed "
            f"too. Put one of the two back (from a backup: {tasks.parent}, or {run.pool} with its manifest) and start the same "
            f"command again; or start another run, which can take the tasks that are left: name=OTHER data.other_runs=[{run.root}]"
        )
    write_bytes_atomic(tasks, run.pool_tasks.read_bytes())
    told = f"{tasks}, which cycle {cycle} started from, was gone, and is the pool's tasks now."
    if manifest.through_shard >= cycle or run.shard(cycle).is_file():
        return [told]
    return [f"{told} Tasks that the cycle may have accepted were not merged yet, and are lost to the pool."]
