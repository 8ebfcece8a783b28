"""Back to the last good checkpoint after a collapse: which one, at what learning rate, and how often."""

from __future__ import annotations

from azr.campaign.context import Context
from azr.campaign.parts import Judgement
from azr.run.checkpoint_store import reject_checkpoints_after
from azr.run.checkpoints import latest_verified_checkpoint
from azr.wording import counted


def roll_back(ctx: Context, judgement: Judgement) -> bool:
    """Takes every suspect checkpoint out of use and lowers the rate.

    The order makes it safe to be killed anywhere: the state names the target first, and the next start
    finishes the work.

    Returns:
        False when the budget of rollbacks is used up; the suspect checkpoints are out of use then, too, so
        that what remains is the last good model.
    """
    state = ctx.state
    onset = judgement.onset_step if judgement.onset_step is not None else state.trained_step
    good = latest_verified_checkpoint(ctx.run, at_most_step=max(0, onset - 1))
    target = good.step if good else 0
    retry = state.rollbacks < ctx.campaign.max_rollbacks
    scale = state.learning_rate_scale * (ctx.campaign.rollback_rate_factor if retry else 1.0)

    ctx.save(
        rollback_to=target,
        rollbacks=state.rollbacks + 1,
        learning_rate_scale=scale,
        seed_offset=state.seed_offset + 1,
        sentence=f"Rolling back to step {target}: {judgement.sentence}",
    )

    rejected = _take_out(ctx, target)
    where = f"the checkpoint of step {target}" if target else "the model's own weights"
    out = f" {counted(len(rejected), 'later checkpoint')} taken out of use." if rejected else ""
    action = f"Going on from {where} at {scale:g} of the learning rate.{out}"
    if not retry:
        action = f"The budget of {ctx.campaign.max_rollbacks} rollbacks is used up: the campaign stops at {where}.{out}"
    ctx.incident("rollback", judgement.sentence, action)
    return retry


def discard_after(ctx: Context, step: int) -> None:
    """Takes out of use what an attempt saved that did not restore what it should have."""
    ctx.save(rollback_to=step)
    rejected = _take_out(ctx, step)
    if rejected:
        shown = ", ".join(map(str, sorted(rejected)))
        why = f"The checkpoints of steps {shown} come from an attempt that cannot be trusted."
        ctx.incident("discard", why, "They are out of use.")


def _take_out(ctx: Context, step: int) -> list[int]:
    rejected = reject_checkpoints_after(ctx.run, step)
    ctx.save(rollback_to=None, step=step, trained_step=step)
    return rejected
