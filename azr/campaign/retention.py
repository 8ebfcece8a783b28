"""Room on the disk: which checkpoints are kept, and which go where the next ones would not fit."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from azr.campaign.context import Context
from azr.campaign.incidents import read_incidents
from azr.errors import BudgetError
from azr.run.checkpoint_store import prune_checkpoints, require_disk_space
from azr.run.records import SHRINKING


def prune(ctx: Context, keep_last: int, *, protected: Collection[int] = (), is_short: bool = False) -> None:
    """Keeps the last ones, those of ``campaign.keep_every``, the best one, the ``protected`` steps, and, unless
    space is short, those from before a collapse of thoughts."""
    told = [] if is_short else [item for item in read_incidents(ctx.run) if item.kind == SHRINKING]
    kept = {*protected, ctx.state.best_step, *(item.details.get("kept_step") for item in told)} - {None}
    prune_checkpoints(ctx.run, keep_last=keep_last, keep_every=ctx.campaign.keep_every, protected=kept)


def make_room(ctx: Context, keep_last: int, *, protected: Collection[int] = ()) -> None:
    """Sees to it that the next checkpoints fit beside ``keep_last`` old ones, or beside one if need be.

    Raises:
        BudgetError: they do not fit, even when only one old checkpoint is kept.
    """
    require = partial(require_disk_space, ctx.run, margin_gib=ctx.campaign.disk_margin_gib)
    try:
        require(keep_last=keep_last)
    except BudgetError:
        prune(ctx, 1, protected=protected, is_short=True)
        require(keep_last=1)
