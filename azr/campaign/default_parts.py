"""The real parts of a campaign: data, judges, trainer, progress. Imported when used, so that the driver starts at once."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any

from azr.campaign.parts import CampaignParts, Progress
from azr.campaign.progress import BarProgress
from azr.rundir import RunDir


def default_parts() -> CampaignParts:
    return CampaignParts(consolidate=_consolidate, merge=_merge, judges=(), progress=_progress)


def _consolidate(run: RunDir, cycle: int, config: Config) -> Any:
    from azr.data import consolidate

    return consolidate(run, cycle, config)


def _merge(run: RunDir, cycle: int, config: Config) -> Any:
    from azr.data import merge

    return merge(run, cycle, config)


def _progress(run: RunDir, config: Config) -> AbstractContextManager[Progress]:
    """The live screen; where that is off a bar; where there is no terminal plain lines."""
    if sys.stdout.isatty() and not config.report.live:
        return BarProgress(run)
    from azr.report.live import LiveView

    return LiveView(run.root, config.report)
