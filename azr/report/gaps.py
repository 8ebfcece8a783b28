"""What a run's records lack, in sentences: figures leave it out."""

from __future__ import annotations

from collections import Counter

from azr.report.metrics import MetricsTable
from azr.run import metric_names as names
from azr.run.records import CampaignState
from azr.run.rundir import RunDir
from azr.wording import counted


def gaps(run: RunDir, table: MetricsTable, state: CampaignState | None) -> list[str]:
    """Steps that are in no metrics, shards that are gone, and probe tasks that were never asked."""
    return [*_missing_steps(run, table, state), *_missing_shards(run, table), *_unasked_probes(table)]


def _missing_steps(run: RunDir, table: MetricsTable, state: CampaignState | None) -> list[str]:
    """A sentence where steps were trained of which the metrics say nothing: every figure then leaves them out."""
    trained = max(table.last_step, state.step if state is not None else 0)
    missing = trained - table.trained
    if missing <= 0:
        return []
    return [
        f"{run.metrics.name} lacks {missing} of the {trained} trained steps (damaged or removed), and all figures leave them out"
    ]


def _missing_shards(run: RunDir, table: MetricsTable) -> list[str]:
    """A sentence for each cycle that accepted tasks and whose shard is gone: the figures of tasks leave them out."""
    accepted: Counter[int] = Counter()
    for cycle, count in zip(table.cycles.tolist(), table.column(names.ACCEPTED).tolist(), strict=True):
        accepted[cycle] += int(count) if count > 0 else 0
    return [
        f"{run.shard(cycle).relative_to(run.root)} is gone: {counted(count, 'task')} that cycle {cycle} accepted "
        f"{'is' if count == 1 else 'are'} in no figure "
        "of proposed tasks; the pool keeps those that it had taken"
        for cycle, count in sorted(accepted.items())
        if count and not run.shard(cycle).exists()
    ]


def _unasked_probes(table: MetricsTable) -> list[str]:
    tasks = counted(int(table.last(names.PROBES_TOO_LONG) or 0), "frozen probe task")
    told = f"{tasks} did not fit rollout.max_prompt_tokens when the run began, and no accuracy counts them"
    return [told] if table.has(names.PROBES_TOO_LONG) else []
