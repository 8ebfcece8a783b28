"""The campaign: CONSOLIDATE -> TRAIN (watched) -> MERGE -> next cycle, until done; each state's work may be
repeated.

``run_campaign`` is the one entry. Read ``_STEPS`` and the function of each state to see the whole loop.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from azr.campaign.aftermath import CycleEnd, Failed, Stopped, after_attempt, end_cycle
from azr.campaign.between_cycles import check_waiting, dismiss
from azr.campaign.changed_settings import changed_settings, tell_changes, tell_update
from azr.campaign.context import Context
from azr.campaign.control import Control, lock_run, read_requests, withdraw_control
from azr.campaign.driver_beats import DriverBeats, refuse_while_it_beats
from azr.campaign.identity_check import settle_identity
from azr.campaign.known_probes import tell_known_probes
from azr.campaign.lost_files import settle_lost_checkpoints
from azr.campaign.parts import CampaignParts, default_parts
from azr.campaign.proportions import beyond_the_end, evaluation_cost
from azr.campaign.recovery import open_campaign
from azr.campaign.retention import make_room
from azr.campaign.sentences import say_the_end
from azr.campaign.signals import StopSignals
from azr.campaign.start_check import require_free_card
from azr.campaign.state import State, latest_attempt, save_state
from azr.campaign.supervise import supervise
from azr.campaign.trainer_process import end_leftovers
from azr.commands import command
from azr.config import Config
from azr.config.load import write_config
from azr.data.guard import settle_probes
from azr.errors import AzrError
from azr.report.versions import collect_versions
from azr.run.checkpoints import latest_verified_checkpoint, list_checkpoints
from azr.run.hand_over import HandOverPart, forget_hand_over, mark_hand_over
from azr.run.protocol import TrainRequest
from azr.run.rundir import RunDir
from azr.system.disks import explain_os_error
from azr.system.files import keep_to_disk
from azr.system.terminal import never_wait_for_readers

EXIT_DONE = 0
"""Done, or stopped cleanly on request."""
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
"""The second Ctrl+C."""


def run_campaign(config: Config, run_dir: Path | str, parts: CampaignParts | None = None) -> int:
    """Runs the campaign in ``run_dir``, from its beginning or from wherever it was.

    Args:
        config: its ``campaign`` section is read here, the rest by the parts.
        parts: what tests put in place of data, judges, trainer and progress.

    Returns:
        0 when it is done or was stopped on request (the same command resumes it), 1 when it failed, 130 after
        Ctrl+C.

    Raises:
        RunError: another driver is using the run, the directory cannot be written or was moved away, or the
            run began with another model or recipe.
        DataError: its probe tasks are gone or were changed.
        ModelError: the model cannot be found.
    """
    parts = parts or default_parts()
    never_wait_for_readers()
    run = RunDir(Path(run_dir).absolute())
    with ExitStack() as stack:
        stack.callback(lock_run(run, print).release)
        refuse_while_it_beats(run, print)
        keep_to_disk(run.root, run.lock)
        beats = stack.enter_context(DriverBeats(run))
        signals = stack.enter_context(StopSignals())
        try:
            note, restored = settle_identity(run, config), settle_probes(run, config.data)
            state, told = open_campaign(run, config.campaign)
            versions = collect_versions(config.selfplay.frame)
            changed = changed_settings(run, config, versions)
            write_config(run.config, config)
            with parts.progress(run, config) as progress:
                ctx = Context(run, config, parts, state, signals, progress, versions)
                ctx.predecessors = beats.predecessors
                for sentence in filter(None, [note, *told]):
                    ctx.say(sentence)
                if restored:
                    ctx.incident("repair", restored)
                tell_changes(ctx, changed)
                for sentence in beyond_the_end(config):
                    ctx.say(f"{sentence}.")
                status = _run(ctx)
            say_the_end(run, ctx.state)
            return EXIT_INTERRUPTED if signals.asked == "SIGINT" and status == EXIT_DONE else status
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except OSError as error:
            gone = f"{run.root} was renamed or removed, or its disk went away; once it is back, the same command resumes"
            told = explain_os_error(error, run.root) if run.root.exists() else gone
            print(f"The campaign stopped: {told}.", file=sys.stderr)
            return EXIT_FAILED


def _run(ctx: Context) -> int:
    """Steps through the states until an end; every end is written into the state."""
    try:
        ctx.take_budget_request()
        _forget_hand_overs(ctx)
        _leave_final_state(ctx)
        if ctx.state.state in (State.CONSOLIDATE, State.TRAIN):
            require_free_card(ctx.config)
        _step_through(ctx)
    except Stopped as stop:
        ctx.require_folder()  # the request may be for the driver that took the run over
        withdraw_control(ctx.run, Control.STOP)
        ctx.incident("stop", str(stop), "Run the same command again to resume.")
        where = f"In {ctx.state.state.value} of cycle {ctx.state.cycle}, step {ctx.state.step} is saved."
        _close(ctx, sentence=f"{stop} {where}")
        return EXIT_DONE
    except OSError:
        ctx.require_folder()
        raise
    except (Failed, AzrError) as error:
        ctx.require_folder()  # nothing may be written where the run lay
        ctx.incident("failed", str(error), "The campaign stops. Run the same command again to try once more.")
        _close(ctx, state=State.FAILED, failed_in=ctx.state.state, ending="", sentence=str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        # It may have struck while a trainer was being ended; nothing more can interrupt this.
        end_leftovers(ctx.run, ctx.state.run_id)
        ctx.require_folder()
        action = f"Step {ctx.state.step} is saved; run the same command again to resume."
        ctx.incident("stop", "Ctrl+C twice: ended immediately.", action)
        _close(
            ctx, report=False, sentence=f"Interrupted; step {ctx.state.step} is saved.", attempt_open=False
        )
        return EXIT_INTERRUPTED
    _close(ctx)
    return EXIT_DONE if ctx.state.state is State.DONE else EXIT_FAILED


def _step_through(ctx: Context) -> None:
    """Leaves no trainer behind, however it ends.

    Raises:
        Stopped, Failed: as ``_run`` takes them.
    """
    try:
        while ctx.state.state not in (State.DONE, State.FAILED):
            if ctx.stop_asked():
                raise Stopped(f"Stopped by {ctx.stop_asked()}.")
            ctx.take_budget_request()
            _wait_while_paused(ctx)
            _STEPS[ctx.state.state](ctx)
            ctx.show()
    except KeyboardInterrupt:
        dismiss(ctx, at_once=True)
        raise
    finally:
        dismiss(ctx)


def _close(ctx: Context, *, report: bool = True, **changes: Any) -> None:
    if changes:
        ctx.save(**changes)
    ctx.state = save_state(ctx.run, replace(ctx.state, driver=None))  # the next start has nothing to repair
    if report:
        _write_report(ctx)
    ctx.show()


def _write_report(ctx: Context) -> None:
    problem = ctx.parts.report(ctx.run, ctx.config)
    if problem:
        ctx.incident("report", problem, "The campaign is not affected.")


def _leave_final_state(ctx: Context) -> None:
    """DONE continues when the configuration now asks for more; FAILED tries again, with new budgets."""
    state = ctx.state
    if state.state is State.DONE:
        if reason := reason_to_end(ctx):
            ctx.save(sentence=reason)  # by the limits of this start
            return
        more = "The campaign was done; the configuration now asks for more."
        ctx.incident("extended", more, f"Cycle {state.cycle + 1} begins.")
        _begin_cycle(ctx)
    elif state.state is State.FAILED:
        back = state.failed_in or State.TRAIN
        action = f"Started again by the user, in {back.value}, with new budgets."
        ctx.incident("retry", f"The campaign had failed: {state.sentence}", action)
        budgets = {"restarts": 0, "restarts_in_row": 0, "rollbacks": 0, "start_fault": ""}
        ctx.save(state=back, failed_in=None, ending="", **budgets)
        if back is State.MERGE and state.cycle_end == CycleEnd.FAILED.value:
            _begin_cycle(ctx)


def reason_to_end(ctx: Context) -> str:
    """Why no further cycle follows the one that was merged; empty when one does."""
    state, config = ctx.state, ctx.campaign
    if ctx.budget_left_s() <= 0:
        return ctx.budget_is_used_up
    # the last cycle's missing steps are another cycle's, once a larger budget is given
    if state.cycle >= config.cycles and state.cycle_end != CycleEnd.BUDGET.value:
        return f"Cycle {state.cycle}, the last, is done. To continue, raise campaign.cycles (now {config.cycles})."
    if config.max_flat_cycles and state.flat_cycles >= config.max_flat_cycles:
        flat = f"{state.flat_cycles} cycles in a row ended in stagnation: this model is no longer learning."
        return f"{flat} Raise campaign.max_flat_cycles to continue."
    return ""


def _consolidate(ctx: Context) -> None:
    ctx.save(sentence=f"Consolidating the data of cycle {ctx.state.cycle}.")
    _restore_probes(ctx)
    report = ctx.parts.consolidate(ctx.run, ctx.state.cycle, ctx.config)
    mark_hand_over(ctx.run, ctx.state.cycle - 1, HandOverPart.CONSOLIDATE)
    ctx.say(f"Cycle {ctx.state.cycle} starts from {report.sentence}.")
    if ctx.state.cycle == 1 and (cost := evaluation_cost(ctx.run, ctx.config)):
        ctx.say(f"{cost}.")
    tell_known_probes(ctx)  # not before: after a failed consolidation, the probe files may be others
    first = ctx.state.step + 1
    last = first + ctx.campaign.steps_per_cycle - 1
    sentence = f"Cycle {ctx.state.cycle} trains steps {first} to {last}."
    ctx.save(state=State.TRAIN, first_step=first, last_step=last, sentence=sentence)


def _train(ctx: Context) -> None:
    """Attempts until the cycle's last step is saved, or something ends the cycle."""
    _follow_steps_per_cycle(ctx)
    checkpoint = latest_verified_checkpoint(ctx.run)
    resume_step = checkpoint.step if checkpoint else 0
    lost = settle_lost_checkpoints(ctx.run, ctx.state, resume_step)
    if lost:
        ctx.save(step=resume_step, trained_step=resume_step)
        ctx.incident("repair", lost)
    if resume_step >= ctx.state.last_step:
        return end_cycle(ctx, CycleEnd.FINISHED, f"Cycle {ctx.state.cycle} trained all its steps.")
    if ctx.budget_left_s() <= 0:
        return end_cycle(ctx, CycleEnd.BUDGET, ctx.budget_is_used_up)
    check_waiting(ctx, resume_step)
    tell_update(ctx)
    make_room(ctx, ctx.campaign.keep_last)
    mark_hand_over(ctx.run, ctx.state.cycle - 1, HandOverPart.ROOM)
    ctx.save(
        attempt=max(ctx.state.attempt, latest_attempt(ctx.run, ctx.state.cycle)) + 1,
        attempt_open=True,
        step=resume_step,
        trained_step=resume_step,
        sentence=f"Starting the trainer for cycle {ctx.state.cycle} from step {resume_step}.",
    )
    end = supervise(ctx, _request(ctx, resume_step))
    saved = [checkpoint.step for checkpoint in list_checkpoints(ctx.run)]
    # what is gone by then, the next look tells
    ctx.save(attempt_open=False, step=max([ctx.state.step, *saved]))
    after_attempt(ctx, end, resume_step)


def _request(ctx: Context, resume_step: int) -> TrainRequest:
    """Of the state's current attempt."""
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


def _follow_steps_per_cycle(ctx: Context) -> None:
    """A run that resumes in the middle of a cycle uses the cycle length that is configured now."""
    state = ctx.state
    configured = state.first_step + ctx.campaign.steps_per_cycle - 1
    last_step = max(configured, min(state.step, state.last_step))
    if last_step != state.last_step:
        ends = f"trains to step {last_step} now" if state.step < last_step else f"ends with step {last_step}"
        sentence = f"Cycle {state.cycle} {ends}, not {state.last_step}: campaign.steps_per_cycle changed."
        ctx.say(sentence)
        ctx.save(last_step=last_step, sentence=sentence)


def _restore_probes(ctx: Context) -> None:
    if restored := settle_probes(ctx.run, ctx.config.data):
        ctx.incident("repair", restored)


def _merge(ctx: Context) -> None:
    ctx.save(sentence=f"Merging the tasks of cycle {ctx.state.cycle} into the pool.")
    _restore_probes(ctx)
    report = ctx.parts.merge(ctx.run, ctx.state.cycle, ctx.config)
    mark_hand_over(ctx.run, ctx.state.cycle, HandOverPart.MERGE)
    ctx.say(f"{report.sentence}.")
    state = ctx.state
    if state.ending:
        ctx.save(state=State.FAILED, failed_in=State.MERGE, sentence=state.ending)
        return
    reason = reason_to_end(ctx)
    if reason:
        ctx.save(state=State.DONE, sentence=reason)
    else:
        _write_report(ctx)
        mark_hand_over(ctx.run, state.cycle, HandOverPart.REPORT)
        _begin_cycle(ctx)


def _begin_cycle(ctx: Context) -> None:
    state = ctx.state
    ctx.save(
        state=State.CONSOLIDATE,
        cycle=state.cycle + 1,
        attempt=0,
        attempt_open=False,
        cycle_end="",
        sentence=f"Cycle {state.cycle + 1} begins.",
    )


def _forget_hand_overs(ctx: Context) -> None:
    """Of the cycle before, and of this one."""
    for cycle in (ctx.state.cycle - 1, ctx.state.cycle):
        forget_hand_over(ctx.run, cycle)


def _wait_while_paused(ctx: Context) -> None:
    if not read_requests(ctx.run).pause:
        if ctx.state.paused:
            ctx.save(paused=False)
        return
    dismiss(ctx)
    _forget_hand_overs(ctx)
    how = f"`{command('control')} {ctx.run.root} resume` continues."
    ctx.save(paused=True, sentence=f"Paused after step {ctx.state.step}; {how}")
    paused = f"Paused after step {ctx.state.step}: no trainer runs, the card is free."
    ctx.incident("pause", paused, how)
    while read_requests(ctx.run).pause:
        if ctx.wait(ctx.campaign.poll_s):
            raise Stopped(f"Stopped by {ctx.stop_asked()} while paused.")
        ctx.take_budget_request()
    ctx.tick()
    ctx.save(paused=False, sentence="Resumed.")
    ctx.incident("resume", "Resumed.", f"Resuming from step {ctx.state.step}.")


_STEPS = {State.CONSOLIDATE: _consolidate, State.TRAIN: _train, State.MERGE: _merge}
