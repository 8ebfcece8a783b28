"""Probe tasks that the model had been trained on before the run began: its scores on them are not those of new tasks."""

from __future__ import annotations

from azr.campaign.context import Context
from azr.campaign.incidents import read_incidents
from azr.data.frozen import probe_files_in
from azr.data.guard import probe_tasks
from azr.models.exported import earlier_runs, recorded_programs
from azr.programs.canonical import program_fingerprint
from azr.run.identity import base_records
from azr.run.records import KNOWN_PROBES
from azr.wording import counted


def tell_known_probes(ctx: Context) -> None:
    """Of a run that begins from an exported model, once its probes are frozen and before its first step: how many of its probe
    tasks that was trained on, as an incident, which the report repeats beside the score; a sentence where it is not known.

    Raises:
        DataError: a probe file cannot be read.
    """
    run = ctx.run
    if ctx.state.step or any(item.kind == KNOWN_PROBES for item in read_incidents(run)):
        return
    folder = base_records(run)
    programs, missing = recorded_programs(folder)
    if not programs and not missing:
        return
    tasks = [task for file in probe_files_in(run.probes) for task in probe_tasks(file)]
    known = sum(program_fingerprint(task.program) in programs for task in tasks)
    if known:
        runs = " and ".join(dict.fromkeys(made["run"] for made in earlier_runs(folder)))
        ctx.incident(
            KNOWN_PROBES,
            f"{known} of {counted(len(tasks), 'probe task')} {'has' if known == 1 else 'have'} the program of a task that the model was "
            f"trained on before (run {runs}), but for names and layout, so a score on them is not one on new tasks.",
            "For a score on new ones, start a run of another name with other data.probe_files.",
        )
    if missing and any(name != "shipped" for name in ctx.config.data.probe_files):  # those its pool kept out
        ctx.say(
            f"The model comes out of the run {' and '.join(dict.fromkeys(missing))}: whether it was trained there on tasks of "
            "data.probe_files is not known. Exported again by this version, it says so."
        )
