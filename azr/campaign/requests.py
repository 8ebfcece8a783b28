"""What the driver asks a trainer for."""

from __future__ import annotations

import os
import time

from azr.campaign.context import Context
from azr.protocol import TrainRequest


def request_for(ctx: Context, resume_step: int) -> TrainRequest:
    """The request of the state's current attempt."""
    state = ctx.state
    left_s = ctx.budget_left_s()
    return TrainRequest(
        cycle=state.cycle,
        attempt=state.attempt,
        first_step=state.first_step,
        last_step=state.last_step,
        resume_step=resume_step,
        learning_rate_scale=state.learning_rate_scale,
        seed_offset=state.seed_offset,
        deadline_unix_s=None if left_s == float("inf") else time.time() + left_s,
        driver_pid=os.getpid(),
    )
