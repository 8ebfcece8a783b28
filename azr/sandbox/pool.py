"""The public face: a pool of zygotes behind ``run`` and ``run_many``, driven by one thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, replace
from types import TracebackType

from azr.config.sandbox import SandboxConfig
from azr.errors import SandboxError
from azr.host_memory import host_memory
from azr.sandbox.job import CallResult, Job, JobResult, Profile, Status
from azr.sandbox.program import Program
from azr.sandbox.screen import COMPILE_EARLY, HARMLESS, ORDER_SENSITIVE
from azr.sandbox.stats import Stats, StatsRecorder
from azr.sandbox.verdict import call_results, disagreement
from azr.sandbox.worker import Report, Worker
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
SCREENED_KEPT = 4096
SLUGGISH_S = 0.3

_log = logging.getLogger(__name__)


@dataclass
class _Ticket:
    """A submitted job on its way through one or more runs."""

    job: Job
    future: Future[JobResult]
    submitted_s: float
    runs: list[tuple[CallResult, ...]] = field(default_factory=list)
    seeds: set[int] = field(default_factory=set)
    """Hash seeds that have run it."""
    shared: bool = False
    """One of the runs shared a process with other programs."""
    alone: bool = False
    """May not share a process any more."""
    harmless: bool | None = None
    """What the screen said; None before the first run."""
    order_sensitive: bool = True
    compile_early: bool = False
    attempts: int = 0
    kernel_kills: int = 0
    offset: int = 0
    """Inputs before this one have their final result in ``done`` (jobs with ``every_input``)."""
    done: tuple[CallResult, ...] = ()


class Sandbox:
    """Runs untrusted programs in confined processes. Thread-safe; one per process is enough.

    Raises (from the constructor):
        ConfigError: the configuration is out of range.
        SandboxError: this machine cannot confine programs; the message says what it lacks.
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self.config.validate()
        self._owner = os.getpid()
        self._recorder = StatsRecorder()
        self._lock = threading.Lock()
        self._inbox: deque[_Ticket] = deque()
        self._closing = False
        self._failure: SandboxError | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        ready: Future[None] = Future()
        # the thread starts the zygotes itself: the kernel ends them when the thread that started them ends
        self._thread = threading.Thread(target=self._main, args=(ready,), name="azr-sandbox", daemon=True)
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self._thread.join()
            raise

    # ------------------------------------------------------------------------------------------------- public

    async def run(self, job: Job) -> JobResult:
        """Runs one job; await it from any event loop.

        Raises:
            SandboxError: the sandbox is closed or its own machinery failed. Nothing a program does raises.
        """
        return await asyncio.wrap_future(self.submit(job))

    def submit(self, job: Job) -> Future[JobResult]:
        """Like ``run``, for threads: a future that can be waited on."""
        if os.getpid() != self._owner:
            raise SandboxError("this Sandbox belongs to the process that made it; make one from the same SandboxConfig here")
        future: Future[JobResult] = Future()
        ticket = _Ticket(job, future, time.monotonic())
        with self._lock:
            if self._failure is not None or self._closing:
                raise self._failure or SandboxError("the sandbox is closed")
            self._recorder.submitted()
            empty = not self._inbox
            self._inbox.append(ticket)
        if empty:
            self._wake()
        return future

    def run_many(self, jobs: Iterable[Job]) -> Iterator[tuple[int, JobResult]]:
        """Yields (index, result) as jobs finish; reads ``jobs`` no further ahead than keeps the pool busy.

        Raises:
            SandboxError: as ``run``.
        """
        finished: queue.SimpleQueue[tuple[int, Future[JobResult]]] = queue.SimpleQueue()
        window = 4 * max(self.config.batch_programs, self.config.slots) * len(self._plan)
        source = enumerate(jobs)
        running = 0
        exhausted = False
        while True:
            while not exhausted and running < window:
                item = next(source, None)
                if item is None:
                    exhausted = True
                    break
                index, job = item
                self.submit(job).add_done_callback(lambda future, index=index: finished.put((index, future)))
                running += 1
            if not running:
                return
            index, future = finished.get()
            running -= 1
            yield index, future.result()

    def stats(self) -> Stats:
        """Counters since the start, for metrics."""
        return self._recorder.snapshot()

    def close(self) -> None:
        """Ends every process of the sandbox; jobs still running fail with SandboxError. May be called twice."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._closing = True
        self._wake()
        self._thread.join(timeout=60)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> str:
        raise SandboxError("a Sandbox cannot be sent to another process; send its SandboxConfig and make one there")

    @property
    def workers(self) -> int:
        return len(self._plan)

    @property
    def layers(self) -> list[str]:
        """Names of the kernel's layers in force."""
        return list(self._workers[0].hello["layers"])

    @property
    def python(self) -> str:
        """Version of the interpreter that runs programs; verified outputs hold for its minor version."""
        return str(self._workers[0].hello["python"])

    def process_ids(self) -> list[int]:
        """Processes that the pool started; programs run below them."""
        return [worker.process.pid for worker in self._workers]

    # ------------------------------------------------------------------------------------------ the pool's thread

    def _wake(self) -> None:
        try:
            os.write(self._wake_writer, b"x")
        except (BlockingIOError, OSError):
            return

    def _main(self, ready: Future[None]) -> None:
        self._workers: list[Worker] = []
        try:
            try:
                self._plan = plan_workers(self.config)
                for seed, slots in self._plan:
                    self._workers.append(Worker(self.config, seed, slots))
                for worker in self._workers:
                    worker.wait_ready()
            except BaseException as error:  # noqa: BLE001 - handed to the constructor, which raises it
                ready.set_exception(error)
                return
            ready.set_result(None)
            try:
                Dispatcher(self, self._workers).loop()
            except SandboxError as error:
                self._failure = error
            except Exception as error:  # noqa: BLE001 - no job may wait for ever because of our own mistake
                _log.exception("the sandbox's own thread failed")
                self._failure = SandboxError(f"the sandbox's own thread failed: {type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._closing = True
                waiting = list(self._inbox)
                self._inbox.clear()
            for worker in self._workers:
                worker.kill()
            for ticket in waiting:
                fail(ticket, self._failure or SandboxError("the sandbox was closed"))
            with self._lock:
                reader, writer, self._wake_reader, self._wake_writer = self._wake_reader, self._wake_writer, -1, -1
            os.close(reader)
            os.close(writer)

    def _take_inbox(self) -> list[_Ticket]:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)
        with self._lock:
            tickets = list(self._inbox)
            self._inbox.clear()
        return tickets


class Dispatcher:
    """Gives programs to zygotes and puts their answers together. Lives in the pool's thread."""

    def __init__(self, sandbox: Sandbox, workers: list[Worker]) -> None:
        self.sandbox = sandbox
        self.config = sandbox.config
        self.recorder = sandbox._recorder
        self.workers = workers
        self.fresh: deque[_Ticket] = deque()
        self.backlog: dict[int, deque[_Ticket]] = {worker.seed: deque() for worker in workers}
        """Tickets that need this very seed next, because others have run them already."""
        self.sent: dict[int, tuple[_Ticket, Program, Worker, float]] = {}
        self.outstanding: dict[int, int] = {id(worker): 0 for worker in workers}
        self.heard_s: dict[int, float] = {id(worker): time.monotonic() for worker in workers}
        self.deaths: deque[float] = deque()
        self.next_id = 0
        self.watched: dict[int, int] = {}
        """Descriptors in the poll object, and for what."""
        self.screened: dict[str, int] = {}
        """What the screen said of a program: the same one comes back with answer after answer."""
        self.seeds = sorted(self.backlog)

    def loop(self) -> None:
        poll = select.poll()
        wake = self.sandbox._wake_reader
        poll.register(wake, select.POLLIN)
        patience_due_s = time.monotonic() + PATIENCE_LOOK_S
        try:
            while True:
                wanted = {worker.results: select.POLLIN for worker in self.workers}
                wanted.update({worker.commands: select.POLLOUT if worker.outgoing else 0 for worker in self.workers})
                if wanted != self.watched:
                    for descriptor, events in wanted.items():
                        poll.register(descriptor, events)
                    self.watched = wanted
                ready = {descriptor for descriptor, _ in poll.poll(1000)}
                if self.sandbox._closing:
                    raise SandboxError("the sandbox was closed")
                if wake in ready:
                    for ticket in self.sandbox._take_inbox():
                        self.admit(ticket)
                impatient = time.monotonic() >= patience_due_s
                if impatient:
                    patience_due_s = time.monotonic() + PATIENCE_LOOK_S
                for worker in list(self.workers):
                    if impatient or worker.results in ready or worker.commands in ready:
                        self.listen(worker, poll)
                self.feed(poll)
        finally:
            error = SandboxError("the sandbox was closed")
            for ticket, *_ in self.sent.values():
                fail(ticket, error)
            for waiting in (self.fresh, *self.backlog.values()):
                for ticket in waiting:
                    fail(ticket, error)

    def listen(self, worker: Worker, poll: select.poll) -> None:
        now = time.monotonic()
        try:
            worker.flush()
            reports = worker.receive()
        except (BrokenPipeError, ValueError):
            reports = None
        if reports is None:
            self.replace_worker(worker, poll, "it died")
            return
        if reports:
            self.heard_s[id(worker)] = now
        for report in reports:
            self.take(report, worker)
        if self.outstanding[id(worker)] and now - self.heard_s[id(worker)] > self.patience_s(worker):
            self.replace_worker(worker, poll, "it hung")

    def patience_s(self, worker: Worker) -> float:
        running = [program for _, program, owner, _ in self.sent.values() if owner is worker]
        longest = max((program.wall_s * program.repeats * max(1, len(program.inputs)) for program in running), default=0.0)
        return SILENCE_S + WALL_STRETCH * longest

    def admit(self, ticket: _Ticket) -> None:
        job = ticket.job
        problem = ""
        if type(job.code) is not str or len(job.code) > MAX_CODE_CHARS:
            problem = f"a program of more than {MAX_CODE_CHARS} characters"
        elif job.entry and not job.inputs:
            problem = "a job with an entry function needs at least one input"
        elif len(job.inputs) > MAX_INPUTS:
            problem = f"more than {MAX_INPUTS} inputs"
        if problem:
            call = CallResult(Status.REFUSED, reason=problem)
            self.deliver(ticket, tuple([call] * max(1, len(job.inputs))))
        else:
            ticket.alone = self.config.batch_programs == 1 or job.profile is Profile.EVALUATE or not job.entry
            flags = self.screened.get(job.code)
            if flags is not None:
                self.know(ticket, flags)
            elif len(self.screened) >= SCREENED_KEPT:
                self.screened.clear()
            self.fresh.append(ticket)

    # ------------------------------------------------------------------------------------------------- sending

    def feed(self, poll: select.poll) -> None:
        """Fills the zygotes, the least loaded first."""
        now = time.monotonic()
        while True:
            moved = False
            for worker in sorted(self.workers, key=lambda item: self.outstanding[id(item)]):
                group = self.group_for(worker, now)
                if group:
                    self.send(worker, group, now, poll)
                    moved = True
            if not moved:
                return

    def group_for(self, worker: Worker, now: float) -> list[_Ticket]:
        backlog = self.backlog[worker.seed]
        waiting = len(backlog) + len(self.fresh)
        if not waiting:
            return []
        batch = self.config.batch_programs
        busy = self.outstanding[id(worker)]
        sluggish = busy and now - self.heard_s[id(worker)] > SLUGGISH_S
        if batch == 1:
            # in groups, too: what a zygote does between two forks copies memory that it shares with running programs
            batch = worker.slots
            room = (batch if sluggish else 3 * batch) - busy
            if not sluggish and room < batch:
                return []
        else:
            room = (worker.slots if sluggish else 2 * batch) - busy
        peers = sum(1 for item in self.workers if item.seed == worker.seed)
        share = -(-len(backlog) // peers) + -(-len(self.fresh) // len(self.workers))
        size = min(room, batch, max(1, share))
        group: list[_Ticket] = []
        while len(group) < size and (backlog or self.fresh):
            group.append(backlog.popleft() if backlog else self.fresh.popleft())
        return group

    def send(self, worker: Worker, group: list[_Ticket], now: float, poll: select.poll) -> None:
        programs = []
        for ticket in group:
            program = self.program(ticket)
            self.sent[program.job_id] = (ticket, program, worker, now)
            programs.append(program)
        # the second run of neighbours is in the other order, so that whoever changes the process shows
        if group[0].runs:
            programs.reverse()
        if not self.outstanding[id(worker)]:
            self.heard_s[id(worker)] = now
        self.outstanding[id(worker)] += len(group)
        try:
            worker.send(programs)
        except BrokenPipeError:
            self.replace_worker(worker, poll, "it died")

    def program(self, ticket: _Ticket) -> Program:
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
            may_batch=not ticket.alone and ticket.harmless is not False,
            screen=ticket.harmless is None and ticket.attempts == 0 and not evaluate and bool(job.entry),
            compile_early=ticket.compile_early and ticket.attempts == 0,
            cpu_s=limits.cpu_s,
            wall_s=limits.wall_s,
            memory_mib=limits.memory_mib,
            output_kib=limits.output_kib,
            value_chars=limits.value_chars,
        )

    # ----------------------------------------------------------------------------------------------- receiving

    def take(self, report: Report, worker: Worker) -> None:
        entries = [self.sent.pop(job_id, None) for job_id in report.job_ids]
        known = [entry for entry in entries if entry is not None]
        if len(known) != len(entries):
            raise SandboxError("a zygote reported programs that it was not given")
        self.outstanding[id(worker)] -= len(known)
        results = call_results(report, [program for _, program, _, _ in known])
        shared = len(known) > 1
        for (ticket, program, _, _), flags, calls in zip(known, report.flags, results, strict=True):
            if program.screen:
                self.screened[program.code] = flags
                self.know(ticket, flags)
            if not shared and ticket.kernel_kills < MAX_KERNEL_KILLS and killed_by_kernel(report, program, calls):
                ticket.kernel_kills += 1
                ticket.alone = True
                self.again(ticket)
            else:
                self.advance(ticket, worker.seed, calls, shared)

    def know(self, ticket: _Ticket, flags: int) -> None:
        ticket.harmless = bool(flags & HARMLESS)
        ticket.order_sensitive = bool(flags & ORDER_SENSITIVE)
        ticket.compile_early = bool(flags & COMPILE_EARLY)

    def advance(self, ticket: _Ticket, seed: int, calls: tuple[CallResult, ...], shared: bool) -> None:
        """Decides what one run of a job means: another run, or the end."""
        ticket.shared |= shared
        failed = any(not call.ok for call in calls)
        different = ""
        if ticket.runs:
            different = next((text for text in map(disagreement, ticket.runs[0], calls) if text), "")
        if ticket.shared and (failed or different):
            # whatever is odd about a shared run is judged again in a process of its own
            if not calls[0].reason.startswith("not run") or not calls[-1].reason.startswith("not run"):
                ticket.alone = True
            self.again(ticket)
            return
        if different:
            self.deliver(ticket, tuple(map(merge, ticket.runs[0], calls)))
            return
        ticket.runs.append(calls)
        ticket.seeds.add(seed)
        if len(ticket.seeds) < self.needed(ticket, failed):
            target = min((other for other in self.seeds if other not in ticket.seeds), key=lambda other: len(self.backlog[other]))
            self.backlog[target].append(ticket)
            return
        self.finish(ticket, calls if len(ticket.runs) == 1 else ticket.runs[0])

    def again(self, ticket: _Ticket) -> None:
        """Forgets the runs of a job and starts anew."""
        ticket.runs.clear()
        ticket.seeds.clear()
        ticket.shared = False
        self.fresh.append(ticket)

    def needed(self, ticket: _Ticket, failed: bool) -> int:
        """How many hash seeds must have run it, given what is known."""
        job = ticket.job
        if job.profile is Profile.EVALUATE or not job.entry:
            return 1
        if not job.verify:
            return 2 if ticket.shared else 1
        if failed and not (job.verify_errors and all(call.status in (Status.OK, Status.ERROR) for call in ticket.runs[0])):
            return 1
        return min(len(self.seeds), self.config.order_seeds if ticket.order_sensitive else 2)

    def finish(self, ticket: _Ticket, calls: tuple[CallResult, ...]) -> None:
        job = ticket.job
        if job.every_input and any(call.reason.startswith("not run") for call in calls):
            first = next(index for index, call in enumerate(calls) if call.reason.startswith("not run"))
            ticket.done += calls[:first]
            ticket.offset += first
            ticket.alone = True
            self.again(ticket)
            return
        self.deliver(ticket, ticket.done + calls)

    def deliver(self, ticket: _Ticket, calls: tuple[CallResult, ...]) -> None:
        result = JobResult.of(calls)
        self.recorder.finished(result, time.monotonic() - ticket.submitted_s)
        try:
            ticket.future.set_result(result)
        except InvalidStateError:
            return  # the waiter has gone

    # ------------------------------------------------------------------------------------------ own misfortunes

    def replace_worker(self, worker: Worker, poll: select.poll, what: str) -> None:
        """Starts another zygote in the place of one that died or hung, and gives its programs out again."""
        now = time.monotonic()
        self.deaths.append(now)
        self.recorder.restarted()
        while self.deaths and now - self.deaths[0] > DEATHS_WINDOW_S:
            self.deaths.popleft()
        _log.warning("a sandbox process was replaced: %s (%d in the last minute)", what, len(self.deaths))
        for descriptor in (worker.results, worker.commands):
            poll.unregister(descriptor)
        self.watched = {}
        worker.kill()
        if len(self.deaths) > MAX_DEATHS:
            raise SandboxError(f"sandbox processes died {MAX_DEATHS} times within a minute; dmesg may hold the reason")
        self.workers.remove(worker)
        del self.outstanding[id(worker)], self.heard_s[id(worker)]
        fresh_one = Worker(self.config, worker.seed, worker.slots)
        self.workers.append(fresh_one)
        self.outstanding[id(fresh_one)] = 0
        self.heard_s[id(fresh_one)] = now
        fresh_one.wait_ready()
        for job_id in [job_id for job_id, entry in self.sent.items() if entry[2] is worker]:
            ticket = self.sent.pop(job_id)[0]
            ticket.attempts += 1
            ticket.alone = True
            if ticket.attempts >= MAX_ATTEMPTS:
                call = CallResult(Status.KILLED, reason=f"the sandbox's own process died or hung {MAX_ATTEMPTS} times while it ran this")
                self.deliver(ticket, ticket.done + tuple([call] * max(1, len(ticket.job.inputs) - ticket.offset)))
            else:
                self.again(ticket)


def killed_by_kernel(report: Report, program: Program, calls: tuple[CallResult, ...]) -> bool:
    """Whether a program was killed at work though neither we nor its CPU limit did it. Mostly the machine ran out of memory,
    and the kernel took whoever was there: that says nothing about the program."""
    unfinished = any(call.status is Status.KILLED for call in calls)
    return unfinished and report.verdict == ENDED and report.signal == signal.SIGKILL and report.cpu_s < program.cpu_s


def merge(left: CallResult, right: CallResult) -> CallResult:
    """One call in two runs that need not agree."""
    different = disagreement(left, right)
    if not different:
        return left
    for call in (left, right):
        if call.status in (Status.TIMEOUT, Status.KILLED, Status.BLOCKED):
            return call
    return replace(left, status=Status.NONDETERMINISTIC, value=None, exception=left.exception or right.exception, reason=different)


def fail(ticket: _Ticket, error: SandboxError) -> None:
    try:
        ticket.future.set_exception(error)
    except InvalidStateError:
        return


def plan_workers(config: SandboxConfig) -> list[tuple[int, int]]:
    """(hash seed, slots) of each zygote, from the cores and the memory that are left over."""
    cores = len(os.sched_getaffinity(0))
    count = config.workers
    if count is None:
        spare = max(1, cores - config.reserved_cores)
        count = min(16, max(config.order_seeds, spare))
    seeds = max(2, min(config.order_seeds, count))
    memory_mib = available_memory_mib() * config.memory_share
    slots = max(1, min(config.slots, int(memory_mib / count / config.limits.memory_mib)))
    return [(index % seeds + 1, slots) for index in range(count)]


def available_memory_mib() -> float:
    """What can still be claimed here, memory groups of a container included."""
    return host_memory().available / 2**20
