"""The folder of the latest cycle, removed by somebody who wanted room, or that cycle once more."""

from __future__ import annotations

from azr.data.manifest import read_manifest
from azr.errors import DataError, RunError
from azr.run.records import CampaignState, State
from azr.run.rundir import RunDir
from azr.system.files import write_bytes_atomic


def settle_lost_cycle(run: RunDir, state: CampaignState) -> list[str]:
    """What the latest cycle started from is read again when it is merged, and when the next one begins. Its tasks are in
    the pool too, which is written first and never loses one.

    Returns:
        a sentence about what was taken from the pool; none where nothing is missing.

    Raises:
        RunError: the pool is not there either, or not as its manifest says.
    """
    at = state.failed_in if state.state is State.FAILED else state.state
    cycle = state.cycle - (at is State.CONSOLIDATE)
    tasks = run.cycle_tasks(cycle)
    if not cycle or tasks.is_file():
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
