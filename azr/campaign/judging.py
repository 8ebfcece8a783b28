"""What becomes of each new line of metrics: loggers show it, judges say what is to be done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict

from azr.campaign.context import Context
from azr.campaign.parts import Advice, Judgement
from azr.commands import command
from azr.report.loggers import Logger
from azr.report.text import shown_path
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import MetricsRecord
from azr.run.records import JudgeVerdict, MachineSample
from azr.system.files import append_jsonl

_ACTIONS = {
    Advice.END_CYCLE: "The cycle ends at the next step boundary.",
    Advice.ROLLBACK: "The trainer is ended without saving.",
    Advice.RECYCLE: "The trainer is restarted at the next checkpoint.",
}
_NEXT_TIME = "`selfplay.solve_group_size=4`, `selfplay.seed_share` above 0 or another `selfplay.frame` may prevent it (none measured)."


def log(ctx: Context, loggers: list[Logger], record: MetricsRecord) -> None:
    """A logger that fails leaves the list: metrics.jsonl has everything."""
    for logger in list(loggers):
        try:
            logger.log(record.step, record.values, record.unix_s)
        except (OSError, RuntimeError, ValueError) as error:
            loggers.remove(logger)
            failed = f"{type(logger).__name__} failed: {error}."
            ctx.incident("logger", failed, "It is left out; metrics.jsonl has everything.")


def ask_judges(
    ctx: Context, records: Sequence[MetricsRecord], samples: Sequence[MachineSample]
) -> Judgement | None:
    """What the first judge says that wants anything done; None where the run is to continue. A verdict that
    changes is written down."""
    for index, judge in enumerate(ctx.parts.judges):
        judgement = judge(records, samples, ctx.config)
        changed = judgement.verdict != ctx.verdicts.get(index)
        ctx.verdicts[index] = judgement.verdict
        if changed:
            last, said = records[-1], (judgement.verdict, judgement.advice.value, judgement.sentence)
            verdict = JudgeVerdict(time.time(), last.cycle, last.attempt, last.step, *said)
            append_jsonl(ctx.run.verdicts, [asdict(verdict)])
        if judgement.advice is Advice.NOTE:
            action, kept = _way_back(ctx, judgement.onset_step or 0)
            ctx.incident(judgement.verdict, judgement.sentence, action, kept_step=kept)
        elif judgement.advice is not Advice.CONTINUE:
            if changed:
                ctx.incident(judgement.verdict, judgement.sentence, _ACTIONS[judgement.advice])
            return judgement
    return None


def _way_back(ctx: Context, onset_step: int) -> tuple[str, int | None]:
    """What a user can do about collapsed thoughts, and the checkpoint that it needs (kept by ``azr.campaign.retention``)."""
    earlier = [checkpoint.step for checkpoint in list_checkpoints(ctx.run) if checkpoint.step < onset_step]
    if not earlier:
        return (
            f"The run goes on; accuracy may fall later. No checkpoint from before it is left. {_NEXT_TIME}",
            None,
        )
    run, step = shown_path(ctx.run.root), max(earlier)
    export = f"{command('export')} {run} --step {step} --out DIR"
    action = (
        f"The run goes on; accuracy may fall later. Step {step} is from before it and is kept: `{export}`; "
        f"`name=NEW model.path=DIR data.other_runs=[{run}]` goes on from there. {_NEXT_TIME}"
    )
    return action, step
