"""One attempt of the trainer, watched from its start until none of its processes is left.

``supervise`` returns why the attempt ended; what follows from that (restart, roll back, end the cycle) is the
driver's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from azr.campaign.aftermath import AttemptEnd, EndKind, StopReason
from azr.campaign.between_cycles import end_trainer, keep
from azr.campaign.context import MONOTONIC, Context
from azr.campaign.control import STOPPED_BY, Control, read_requests, withdraw_control
from azr.campaign.deadlines import Deadlines, learnt_limits
from azr.campaign.faults import Fault, FaultKind, read_fault
from azr.campaign.incidents import CAUSE_BYTES, explain_exit, read_incidents, where_it_hangs
from azr.campaign.judging import ask_judges, log
from azr.campaign.parts import Advice, Judgement
from azr.campaign.retention import make_room, prune
from azr.campaign.trainer_process import TrainerProcess, WaitingTrainer
from azr.config.load import write_config
from azr.errors import BudgetError, ConfigError
from azr.report.loggers import Logger
from azr.report.versions import write_versions
from azr.run.asked_otherwise import asked_alike, asked_otherwise
from azr.run.checkpoints import Checkpoint, best_checkpoint, list_checkpoints
from azr.run.identity import copy_identity
from azr.run.protocol import (
    CHECKPOINT_FILE,
    STOP_FILE,
    Ending,
    Heartbeat,
    MetricsRecord,
    MetricsTail,
    Phase,
    TrainRequest,
    ask,
    effective_metrics,
    read_heartbeat,
    read_metrics,
    read_result,
    write_request,
)
from azr.run.records import MachineSample
from azr.system import GIB
from azr.system.cards import used_vram_gib
from azr.system.disks import free_gib
from azr.system.files import append_jsonl, read_tail
from azr.system.processes import ProcessId, memory_gib
from azr.system.resources import host_memory
from azr.system.tracebacks import Raised
from azr.wording import counted

STEPS_AFTER_STOP = 3
"""A trainer that finishes this many steps after it was asked to stop does not listen."""
KEPT_SAMPLES, KEPT_DURATIONS = 2000, 50


def supervise(ctx: Context, request: TrainRequest) -> AttemptEnd:
    """Gives ``request`` to the trainer that waits, or starts one, and watches it. Nothing of it is left behind,
    whatever happens, unless it is kept for the next cycle (``ctx.waiting``).

    Raises:
        KeyboardInterrupt: the second Ctrl+C; the trainer has been ended immediately.
        OSError: the disk is full or read-only; the trainer has been ended.
    """
    if ctx.waiting is not None:
        request = replace(request, process=ctx.waiting.process.name)
    folder = ctx.run.attempt(request.cycle, request.attempt)
    write_config(folder / "config.yaml", ctx.config)
    write_versions(folder, ctx.versions)
    copy_identity(ctx.run, folder)
    loggers = _begin_loggers(ctx, request)
    try:
        watch = _AttemptWatch(ctx, request, loggers)
        return _run_attempt(ctx, request, watch)
    finally:
        for logger in loggers:
            logger.close()


def _begin_loggers(ctx: Context, request: TrainRequest) -> Sequence[Logger]:
    """A network that is down for a while does not end a run that has trained.

    Raises:
        ConfigError: one does not start, and no step is saved yet.
    """
    try:
        return ctx.parts.loggers(ctx.run, ctx.config, request.resume_step + 1)
    except ConfigError as error:
        if not request.resume_step:
            raise
        ctx.incident(
            "logger", f"{error}.", "Until the next start there is no logger; metrics.jsonl has everything."
        )
        return ()


def _run_attempt(ctx: Context, request: TrainRequest, watch: _AttemptWatch) -> AttemptEnd:
    trainer = _take_or_start(ctx, request)
    try:
        if request.process:
            trainer.go_on(request.cycle, request.attempt)
            write_request(ctx.run, request)
        end = watch.until_end(trainer)
        if watch.trainer_waits and end.kind is EndKind.FINISHED:
            due = bool(watch.stops) or end.judgement is not None
            keep(ctx, WaitingTrainer(trainer, request, watch.samples), due=due)
        return end
    finally:
        if ctx.waiting is None:
            end_trainer(ctx, trainer)


def _take_or_start(ctx: Context, request: TrainRequest) -> TrainerProcess:
    waiting, ctx.waiting = ctx.waiting, None
    if waiting is not None:
        return waiting.process
    write_request(ctx.run, request)
    return TrainerProcess(
        ctx.run,
        request.cycle,
        request.attempt,
        ctx.state.run_id,
        since_step=request.resume_step,
        command=ctx.parts.trainer_command,
        env=ctx.parts.trainer_env,
    )


class _AttemptWatch:
    """Begins to look before the trainer is started, so that nothing it writes is missed."""

    trainer: TrainerProcess

    def __init__(self, ctx: Context, request: TrainRequest, loggers: Sequence[Logger]) -> None:
        self.ctx, self.request = ctx, request
        self.loggers = list(loggers)
        self.config = ctx.campaign
        self.tail = MetricsTail(
            ctx.run.metrics, ctx.run.metrics.stat().st_size if ctx.run.metrics.exists() else 0
        )
        self.records: list[MetricsRecord] = read_metrics(ctx.run)
        self.changes = asked_otherwise(read_incidents(ctx.run))
        self.samples: list[MachineSample] = list(ctx.waiting.samples) if ctx.waiting else []
        self.deadlines = Deadlines(
            learnt_limits(self.config, ctx.state.durations_s),
            MONOTONIC(),
            first_step_limit_s=self.config.first_step_timeout_s,
            poll_s=self.config.poll_s,
        )

        self.stops: dict[StopReason, str] = {}
        self.stop_step = 0
        self.judgement: Judgement | None = None
        self.wrong_start = ""
        self.trainer_waits = False
        """It has finished, and would go on with the next cycle."""
        self.loop_pid: int | None = None
        self.sampled_s = float("-inf")
        self.has_trained = False
        self.checkpoint_mtime_ns = _mtime_ns(ctx)

    def until_end(self, trainer: TrainerProcess) -> AttemptEnd:
        self.trainer = trainer
        while True:
            status = self.trainer.poll()  # first, so that what it left behind is read below
            now_s = MONOTONIC()
            self.ctx.require_folder()
            beat = read_heartbeat(self.ctx.run)
            if beat is not None and not self._is_of_this_attempt(beat):
                beat = None
            if beat is not None:
                self.loop_pid = beat.pid
            self.deadlines.observe(beat, now_s)
            self.trainer_waits = status is None and self._waits(beat)
            self._take_durations()
            # looked for before the records, which are written first: each finds its score
            checkpoints = self._published()
            self._take_records()
            if checkpoints:
                self._take_checkpoints(checkpoints)
            if status is not None or self.trainer_waits:
                return self._exited(status or 0)
            end = self._judged() or self._stopped_at_the_start() or self._overdue(now_s)
            if end is not None:
                return end
            self._look_at_requests()
            self.trainer.register_processes()
            if now_s - self.sampled_s >= self.config.sample_s:
                self.sampled_s = now_s
                self._sample()
            self.ctx.show()
            time.sleep(self.config.poll_s)

    # What the trainer reports

    def _is_of_this_attempt(self, said: Heartbeat | MetricsRecord) -> bool:
        return (said.cycle, said.attempt) == (self.request.cycle, self.request.attempt)

    def _waits(self, beat: Heartbeat | None) -> bool:
        request = self.request
        if not request.wait_s or beat is None or beat.phase is not Phase.IDLE:
            return False
        return read_result(self.ctx.run, request.cycle, request.attempt) is not None

    def _take_durations(self) -> None:
        for kind, seconds in self.deadlines.take_measured():
            if kind == "start" and self.request.process:
                continue  # nothing was started; a limit learnt from this would end every real start
            known = self.ctx.state.durations_s
            latest = [*known.get(kind, []), round(seconds, 3)][-KEPT_DURATIONS:]
            self.ctx.note(durations_s={**known, kind: latest})
            self.deadlines.limits = learnt_limits(self.config, self.ctx.state.durations_s)

    def _take_records(self) -> None:
        new = [item for item in self.tail.new_records() if self._is_of_this_attempt(item)]
        for record in new:
            done = max(self.ctx.state.trained_step, self.request.resume_step)
            if self.has_trained and 0 < record.step <= done:
                continue  # read before: somebody has saved the file anew
            # Step 0 is what probes say before any training.
            due = record.step in (0, done + 1) or (self.has_trained and self.tail.shrank)
            if not due and not self.wrong_start:
                self.wrong_start = f"The trainer reported step {record.step} where step {done + 1} was due."
            self.records = effective_metrics([*self.records, record])
            self.ctx.note(trained_step=record.step)
            log(self.ctx, self.loggers, record)
            if judgement := ask_judges(self.ctx, asked_alike(self.records, self.changes), self.samples):
                self._follow(judgement)
        if new:
            self.tail.shrank = False
            if not self.has_trained:
                # what trainer and engine take shows only now; a short run has no other sample
                self.sampled_s = float("-inf")
                self.has_trained = True
            done, of = new[-1].step, self.request.last_step
            self.ctx.save(sentence=f"Training cycle {self.request.cycle}: step {done} of {of}.")

    def _follow(self, judgement: Judgement) -> None:
        if judgement.advice is Advice.RECYCLE:
            self._stop(StopReason.RECYCLE, judgement.sentence)
        elif judgement.advice is Advice.END_CYCLE:
            self.judgement = self.judgement or judgement
            self._stop(StopReason.STAGNATION, judgement.sentence)
        else:
            self.judgement = judgement

    def _published(self) -> list[Checkpoint]:
        """All checkpoints, where one was published since the last look."""
        mtime_ns = _mtime_ns(self.ctx)
        if mtime_ns == self.checkpoint_mtime_ns:
            return []
        self.checkpoint_mtime_ns = mtime_ns
        return list_checkpoints(self.ctx.run)

    def _take_checkpoints(self, checkpoints: list[Checkpoint]) -> None:
        """Notes and scores them, and deletes what retention does not keep."""
        best_step, best_score = best_checkpoint(
            (item.step for item in checkpoints), self.records, self.config.best_metric, self.changes
        )
        self.ctx.save(step=checkpoints[-1].step, best_step=best_step, best_score=best_score)
        prune(self.ctx, self.config.keep_last, protected=self._restoring)

    @property
    def _restoring(self) -> set[int]:
        """The checkpoint that the trainer has not restored yet."""
        return {self.request.resume_step} if self.loop_pid is None else set()

    # What ends an attempt

    def _judged(self) -> AttemptEnd | None:
        if self.wrong_start:
            sentence = f"{self.wrong_start} Resuming did not restore what the checkpoint holds."
            return AttemptEnd(EndKind.CRASHED, sentence, trusted=False)
        if self.judgement is not None and self.judgement.advice is Advice.ROLLBACK:
            return AttemptEnd(EndKind.UNHEALTHY, self.judgement.sentence, judgement=self.judgement)
        return None

    def _stopped_at_the_start(self) -> AttemptEnd | None:
        """Nothing is lost by not waiting for a start, which may hang."""
        if not self.stops or not self.deadlines.starting:
            return None
        stop = min(self.stops)
        return AttemptEnd(EndKind.STOPPED, self.stops[stop], stop)

    def _overdue(self, now_s: float) -> AttemptEnd | None:
        sentence = self.deadlines.overdue(now_s)
        if not sentence and self.stops and self.ctx.state.trained_step >= self.stop_step + STEPS_AFTER_STOP:
            sentence = f"The trainer continued for {STEPS_AFTER_STOP} steps after it was asked to stop."
        if not sentence:
            return None

        stacks = self.trainer.dump_stacks(self.loop_pid)
        where = where_it_hangs(read_tail(stacks)) if stacks else []
        shown = f"are in {stacks.relative_to(self.ctx.run.root)}" if stacks else "could not be obtained"
        sentence = f"{sentence} Its stacks {shown}{': ' + '; '.join(where) if where else ''}."
        if self.stops:  # it was to end anyway; it did so without the last checkpoint
            sentence += " It was ended without a last checkpoint."
            return AttemptEnd(EndKind.STOPPED, sentence, min(self.stops))
        fault = Fault(FaultKind.SLOW, "no step was finished in time") if self._is_starting else None
        return AttemptEnd(EndKind.HUNG, sentence, fault=fault)

    def _exited(self, status: int) -> AttemptEnd:
        result = read_result(self.ctx.run, self.request.cycle, self.request.attempt)
        if result is None or (result.outcome is not Ending.FAILED and status != 0):
            return AttemptEnd(EndKind.CRASHED, self._why(status), fault=self._early_fault(status))
        if end := self._judged():
            return end
        if result.outcome is Ending.FAILED:
            pointer = Raised("", result.reason).points_elsewhere  # its log knows more
            gave_up = f"The trainer gave up: {result.reason.rstrip('.')}. {self._where_its_log_is}"
            sentence = self._why(status) if pointer else gave_up
            if not result.retry:
                return AttemptEnd(EndKind.HOPELESS, sentence)
            return AttemptEnd(EndKind.CRASHED, sentence, fault=self._early_fault(status, result.reason))

        saved = [item.step for item in list_checkpoints(self.ctx.run)][-1:]
        if result.outcome is Ending.FINISHED:
            if saved != [self.request.last_step]:
                says = f"The trainer says it finished step {self.request.last_step}"
                found = f"step {saved[0]}" if saved else "none"
                return AttemptEnd(EndKind.CRASHED, f"{says}, but the newest checkpoint is {found}.")
            return AttemptEnd(EndKind.FINISHED, result.reason, judgement=self.judgement)

        if not self.stops:
            return AttemptEnd(EndKind.CRASHED, f"The trainer stopped unexpectedly: {result.reason}")
        stop = min(self.stops)
        return AttemptEnd(EndKind.STOPPED, self.stops[stop], stop, self.judgement)

    def _why(self, status: int) -> str:
        return f"{explain_exit(status, self.trainer.log)} {self._where_its_log_is}"

    @property
    def _where_its_log_is(self) -> str:
        return f"Its log is {self.trainer.log.relative_to(self.ctx.run.root)}."

    @property
    def _is_starting(self) -> bool:
        return self.ctx.state.trained_step <= self.trainer.since_step

    def _early_fault(self, status: int, reason: str = "") -> Fault | None:
        if not self._is_starting:
            return None
        return read_fault(status, "\n".join(read_tail(self.trainer.log, CAUSE_BYTES)), reason)

    # What the driver asks

    def _stop(self, reason: StopReason, sentence: str) -> None:
        if reason in self.stops:
            return
        if not self.stops:
            ask(self.ctx.run, self.request.cycle, self.request.attempt, STOP_FILE, sentence)
            self.stop_step = self.ctx.state.trained_step
        self.stops[reason] = sentence

    def _look_at_requests(self) -> None:
        ctx = self.ctx
        who = ctx.stop_asked()
        if who and StopReason.USER not in self.stops:
            what = "ending the trainer, which is still starting"
            if not self.deadlines.starting:
                what = "saving at the next step boundary. Ctrl+C again ends immediately, without saving"
            ctx.say(f"Stop requested ({who}): {what}.")
            self._stop(StopReason.USER, f"{STOPPED_BY} {who}.")

        ctx.take_budget_request()
        requests = read_requests(ctx.run)
        if requests.pause:
            self._stop(StopReason.PAUSE, "Paused by scripts/control.py.")
        if requests.checkpoint:
            ask(ctx.run, self.request.cycle, self.request.attempt, CHECKPOINT_FILE, "requested by the user")
            withdraw_control(ctx.run, Control.CHECKPOINT)
            action = "It is saved at the next step boundary."
            ctx.incident("checkpoint", "A checkpoint was requested.", action)

        if ctx.budget_left_s() <= 0:
            self._stop(StopReason.BUDGET, ctx.budget_is_used_up)
        done_here = ctx.state.trained_step - self.trainer.since_step
        every = self.config.recycle_every_steps
        if every and done_here >= every and ctx.state.trained_step < self.request.last_step:
            self._stop(StopReason.RECYCLE, f"Planned restart after {counted(done_here, 'step')}.")

    def _sample(self) -> None:
        ctx, state = self.ctx, self.ctx.state
        own, living = ProcessId.of(os.getpid()), self.trainer.registry.living()
        sample = MachineSample(
            unix_s=time.time(),
            cycle=state.cycle,
            attempt=state.attempt,
            step=state.trained_step,
            trainer_gib=round(memory_gib(living), 3),
            driver_gib=round(memory_gib([own] if own else []), 3),
            host_available_gib=round(host_memory().available / GIB, 3),
            disk_free_gib=round(free_gib(ctx.run.checkpoints), 3),
            vram_gib=used_vram_gib(),
            processes=len(living),
        )

        self.samples = [*self.samples, sample][-KEPT_SAMPLES:]
        append_jsonl(ctx.run.supervision, [asdict(sample)])
        ctx.save()

        try:
            make_room(ctx, keep_last=1, protected=self._restoring)
        except BudgetError as error:
            self._stop(StopReason.DISK, str(error))


def _mtime_ns(ctx: Context) -> int:
    try:
        return ctx.run.latest_checkpoint.stat().st_mtime_ns
    except OSError:
        return 0
