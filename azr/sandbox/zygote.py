"""The zygote: a warm, confined Python process that forks one child per program and watches over it.

Started by ``azr.sandbox.worker`` as a new interpreter with an empty environment and its own hash seed; it
holds no secret, no gold answer and no other program. It reads programs from one pipe and writes what each
child sent, undecoded, with its own verdict, to another. Standard library only.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import struct
import sys
import time
import traceback
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from azr.sandbox import confine, escapes, frames, policy, program
from azr.sandbox.program import Program, read_program

RESULT_HEADER = struct.Struct("<QBBdd")

ENDED, CPU_LIMIT, WALL_LIMIT, FLOOD = range(4)
"""Verdicts: it ended by itself (the number beside it is the signal, or 0); we ended it, and why."""

QUIET_S = 0.02
"""A new child's pipe is only watched for its end this long: most programs end sooner, at one wake-up."""
WALL_STRETCH = 4
"""A program past its wall limit that still gets CPU time may continue up to this multiple."""
PROGRESS_WINDOW_S = 1.0
ASLEEP_WINDOWS = 2
"""A program past its wall limit is killed once it was asleep for so many windows in a row."""
PROGRESS_SHARE = 0.002
"""CPU seconds per second below which a program counts as asleep. A niced program on a machine with a dozen
other tasks a core gets about 0.005; a loop around a sleep of 50 ms uses less than 0.001."""
_COMMANDS, _RESULTS = 3, 4

WARM_UP = (
    ("def f(a, b):\n    return {k: sorted(v) for k, v in zip(a, b)}", "['x'], [[2, 1]]"),
    (
        "import re, math\ndef f(s):\n    return [m[0] for m in re.finditer('[a-z]+', s)], math.sqrt(2)",
        "'ab 1 cd'",
    ),
    (
        "from collections import Counter, defaultdict, deque\ndef f(x):\n    return dict(Counter(x)), list(deque(x))",
        "[1, 2, 2]",
    ),
    (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 0\ndef f(x):\n"
        "    try:\n        return P(x).x / 0\n    except ZeroDivisionError as e:\n        return str(e)",
        "1",
    ),
    (
        "def f(n):\n    seen = set()\n    while n:\n        n, r = divmod(n, 3)\n        seen.add(r)\n    return seen",
        "12345",
    ),
    (
        "def f(s):\n    return ''.join(reversed(s.upper().split('.'))).encode(), f'{1.5:.3f}', {'a': None}",
        "'a.b'",
    ),
)


@dataclass
class Child:
    """A running program and what it sent so far."""

    pid: int
    pipe: int
    program: Program
    clock: int
    started_s: float
    deadline_s: float
    """When the next look at its clocks is due."""
    watched: bool = False
    """Its pipe is watched for data, too, not only for its end."""
    data: bytearray = field(default_factory=bytearray)
    parsed: int = 0
    call_cpu_s: float = 0.0
    """CPU clock when the current call began (as far as seen)."""
    call_started_s: float = 0.0
    asleep_windows: int = 0
    """Consecutive windows in which it used next to no CPU time."""
    look_cpu_s: float = 0.0
    look_s: float = 0.0


class Zygote:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.slots: int = options["slots"]
        self.uid = 0
        """User that programs run as, as seen outside the namespaces."""
        self.modules, self.evaluate_modules = policy.load_modules()
        program.guard_imports(self.modules)
        self.clock_slots = policy.stop_clock()
        self.filters: tuple[confine.Filter, confine.Filter] | None = None
        self.pending: deque[Program] = deque()
        self.children: dict[int, Child] = {}
        self.poll = select.poll()
        self.outgoing = bytearray()
        self.incoming = bytearray()

    # ------------------------------------------------------------------------------------------ confinement

    def confine(self) -> list[str]:
        """Applies every layer that this kernel gives, innermost last; returns the names of those in force."""
        layers = []
        if confine.offer_to_oom_killer():
            layers.append("oom_score")
        with contextlib.suppress(OSError):
            os.nice(self.options["nice"])
        if confine.drop_root(self.options["root_uid"]):
            layers.append("dropped_root")
        self.uid = os.getuid()
        os.chdir("/")
        if confine.new_namespaces():
            layers.append("namespaces")
            self._become_first_process()

        confine.no_new_privileges()
        if "namespaces" in layers and confine.empty_root():
            layers.append("empty_root")
        if "namespaces" in layers and confine.drop_capabilities():
            layers.append("no_capabilities")
        confine.hide_memory()
        confine.limit_zygote()
        layers.append("rlimits")

        if version := confine.landlock():
            layers.append(f"landlock{version}")
        filters = confine.load_filters()
        if filters and filters[0].install():
            self.filters = filters[1]
            layers.append("seccomp")
        confine.die_with_parent()
        policy.refuse_later_imports()
        return layers

    def _become_first_process(self) -> None:
        """The first process of the new process namespace continues; this one waits for it and ends with it."""
        pid = os.fork()
        if pid == 0:
            return
        os.close(_COMMANDS)
        os.close(_RESULTS)
        confine.die_with_parent()
        if os.getppid() not in (self.options["parent"], 0) and self.options["parent"]:
            os._exit(0)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        os._exit(0)

    def warm_up(self) -> None:
        for code, arguments in WARM_UP:
            item = Program(0, False, 2, False, 2.0, 6.0, 1024, 256, 65536, "f", code, (arguments,))
            program.execute(item, len)

    # ---------------------------------------------------------------------------------------------- serving

    def serve(self) -> NoReturn:
        """Runs programs until the trainer closes the pipe (or dies)."""
        os.set_blocking(_COMMANDS, False)
        os.set_blocking(_RESULTS, False)
        self.poll.register(_COMMANDS, select.POLLIN)
        writing = False
        while True:
            if bool(self.outgoing) != writing:
                writing = bool(self.outgoing)
                self.poll.register(_RESULTS, select.POLLOUT if writing else 0)
            self._handle_events()
            self._handle_deadlines()
            while self.pending and len(self.children) < self.slots:
                self._start(self.pending.popleft())
            if self.outgoing:
                self._write()

    # What these know of other programs is gone from the stack when the next one is forked.

    def _handle_events(self) -> None:
        for descriptor, events in self.poll.poll(self._timeout_ms()):
            if descriptor == _COMMANDS:
                self._read_commands()
            elif descriptor == _RESULTS:
                if events & (select.POLLERR | select.POLLHUP):
                    os._exit(0)
                self._write()
            elif descriptor in self.children:
                self._read(self.children[descriptor])

    def _handle_deadlines(self) -> None:
        now = time.monotonic()
        for child in [child for child in self.children.values() if child.deadline_s <= now]:
            self._look_at(child, now)

    def _timeout_ms(self) -> int | None:
        if not self.children:
            return None
        first = min(child.deadline_s for child in self.children.values())
        return max(0, int((first - time.monotonic()) * 1000) + 1)

    def _read_commands(self) -> None:
        try:
            data = os.read(_COMMANDS, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            os._exit(0)
        self.incoming += data
        self.pending += map(read_program, frames.take_frames(self.incoming))

    def _start(self, item: Program) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._be_child(item, writing)
        os.close(writing)
        os.set_blocking(reading, False)
        now = time.monotonic()
        child = Child(pid, reading, item, (~pid) << 3 | 2, now, now + QUIET_S)
        child.call_started_s = child.look_s = now
        self.children[reading] = child
        self.poll.register(reading, 0)

    def _be_child(self, item: Program, pipe: int) -> NoReturn:
        """In the child: last confinement, then the program, then the end. Never returns."""
        code = 1
        try:
            for others in (self.pending, self.children, self.incoming, self.outgoing):
                others.clear()
            os.closerange(3, pipe)
            os.closerange(pipe + 1, 128)
            confine.limit_program(item.cpu_s * item.repeats * (len(item.inputs) or 1), item.memory_mib)
            if "namespaces" not in self.options["layers"]:
                confine.die_with_parent()
            if item.evaluate:
                policy.start_clock(self.clock_slots)
                self.modules.update(self.evaluate_modules)
                self.evaluate_modules["random"].seed()
            if self.filters is not None and not self.filters[item.evaluate].install():
                os._exit(1)
            program.execute(item, writer(pipe))
            code = 0
        finally:
            os._exit(code)

    def _read(self, child: Child) -> None:
        while True:
            try:
                data = os.read(child.pipe, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                self._finish(child, ENDED)
                return
            child.data += data
            self._note_progress(child)
            if len(child.data) > child.program.output_kib << 10:
                self._finish(child, FLOOD)
                return

    def _note_progress(self, child: Child) -> None:
        """Every complete frame ends a call, so the next one's clocks start again; lengths are the child's own claim."""
        seen = child.parsed
        while len(child.data) - child.parsed >= 4:
            size = int.from_bytes(child.data[child.parsed : child.parsed + 4], "little")
            if len(child.data) - child.parsed - 4 < size:
                break
            child.parsed += 4 + size
        if child.parsed != seen:
            child.call_started_s = time.monotonic()
            child.call_cpu_s = self._cpu_s(child)

    def _cpu_s(self, child: Child) -> float:
        try:
            return time.clock_gettime(child.clock)
        except OSError:
            return child.call_cpu_s

    def _look_at(self, child: Child, now: float) -> None:
        """A deadline passed: kill at a limit, else say when to look again."""
        if not child.watched:
            child.watched = True
            self.poll.modify(child.pipe, select.POLLIN)
        late_s = now - child.deadline_s
        if late_s > PROGRESS_WINDOW_S / 2:
            # the whole machine stood still, or this process did: no time of the program's
            child.call_started_s += late_s
        self._read(child)
        if child.pipe not in self.children:
            return

        limits = child.program
        cpu_s = self._cpu_s(child)
        cpu_left_s = limits.cpu_s - (cpu_s - child.call_cpu_s)
        wall_s = now - child.call_started_s
        if cpu_left_s <= 0:
            self._finish(child, CPU_LIMIT)
            return
        wall_left_s = limits.wall_s - wall_s

        if now - child.look_s >= PROGRESS_WINDOW_S:
            # asleep or only starved? A busy machine must not make an honest program time out. A look that
            # comes late itself says nothing about the program.
            if late_s <= PROGRESS_WINDOW_S / 2:
                asleep = (cpu_s - child.look_cpu_s) / (now - child.look_s) < PROGRESS_SHARE
                child.asleep_windows = child.asleep_windows + 1 if asleep else 0
            child.look_cpu_s, child.look_s = cpu_s, now

        if wall_left_s <= 0 and (
            child.asleep_windows >= ASLEEP_WINDOWS or wall_s > WALL_STRETCH * limits.wall_s
        ):
            self._finish(child, WALL_LIMIT)
            return
        wait_s = min(cpu_left_s, child.look_s + PROGRESS_WINDOW_S - now)
        child.deadline_s = now + max(0.002, min(wait_s, wall_left_s) if wall_left_s > 0 else wait_s)

    def _finish(self, child: Child, verdict: int) -> None:
        """Ends and reaps the child and queues its report."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        _, status, usage = os.wait4(child.pid, 0)
        if verdict in (ENDED, FLOOD):
            self._drain(child)
        self.poll.unregister(child.pipe)
        os.close(child.pipe)
        del self.children[child.pipe]
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        cpu_s = usage.ru_utime + usage.ru_stime
        wall_s = time.monotonic() - child.started_s
        header = RESULT_HEADER.pack(child.program.job_id, verdict, number, cpu_s, wall_s)
        self.outgoing += frames.pack_frame(header, bytes(child.data))

    def _drain(self, child: Child) -> None:
        if len(child.data) < 1 << 24:
            with contextlib.suppress(BlockingIOError):
                while data := os.read(child.pipe, 1 << 16):
                    child.data += data

    def _write(self) -> None:
        try:
            sent = os.write(_RESULTS, self.outgoing)
        except BlockingIOError:
            return
        except BrokenPipeError:
            os._exit(0)
        del self.outgoing[:sent]


def writer(pipe: int) -> Callable[[bytes], None]:
    def send(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(pipe, view) :]

    return send


def main() -> NoReturn:
    options = json.loads(sys.argv[1])
    # descriptors 0 to 2 become /dev/null: what is printed past sys.stdout goes nowhere
    os.dup2(0, _COMMANDS)
    os.dup2(1, _RESULTS)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if null > _RESULTS:
        os.close(null)
    warnings.simplefilter("ignore")
    os.environ.pop("LD_BIND_NOW", None)

    zygote = Zygote(options)
    program.quiet_streams()
    zygote.warm_up()
    layers = zygote.confine()
    options["layers"] = layers

    about = {"python": sys.version.split()[0], "hash": hash("azr"), "uid": zygote.uid}
    seccomp = zygote.filters[0] if zygote.filters else None
    hello = {"layers": layers, "probes": escapes.how_stopped(seccomp), **about}
    os.write(_RESULTS, frames.pack_frame(json.dumps(hello).encode()))
    del sys.argv[1:]
    gc.collect()
    gc.freeze()

    try:
        zygote.serve()
    except Exception:  # noqa: BLE001 - the trainer is told why before the zygote ends
        os.set_blocking(_RESULTS, True)
        os.write(_RESULTS, frames.pack_frame(traceback.format_exc()[-4000:].encode()))
        os._exit(1)
