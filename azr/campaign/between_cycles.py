"""The trainer between two cycles: it waits with its engine while the driver merges and consolidates, and then
goes on with the next cycle, or is ended.

A cycle starts a trainer of its own where the last one did not end with its last step, where the machine has no
memory for both, and where what waits is not what the next cycle needs.
"""

from __future__ import annotations

import contextlib
import time

from azr.budget.estimate import HOST_DATA_STEPS_GIB
from azr.campaign.context import Context
from azr.campaign.trainer_process import TrainerProcess, WaitingTrainer
from azr.run.protocol import STOP_FILE, ask
from azr.system import GIB
from azr.system.cards import used_vram_gib
from azr.system.processes import ProcessId
from azr.system.resources import host_memory
from azr.wording import counted

DISMISS_S = 60.0
"""What a waiting trainer gets to close its engine, before it is ended."""


def keep(ctx: Context, trainer: WaitingTrainer, *, due: bool) -> None:
    """Lets it wait for the next cycle; or ends it, where it is due for that or the memory is needed.

    Args:
        due: it was to end anyway, and everybody knows why.
    """
    ctx.waiting = trainer
    if due:
        return dismiss(ctx)
    steps, every = trainer.request.last_step - trainer.process.since_step, ctx.campaign.recycle_every_steps
    left_gib = host_memory().available / GIB
    if every and steps >= every:
        _begin_anew(ctx, f"Planned restart after {counted(steps, 'step')}.")
    elif left_gib < HOST_DATA_STEPS_GIB:
        reason = f"{left_gib:.1f} GiB of main memory are left; merging and consolidating take up to {HOST_DATA_STEPS_GIB:g}."
        _begin_anew(ctx, reason)


def check_waiting(ctx: Context, resume_step: int) -> None:
    """Ends the trainer that waits, if it cannot go on from the checkpoint of ``resume_step``."""
    if ctx.waiting is None:
        return
    process, done = ctx.waiting.process, ctx.waiting.request
    # killed, it is a zombie at once, while its threads and with them its exit status may take a moment longer
    if process.poll() is not None or ProcessId.of(process.pid) is None:
        _begin_anew(ctx, "The trainer ended while it waited for this cycle.")
    elif (done.last_step, done.learning_rate_scale) != (resume_step, ctx.state.learning_rate_scale):
        reason = f"The trainer that waits holds step {done.last_step}; cycle {ctx.state.cycle} begins from step {resume_step}."
        _begin_anew(ctx, reason)


def _begin_anew(ctx: Context, reason: str) -> None:
    ctx.incident("recycle", reason, "The next cycle starts a new trainer.")
    dismiss(ctx)


def dismiss(ctx: Context, *, at_once: bool = False) -> None:
    """Ends the trainer that waits, if there is one: asked first, so that it closes its engine itself."""
    waiting, ctx.waiting = ctx.waiting, None
    if waiting is None:
        return
    try:
        # asking would make the folder anew in the empty place of a disk that went away
        if not at_once and ctx.run.attempt(waiting.request.cycle, waiting.request.attempt).is_dir():
            with contextlib.suppress(OSError):  # the disk is full
                ask(ctx.run, waiting.request.cycle, waiting.request.attempt, STOP_FILE, "no cycle follows")
            deadline_s = time.monotonic() + DISMISS_S
            while waiting.process.poll() is None and time.monotonic() < deadline_s:
                time.sleep(ctx.campaign.poll_s)
    finally:
        end_trainer(ctx, waiting.process)


def end_trainer(ctx: Context, trainer: TrainerProcess) -> None:
    """Leaves nothing of it behind, and waits until the card's memory has fallen."""
    left = trainer.end()
    if left:
        alive = f"{len(left)} processes of the trainer could not be ended: {left}."
        ctx.incident("leftover", alive, "Continuing without them.")
    _wait_for_vram(ctx, trainer.vram_before_gib)


def _wait_for_vram(ctx: Context, before_gib: float | None) -> None:
    """Until the memory in use is back to what it was before the trainer started (None: no card says)."""
    limit_s = ctx.campaign.vram_wait_s
    deadline_s = time.monotonic() + limit_s
    while before_gib is not None:
        used = used_vram_gib()
        if used is None or used <= before_gib + ctx.campaign.vram_margin_gib:
            return
        if time.monotonic() >= deadline_s:
            still = f"{limit_s:.0f} s after the trainer ended {used:.1f} GiB of the card are still in use"
            others = "Another program may have taken them; `nvidia-smi` shows which."
            cause = f"{still}; {before_gib:.1f} GiB were before it started. {others}"
            return ctx.incident("vram", cause, "The next start is tried anyway.")
        time.sleep(0.5)
