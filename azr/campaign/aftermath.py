"""How an attempt of the trainer ended, and what follows: another start, a step back to the last good checkpoint, the end of
the cycle, or of the campaign."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from azr.campaign.context import Context
from azr.campaign.faults import Fault
from azr.campaign.parts import Judgement
from azr.campaign.rollback import discard_after, roll_back
from azr.campaign.state import CampaignState, State
from azr.run.hand_over import HandOverPart, mark_hand_over
from azr.run.protocol import read_metrics


class StopReason(IntEnum):
    """Why the driver asked a trainer to stop; of several the smallest decides."""

    USER = 0
    DISK = 1
    BUDGET = 2
    STAGNATION = 3
    PAUSE = 4
    RECYCLE = 5


class EndKind(IntEnum):
    FINISHED = 0
    """Trained and saved the cycle's last step."""
    STOPPED = 1
    """Ended as asked; ``stop`` says why it was asked."""
    CRASHED = 2
    """Ended without being asked."""
    HUNG = 3
    """Made no progress and was ended."""
    UNHEALTHY = 4
    """Ended by us without saving, because its steps are not to be kept."""
    HOPELESS = 5
    """Says itself that starting again cannot help."""


@dataclass(frozen=True)
class AttemptEnd:
    kind: EndKind
    sentence: str
    stop: StopReason | None = None
    judgement: Judgement | None = None
    trusted: bool = True
    """False: what it saved is not to be used, because it did not begin where it should have."""
    fault: Fault | None = None
    """What ended it, if that was before it finished a step."""


class CycleEnd(str, Enum):
    """Why TRAIN of a cycle ended."""

    FINISHED = "finished"
    STAGNATION = "stagnation"
    BUDGET = "budget"
    FAILED = "failed"


class Stopped(Exception):
    """A clean end was requested; the state on disk says where to resume."""


class Failed(Exception):
    """The campaign cannot continue; the message says why and what to do."""


def after_attempt(ctx: Context, end: AttemptEnd, resume_step: int) -> None:
    """
    Raises:
        Stopped: a person, or the service that runs this, asked for it.
        Failed: no restart helps, or there were too many, or the disk is full.
    """
    if ctx.state.step > resume_step and end.trusted:
        ctx.note(restarts_in_row=0)
    if end.fault is None:
        ctx.note(start_fault="")
    if end.kind is EndKind.HOPELESS:
        raise Failed(end.sentence)
    if end.kind is EndKind.UNHEALTHY and end.judgement is not None:
        if not roll_back(ctx, end.judgement):
            end_cycle(ctx, CycleEnd.FAILED, end.sentence)
    elif end.kind is EndKind.FINISHED and end.judgement is not None:
        # its last steps came before the request to stop
        end_cycle(ctx, CycleEnd.STAGNATION, end.judgement.sentence)
    elif end.kind in (EndKind.CRASHED, EndKind.HUNG):
        if not end.trusted:
            discard_after(ctx, resume_step)
        if asked := ctx.stop_asked():
            raise Stopped(f"Stopped by {asked}. {end.sentence}{_unsaved(ctx.state)}")
        _give_up_if_final(ctx, end)
        _restart_later(ctx, "hang" if end.kind is EndKind.HUNG else "crash", end.sentence)
    elif end.kind is EndKind.STOPPED:
        _after_stop(ctx, end)
    # FINISHED otherwise: the next look at the checkpoints ends the cycle.


def _unsaved(state: CampaignState) -> str:
    """Where a stop ended the trainer as well (a service, a shutdown): what it had no time to save."""
    first, last = state.step + 1, state.trained_step
    if last < first:
        return ""
    steps = f"step {last}" if first == last else f"steps {first} to {last}"
    return f" It had not saved {steps}, trained again at the next start."


def _after_stop(ctx: Context, end: AttemptEnd) -> None:
    if end.stop is StopReason.USER:
        raise Stopped(end.sentence)
    if end.stop is StopReason.DISK:
        raise Failed(end.sentence)
    if end.stop is StopReason.BUDGET:
        end_cycle(ctx, CycleEnd.BUDGET, end.sentence)
    elif end.stop is StopReason.STAGNATION:
        end_cycle(ctx, CycleEnd.STAGNATION, end.sentence)
    elif end.stop is StopReason.RECYCLE:
        ctx.incident("recycle", end.sentence, f"The trainer restarts from step {ctx.state.step}.")


def _give_up_if_final(ctx: Context, end: AttemptEnd) -> None:
    """Raises:
    Failed: the trainer ended before it finished a step, by something that no restart can mend.
    """
    if end.fault is None:
        return
    has_trained = any(record.step > 0 for record in read_metrics(ctx.run))
    if end.fault.final(ctx.state.start_fault, has_trained=has_trained):
        log = ctx.run.trainer_log(ctx.state.cycle, ctx.state.attempt).relative_to(ctx.run.root)
        raise Failed(f"{end.fault.sentence(ctx.config.model.path)} The trainer's log: {log}.")
    ctx.note(start_fault=end.fault.signature)


def _restart_later(ctx: Context, kind: str, sentence: str) -> None:
    """Counts an unplanned end; waits before the next start, or gives up."""
    config = ctx.campaign
    in_row, total = ctx.state.restarts_in_row + 1, ctx.state.restarts + 1
    ctx.note(restarts_in_row=in_row, restarts=total)
    if in_row > config.max_restarts_without_progress or total > config.max_restarts:
        without = in_row > config.max_restarts_without_progress
        which = f"{in_row} times in a row without a new checkpoint" if without else f"{total} times"
        raise Failed(f"The trainer ended unexpectedly {which}. The last time: {sentence}")

    wait_s = min(config.backoff_max_s, config.backoff_s * 2 ** (in_row - 1))
    again = f"Starting again from step {ctx.state.step} in {wait_s:.0f} s"
    ctx.incident(kind, sentence, f"{again} (restart {total} of {config.max_restarts}).")
    ctx.save(sentence=f"Waiting {wait_s:.0f} s before the trainer starts again.")
    ctx.wait(wait_s)


def end_cycle(ctx: Context, end: CycleEnd, sentence: str) -> None:
    """TRAIN is over, and MERGE follows."""
    mark_hand_over(ctx.run, ctx.state.cycle, HandOverPart.CHECK)
    flat_cycles = ctx.state.flat_cycles + 1 if end is CycleEnd.STAGNATION else ctx.state.flat_cycles
    ctx.save(
        state=State.MERGE,
        cycle_end=end.value,
        flat_cycles=0 if end is CycleEnd.FINISHED else flat_cycles,
        ending=sentence if end is CycleEnd.FAILED else "",
        restarts_in_row=0,
        sentence=sentence,
    )
