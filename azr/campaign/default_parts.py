"""The real parts of a campaign: data, judges, trainer, progress. Imported when used, so that the driver starts at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager

from azr.campaign.parts import CampaignParts, Judgement, Progress, Report, Sample
from azr.campaign.progress import BarProgress
from azr.config import Config
from azr.protocol import MetricsRecord
from azr.rundir import RunDir


def default_parts() -> CampaignParts:
    return CampaignParts(consolidate=_consolidate, merge=_merge, judges=(_judge_health, _judge_learning), progress=_progress)


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


def _progress(run: RunDir, config: Config) -> AbstractContextManager[Progress]:
    """The live screen; where that is off a bar; where there is no terminal plain lines."""
    if sys.stdout.isatty() and not config.report.live:
        return BarProgress(run)
    from azr.report.live import LiveView

    return LiveView(run.root, config.report)
