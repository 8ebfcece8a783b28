"""Room on the disk for the next checkpoints."""

from __future__ import annotations

from azr.campaign.context import Context
from azr.checkpoints import prune_checkpoints, require_disk_space
from azr.errors import BudgetError


def make_room(ctx: Context) -> None:
    """Raises:
    BudgetError: the next checkpoints do not fit, even when only one old one is kept.
    """
    config = ctx.campaign
    try:
        _require_space(ctx, config.keep_last)
    except BudgetError:
        prune_checkpoints(
            ctx.run, keep_last=1, protected=[] if ctx.state.best_step is None else [ctx.state.best_step]
        )
        _require_space(ctx, 1)


def _require_space(ctx: Context, keep_last: int) -> None:
    config = ctx.campaign
    require_disk_space(
        ctx.run,
        keep_last=keep_last,
        margin_gib=config.disk_margin_gib,
        expected_gib=config.expected_checkpoint_gib,
    )
