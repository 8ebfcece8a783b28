"""Gives programs to zygotes, puts their answers together, and replaces zygotes that die. Lives in the pool's thread."""

from __future__ import annotations

import contextlib
import itertools
import logging
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, replace

from azr.config.sandbox import SandboxConfig
from azr.errors import SandboxError
from azr.sandbox.job import CallResult, Job, JobResult, Profile, Status
from azr.sandbox.order import order_sensitive
from azr.sandbox.program import Program
from azr.sandbox.verdict import call_results, run_difference
from azr.sandbox.worker import ChildExit, Worker
from azr.sandbox.zygote import ENDED, WALL_STRETCH

MAX_CODE_CHARS = 200_000
MAX_INPUTS = 1024
MAX_ATTEMPTS = 3
"""Zygotes that may die with a job before the job is blamed."""
MAX_KERNEL_KILLS = 2
"""Times that a program killed by the kernel below its limits (when the machine is out of memory) is run again."""
MAX_DEATHS = 20
DEATHS_WINDOW_S = 60.0
SILENCE_S = 60.0
"""Grace of a zygote beyond the limits of what it runs, before it counts as hung."""
PATIENCE_LOOK_S = 1.0
"""How often the zygotes that say nothing are looked at."""
SLUGGISH_S = 0.3
"""A zygote that said nothing for so long gets no more than it can start at once: its programs may all be hanging."""

_log = logging.getLogger(__name__)


@dataclass
class Ticket:
    """A submitted job on its way through one or more runs."""

    job: Job
    future: Future[JobResult]
    runs: list[tuple[CallResult, ...]] = field(default_factory=list)
    seeds: set[int] = field(default_factory=set)
    """Hash seeds that have run it."""
    attempts: int = 0
    kernel_kills: int = 0
    offset: int = 0
    """Inputs before this one have their final result in ``done`` (jobs with ``every_input``)."""
    done: tuple[CallResult, ...] = ()


@dataclass(frozen=True)
class _Sent:
    ticket: Ticket
    program: Program
    worker: Worker


class Dispatcher:
    """
    Args:
        workers: changed in place when one has to be replaced.
        wake: becomes readable when there is something in the inbox.
        take_inbox: returns new tickets; raises SandboxError to end the loop.
    """

    def __init__(
        self,
        config: SandboxConfig,
        workers: list[Worker],
        wake: int,
        take_inbox: Callable[[], list[Ticket]],
    ) -> None:
        self.config = config
        self.workers = workers
        self.wake = wake
        self.take_inbox = take_inbox
        self.fresh: deque[Ticket] = deque()
        self.backlog: dict[int, deque[Ticket]] = {worker.seed: deque() for worker in workers}
        """Tickets that need this very seed next, because others have run them already."""
        self.sent: dict[int, _Sent] = {}
        self.deaths: deque[float] = deque()
        self.restarts = 0
        self.next_id = 0
        self.poll = select.poll()
        self.watched: dict[int, int] = {}
        """Descriptors in the poll object, and for what."""

    def loop(self) -> None:
        """Runs until ``take_inbox`` raises; every job that waits then fails with it."""
        self.poll.register(self.wake, select.POLLIN)
        patience_due_s = time.monotonic() + PATIENCE_LOOK_S
        try:
            while True:
                wanted = {worker.results: select.POLLIN for worker in self.workers}
                for worker in self.workers:
                    wanted[worker.commands] = select.POLLOUT if worker.outgoing else 0
                if wanted != self.watched:
                    for descriptor, events in wanted.items():
                        self.poll.register(descriptor, events)
                    self.watched = wanted

                ready = {descriptor for descriptor, _ in self.poll.poll(1000)}
                for ticket in self.take_inbox():
                    self.admit(ticket)

                impatient = time.monotonic() >= patience_due_s
                if impatient:
                    patience_due_s = time.monotonic() + PATIENCE_LOOK_S
                for worker in list(self.workers):
                    if impatient or worker.results in ready or worker.commands in ready:
                        self.listen(worker)
                self.feed()
        finally:
            sent = (each.ticket for each in self.sent.values())
            for ticket in itertools.chain(sent, self.fresh, *self.backlog.values()):
                fail(ticket, SandboxError("the sandbox was closed"))

    def listen(self, worker: Worker) -> None:
        now = time.monotonic()
        try:
            worker.flush()
            reports = worker.receive()
        except (BrokenPipeError, ValueError):
            reports = None
        if reports is None:
            self.replace_worker(worker, "it died")
            return

        if reports:
            worker.heard_s = now
        for report in reports:
            self.take(report, worker)
        if worker.outstanding and now - worker.heard_s > self.patience_s(worker):
            self.replace_worker(worker, "it hung")

    def patience_s(self, worker: Worker) -> float:
        running = [sent.program for sent in self.sent.values() if sent.worker is worker]
        limits_s = (program.wall_s * program.repeats * max(1, len(program.inputs)) for program in running)
        return SILENCE_S + WALL_STRETCH * max(limits_s, default=0.0)

    def admit(self, ticket: Ticket) -> None:
        job = ticket.job
        if type(job.code) is not str or len(job.code) > MAX_CODE_CHARS:
            problem = f"a program of more than {MAX_CODE_CHARS} characters"
        elif job.entry and not job.inputs:
            problem = "a job with an entry function needs at least one input"
        elif len(job.inputs) > MAX_INPUTS:
            problem = f"more than {MAX_INPUTS} inputs"
        else:
            self.fresh.append(ticket)
            return
        call = CallResult(Status.REFUSED, reason=problem)
        self.deliver(ticket, tuple([call] * max(1, len(job.inputs))))

    # ------------------------------------------------------------------------------------------------- sending

    def feed(self) -> None:
        """Keeps as many programs with each zygote as it runs at a time, and as many more for it to start at once."""
        now = time.monotonic()
        while self.fresh or any(self.backlog.values()):
            worker = self.next_worker(now)
            if worker is None:
                return
            backlog = self.backlog[worker.seed]
            self.send(worker, backlog.popleft() if backlog else self.fresh.popleft(), now)

    def next_worker(self, now: float) -> Worker | None:
        """The least loaded of those that have room and something to run."""
        able = (
            worker
            for worker in self.workers
            if (self.fresh or self.backlog[worker.seed]) and has_room(worker, now)
        )
        return min(able, key=lambda worker: worker.outstanding, default=None)

    def send(self, worker: Worker, ticket: Ticket, now: float) -> None:
        program = self.program(ticket)
        self.sent[program.job_id] = _Sent(ticket, program, worker)
        if not worker.outstanding:
            worker.heard_s = now
        worker.outstanding += 1
        try:
            worker.send(program)
        except BrokenPipeError:
            self.replace_worker(worker, "it died")

    def program(self, ticket: Ticket) -> Program:
        job = ticket.job
        limits = job.limits or self.config.limits
        self.next_id += 1
        evaluate = job.profile is Profile.EVALUATE
        return Program(
            job_id=self.next_id,
            code=job.code,
            inputs=tuple(job.inputs[ticket.offset :]),
            entry=job.entry or "",
            evaluate=evaluate,
            repeats=2 if job.verify and not evaluate else 1,
            reverse=bool(ticket.runs),
            cpu_s=limits.cpu_s,
            wall_s=limits.wall_s,
            memory_mib=limits.memory_mib,
            output_kib=limits.output_kib,
            value_chars=limits.value_chars,
        )

    # ----------------------------------------------------------------------------------------------- receiving

    def take(self, report: ChildExit, worker: Worker) -> None:
        sent = self.sent.pop(report.job_id, None)
        if sent is None:
            raise SandboxError("a zygote reported a program that it was not given")
        worker.outstanding -= 1

        ticket = sent.ticket
        calls = call_results(report, sent.program)
        if ticket.kernel_kills < MAX_KERNEL_KILLS and killed_by_kernel(report, sent.program, calls):
            ticket.kernel_kills += 1
            self.again(ticket)
        else:
            self.advance(ticket, worker.seed, calls)

    def advance(self, ticket: Ticket, seed: int, calls: tuple[CallResult, ...]) -> None:
        """Decides what one run of a job means: another run, or the end."""
        if ticket.runs and any(map(run_difference, ticket.runs[0], calls)):
            self.deliver(ticket, tuple(map(merge_runs, ticket.runs[0], calls)))
            return
        ticket.runs.append(calls)
        ticket.seeds.add(seed)
        if len(ticket.seeds) < self.seeds_needed(ticket):
            target = min(self.backlog.keys() - ticket.seeds, key=lambda other: len(self.backlog[other]))
            self.backlog[target].append(ticket)
            return
        self.finish(ticket, ticket.runs[0])

    def again(self, ticket: Ticket) -> None:
        """Forgets the runs of a job and starts over."""
        ticket.runs.clear()
        ticket.seeds.clear()
        self.fresh.append(ticket)

    def seeds_needed(self, ticket: Ticket) -> int:
        """How many hash seeds must have run it, given what its first run said."""
        job = ticket.job
        if job.profile is Profile.EVALUATE or not job.entry or not job.verify:
            return 1
        statuses = {call.status for call in ticket.runs[0]}
        if not statuses <= ({Status.OK, Status.ERROR} if job.verify_errors else {Status.OK}):
            return 1
        return min(len(self.backlog), self.config.order_seeds if order_sensitive(job.code) else 2)

    def finish(self, ticket: Ticket, calls: tuple[CallResult, ...]) -> None:
        ended = tuple(itertools.takewhile(lambda call: not call.reason.startswith("not run"), calls))
        if ticket.job.every_input and len(ended) < len(calls):
            ticket.done += ended
            ticket.offset += len(ended)
            self.again(ticket)
        else:
            self.deliver(ticket, ticket.done + calls)

    def deliver(self, ticket: Ticket, calls: tuple[CallResult, ...]) -> None:
        with contextlib.suppress(InvalidStateError):  # the waiter has gone
            ticket.future.set_result(JobResult.of(calls))

    # ------------------------------------------------------------------------------------------ own misfortunes

    def replace_worker(self, worker: Worker, what: str) -> None:
        """Starts another zygote in the place of one that died or hung, and gives its programs out again."""
        now = time.monotonic()
        self.deaths.append(now)
        self.restarts += 1
        while self.deaths and now - self.deaths[0] > DEATHS_WINDOW_S:
            self.deaths.popleft()
        _log.warning("a sandbox process was replaced: %s (%d in the last minute)", what, len(self.deaths))
        for descriptor in (worker.results, worker.commands):
            with contextlib.suppress(KeyError):  # one that died at once, before the next poll
                self.poll.unregister(descriptor)
        self.watched = {}
        worker.kill()
        if len(self.deaths) > MAX_DEATHS:
            raise SandboxError(
                f"sandbox processes died {MAX_DEATHS} times within a minute; dmesg may hold the reason"
            )

        self.workers.remove(worker)
        fresh_one = Worker(self.config, worker.seed, worker.slots)
        self.workers.append(fresh_one)
        fresh_one.wait_ready()

        for job_id in [job_id for job_id, sent in self.sent.items() if sent.worker is worker]:
            ticket = self.sent.pop(job_id).ticket
            ticket.attempts += 1
            if ticket.attempts >= MAX_ATTEMPTS:
                call = CallResult(
                    Status.KILLED,
                    reason=f"the sandbox's own process died or hung {MAX_ATTEMPTS} times while it ran this",
                )
                self.deliver(
                    ticket, ticket.done + tuple([call] * max(1, len(ticket.job.inputs) - ticket.offset))
                )
            else:
                self.again(ticket)


def has_room(worker: Worker, now: float) -> bool:
    sluggish = worker.outstanding and now - worker.heard_s > SLUGGISH_S
    return worker.outstanding < (worker.slots if sluggish else 2 * worker.slots)


def killed_by_kernel(report: ChildExit, program: Program, calls: tuple[CallResult, ...]) -> bool:
    """Whether a program was killed at work though neither we nor its CPU limit did it. Mostly the machine ran
    out of memory, and the kernel took whoever was there: that says nothing about the program."""
    unfinished = any(call.status is Status.KILLED for call in calls)
    return (
        unfinished
        and report.verdict == ENDED
        and report.signal == signal.SIGKILL
        and report.cpu_s < program.cpu_s
    )


def merge_runs(left: CallResult, right: CallResult) -> CallResult:
    """One call in two runs that need not agree."""
    different = run_difference(left, right)
    if not different:
        return left
    for call in (left, right):
        if call.status in (Status.TIMEOUT, Status.KILLED, Status.BLOCKED):
            return call
    return replace(
        left,
        status=Status.NONDETERMINISTIC,
        value=None,
        exception=left.exception or right.exception,
        reason=different,
    )


def fail(ticket: Ticket, error: SandboxError) -> None:
    with contextlib.suppress(InvalidStateError):
        ticket.future.set_exception(error)
