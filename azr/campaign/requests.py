"""What the driver asks a trainer for."""

from __future__ import annotations

import os

from azr.campaign.context import Context
from azr.protocol import TrainRequest


def request_for(ctx: Context, resume_step: int) -> TrainRequest:
    """The request of the state's current attempt."""
    state = ctx.state
    return TrainRequest(
        cycle=state.cycle,
        attempt=state.attempt,
        first_step=state.first_step,
        last_step=state.last_step,
        resume_step=resume_step,
        learning_rate_scale=state.learning_rate_scale,
        seed_offset=state.seed_offset,
        driver_pid=os.getpid(),
        wait_s=ctx.campaign.trainer_wait_s if state.cycle < ctx.campaign.cycles else 0.0,
    )
