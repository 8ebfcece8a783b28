"""The public face: a pool of zygotes behind ``run`` and ``run_many``, driven by one thread."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future

from azr.config.sandbox import SandboxConfig
from azr.errors import SandboxError
from azr.sandbox.dispatch import Dispatcher, Ticket, fail
from azr.sandbox.job import Job, JobResult
from azr.sandbox.worker import Worker
from azr.system.resources import host_memory, usable_cores

_log = logging.getLogger(__name__)


class Sandbox(contextlib.AbstractContextManager["Sandbox"]):
    """Runs untrusted programs in confined processes. Thread-safe; one per process is enough.

    Raises (from the constructor):
        ConfigError: the configuration is out of range.
        SandboxError: this machine cannot confine programs; the message says what it lacks.
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self.config.validate()
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._inbox: deque[Ticket] = deque()
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
            raise SandboxError(
                "this Sandbox belongs to the process that made it; make one from the same SandboxConfig here"
            )
        future: Future[JobResult] = Future()
        ticket = Ticket(job, future)
        with self._lock:
            if self._failure is not None or self._closing:
                raise self._ended()
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
        window = 4 * self.config.slots * len(self._plan)
        source = enumerate(jobs)
        running = 0
        while True:
            for index, job in itertools.islice(source, window - running):
                self.submit(job).add_done_callback(lambda future, index=index: finished.put((index, future)))
                running += 1
            if not running:
                return
            index, future = finished.get()
            running -= 1
            yield index, future.result()

    def close(self) -> None:
        """Ends every process of the sandbox; jobs still running fail with SandboxError. May be called twice."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._closing = True
        self._wake()
        self._thread.join(timeout=60)

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> str:
        raise SandboxError(
            "a Sandbox cannot be sent to another process; send its SandboxConfig and make one there"
        )

    @property
    def layers(self) -> list[str]:
        """Names of the kernel's layers in force."""
        return list(self._workers[0].hello["layers"])

    @property
    def python(self) -> str:
        """Version of the interpreter that runs programs; verified outputs hold for its minor version."""
        return str(self._workers[0].hello["python"])

    @property
    def restarts(self) -> int:
        """Zygotes that died or hung and were replaced; anything but 0 is worth a look."""
        return self._dispatcher.restarts

    def process_ids(self) -> list[int]:
        """Processes that the pool started; programs run below them."""
        return [worker.process.pid for worker in self._workers]

    # ------------------------------------------------------------------------------------------ the pool's thread

    def _ended(self) -> SandboxError:
        # a new one each time: an exception that is raised again keeps the tracebacks of all times before
        error = SandboxError(str(self._failure or "the sandbox is closed"))
        error.__cause__ = self._failure
        return error

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_writer, b"x")

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
            self._dispatcher = Dispatcher(self.config, self._workers, self._wake_reader, self._take_inbox)
            ready.set_result(None)
            try:
                self._dispatcher.loop()
            except SandboxError as error:
                self._failure = error
            except Exception as error:  # noqa: BLE001 - no job may wait for ever because of our own mistake
                _log.exception("the sandbox's own thread failed")
                self._failure = SandboxError(
                    f"the sandbox's own thread failed: {type(error).__name__}: {error}"
                )
        finally:
            with self._lock:
                self._closing = True
                waiting = list(self._inbox)
                self._inbox.clear()
            for worker in self._workers:
                worker.kill()
            for ticket in waiting:
                fail(ticket, self._ended())
            with self._lock:
                ends = self._wake_reader, self._wake_writer
                self._wake_reader = self._wake_writer = -1
            for end in ends:
                os.close(end)

    def _take_inbox(self) -> list[Ticket]:
        """Jobs that came in.

        Raises:
            SandboxError: the sandbox was closed.
        """
        if self._closing:
            raise SandboxError("the sandbox was closed")
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)
        with self._lock:
            tickets = list(self._inbox)
            self._inbox.clear()
        return tickets


def plan_workers(config: SandboxConfig) -> list[tuple[int, int]]:
    """(hash seed, slots) of each zygote, from the cores and the memory that are left over."""
    cores = usable_cores()
    count = config.workers
    if count is None:
        spare = max(1, cores - config.reserved_cores)
        count = min(16, max(config.order_seeds, spare))
    seeds = max(2, min(config.order_seeds, count))
    memory_mib = host_memory().available / 2**20 * config.memory_share
    slots = max(1, min(config.slots, int(memory_mib / count / config.limits.memory_mib)))
    return [(index % seeds + 1, slots) for index in range(count)]
