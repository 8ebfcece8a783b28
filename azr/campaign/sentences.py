"""What a person reads of a campaign: how it stands, and how it ended."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import suppress

from azr.campaign.control import read_requests
from azr.campaign.incidents import read_incidents
from azr.campaign.state import CampaignState, State
from azr.commands import command
from azr.errors import AzrError
from azr.report.summary_reader import read_summary
from azr.report.verdict import headline
from azr.run.records import SHRINKING
from azr.run.rundir import RunDir
from azr.system.folder_id import FolderId
from azr.system.processes import boot_id
from azr.wording import counted


def say_the_end(run: RunDir, state: CampaignState) -> None:
    """The last lines, below the screen: how it ended, where the report is, and what people do with a run."""
    folder = os.path.relpath(run.root)
    folder = shlex.quote(str(run.root) if folder.startswith("..") else folder)
    lines = [state.sentence]
    if state.state is State.DONE and state.step:
        with suppress(OSError, AzrError):  # the report says it too
            lines.append(headline(read_summary(run.root))[0].replace("\N{NO-BREAK SPACE}", " "))
    lines += [f"{item.cause} {item.action}" for item in read_incidents(run) if item.kind == SHRINKING]
    if run.report.is_file():
        lines.append(f"The report: {folder}/report.html")
    if state.step:
        which, option = ("latest", " --step latest") if state.best_step is None else ("best", "")
        suite = " --suite humaneval" if run.lacks_probes else ""
        lines.append(
            f"To compare it with the model it started from: {command('evaluate')} {folder}@0 {folder}@{which}{suite}"
        )
        lines.append(f"To take the model home: {command('export')} {folder}{option} --out my-model")
    with suppress(OSError):  # a terminal that is gone
        print("\n".join(lines), flush=True)


def describe_state(run: RunDir, state: CampaignState, *, running: bool) -> str:
    """The state in a few lines, for ``scripts/control.py RUN status``.

    Args:
        running: a driver works in this very folder.
    """
    age_s = time.time() - state.updated_unix_s
    age = (
        f"written {age_s:.0f} s ago"
        if age_s > -1
        else f"written {-age_s:.0f} s ahead of this machine's clock"
    )
    lines = [
        f"{state.state.value}, cycle {state.cycle}, step {state.trained_step} trained, step {state.step} saved",
        state.sentence,
        f"{state.active_s / 3600:.2f} h used, {counted(state.restarts, 'restart')}, {counted(state.rollbacks, 'rollback')}; "
        + (age if state.updated_unix_s else "nothing says when it was written"),
    ]
    if not running and state.state not in (State.DONE, State.FAILED):
        driver = state.driver
        elsewhere = "if none is elsewhere, " if driver is not None and driver.boot_id != boot_id() else ""
        lines.append(f"no driver is running here; {elsewhere}run the same command to resume")
        if state.folder is not None and not state.folder.is_same(FolderId.of(run.root)):
            lines.append(
                f"the above was written in {state.folder.path}: this folder is a copy of it, the same one seen from another machine, "
                "or where it was moved to"
            )
    waiting = read_requests(run)
    if not running and waiting.pause:
        lines.append(
            f"a pause was requested: the next start waits until `{command('control')} {run.root} resume`"
        )
    if not running and waiting.hours is not None:
        lines.append(f"the next start has {budget_of(waiting.hours)}")
    return "\n".join(lines)


def budget_of(hours: float) -> str:
    return f"a time budget of {hours:g} h" if hours else "no time budget"
