"""The real parts of a campaign: data, judges, trainer, progress. Imported when used, so that the driver starts at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager

from azr.campaign.parts import CampaignParts, Judgement, Logger, Progress, Report, Sample
from azr.campaign.progress import BarProgress
from azr.config import Config
from azr.config.paths import PROJECT
from azr.protocol import MetricsRecord
from azr.rundir import RunDir

REPORT_TIMEOUT_S = 300.0


def default_parts() -> CampaignParts:
    return CampaignParts(
        consolidate=_consolidate,
        merge=_merge,
        judges=(_judge_health, _judge_learning),
        progress=_progress,
        loggers=_loggers,
        report=_report,
    )


def _consolidate(run: RunDir, cycle: int, config: Config) -> Report:
    from azr.data import consolidate

    return consolidate(run, cycle, config.data, config.sandbox)


def _merge(run: RunDir, cycle: int, config: Config) -> Report:
    from azr.data import merge

    return merge(run, cycle, config.data, config.sandbox)


def _judge_health(records: Sequence[MetricsRecord], samples: Sequence[Sample], config: Config) -> Judgement:
    from azr.campaign.judges import judge_health

    return judge_health(records, samples, config)


def _judge_learning(records: Sequence[MetricsRecord], samples: Sequence[Sample], config: Config) -> Judgement:
    from azr.campaign.judges import judge_learning

    return judge_learning(records, samples, config)


def _loggers(run: RunDir, config: Config, first_step: int) -> Sequence[Logger]:
    if not config.report.loggers:
        return ()
    from azr.config import to_container
    from azr.report.loggers import make_loggers

    return make_loggers(config.report, run.root, first_step=first_step, run_config=to_container(config))


def _report(run: RunDir, config: Config) -> str:
    """In a process of its own: whatever goes wrong in a page must not end a campaign, nor its memory stay here."""
    if not config.report.html:
        return ""
    command = [sys.executable, "-m", "azr", "report", str(run.root.absolute())]
    try:
        done = subprocess.run(
            command,
            cwd=PROJECT,  # where ``azr`` is imported from
            capture_output=True,
            text=True,
            timeout=REPORT_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl+C is for the driver
        )
    except subprocess.TimeoutExpired:
        return f"The report page was not written within {REPORT_TIMEOUT_S:.0f} s."
    return "" if done.returncode == 0 else f"The report page could not be written: {(done.stderr.strip().splitlines() or ['?'])[-1]}"


def _progress(run: RunDir, config: Config) -> AbstractContextManager[Progress]:
    """The live screen; where that is off a bar; where there is no terminal plain lines."""
    if sys.stdout.isatty() and not config.report.live:
        return BarProgress(run)
    from azr.report.live import LiveView

    return LiveView(run.root, config.report, past=False)
