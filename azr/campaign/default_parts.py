"""The real parts of a campaign: data, judges, progress, loggers, report. Commands that start no campaign do
not import them."""

from __future__ import annotations

import subprocess
import sys

from azr.campaign.parts import CampaignParts
from azr.config import Config, to_container
from azr.config.paths import PROJECT
from azr.report.loggers import make_loggers
from azr.run.rundir import RunDir
from azr.system.children import last_words, run_captured

REPORT_TIMEOUT_S = 300.0


def default_parts() -> CampaignParts:
    from azr.campaign.judges import judge_health, judge_learning
    from azr.data.consolidate import consolidate, merge_shard
    from azr.report.live import LiveView

    return CampaignParts(
        consolidate=lambda run, cycle, config: consolidate(
            run, cycle, config.data, config.sandbox, config.selfplay
        ),
        merge=lambda run, cycle, config: merge_shard(run, cycle, config.data, config.sandbox),
        judges=(judge_health, judge_learning),
        progress=lambda run, config: LiveView(run.root, config.report, past=False),
        loggers=lambda run, config, first_step: make_loggers(
            config.report, run.root, first_step=first_step, run_config=to_container(config)
        ),
        report=_report,
    )


def _report(run: RunDir, config: Config) -> str:
    """In a process of its own: whatever goes wrong in a page must not end a campaign, nor its memory stay here."""
    if not config.report.html:
        return ""

    command = [sys.executable, "-m", "azr", "report", str(run.root.absolute())]
    try:
        # where ``azr`` is imported from; in a session of its own, as Ctrl+C is for the driver
        done = run_captured(command, REPORT_TIMEOUT_S, cwd=PROJECT, start_new_session=True)
    except subprocess.TimeoutExpired:
        return f"The report page was not written within {REPORT_TIMEOUT_S:.0f} s."

    if done.returncode == 0:
        return ""
    return f"The report page could not be written: {last_words(done)}"
