"""The zygote: a warm, confined Python process that forks one child per program and watches over it.

Started by ``azr.sandbox.worker`` as a new interpreter with an empty environment and its own hash seed; it holds no
secret, no gold answer and no other program. It reads groups of programs from one pipe and writes what each child
sent, undecoded, with its own verdict, to another. Standard library only.
"""

from __future__ import annotations

import _socket
import ast
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
from types import CodeType
from typing import Any, NoReturn

from azr.sandbox import confine, fingerprint, frames, memory, policy, program, screen
from azr.sandbox.program import Program

JOB_HEADER = struct.Struct("<QBBBBBBddIII")
RESULT_HEADER = struct.Struct("<BBIddQ")

ENDED, CPU_LIMIT, WALL_LIMIT, FLOOD = range(4)
"""Verdicts: it ended by itself (the number beside it is the signal, or 0); we ended it, and why."""

QUIET_S = 0.02
"""A new child's pipe is only watched for its end this long: most programs end sooner, and cost one wake-up."""
WALL_STRETCH = 4
"""A program past its wall limit that still gets CPU time may go on up to this multiple."""
TOGETHER_CPU_S = 0.25
"""CPU limit of programs that share a process: one that needs more is run again in its own, under its own limit."""
PROGRESS_WINDOW_S = 1.0
ASLEEP_WINDOWS = 2
"""A program past its wall limit is killed once it was asleep for so many windows in a row."""
PROGRESS_SHARE = 0.002
"""CPU seconds per second below which a program counts as asleep. A niced program on a machine with a dozen other tasks a
core gets about 0.005; a loop around a sleep of 50 ms uses less than 0.001."""
_COMMANDS, _RESULTS = 3, 4

WARM_UP = (
    ("def f(a, b):\n    return {k: sorted(v) for k, v in zip(a, b)}", "['x'], [[2, 1]]"),
    ("import re, math\ndef f(s):\n    return [m.group(0) for m in re.finditer('[a-z]+', s)], math.sqrt(2)", "'ab 1 cd'"),
    ("from collections import Counter, defaultdict, deque\ndef f(x):\n    return dict(Counter(x)), list(deque(x))", "[1, 2, 2]"),
    (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 0\ndef f(x):\n"
        "    try:\n        return P(x).x / 0\n    except ZeroDivisionError as e:\n        return str(e)",
        "1",
    ),
    ("def f(n):\n    seen = set()\n    while n:\n        n, r = divmod(n, 3)\n        seen.add(r)\n    return seen", "12345"),
    ("def f(s):\n    return ''.join(reversed(s.upper().split('.'))).encode(), f'{1.5:.3f}', {'a': None}", "'a.b'"),
)


@dataclass(frozen=True)
class Ready:
    """A program about to run, with what the zygote found out about it."""

    program: Program
    flags: int
    """The screen's bits; 0 when it was not asked."""
    compiled: CodeType | None
    """None: it has to be compiled in its own process (or cannot be, and its process finds out why)."""


@dataclass
class Child:
    """A running program (or batch of harmless ones) and what it sent so far."""

    pid: int
    pipe: int
    programs: list[Program]
    flags: bytes
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
        self.fingerprint: fingerprint.Fingerprint | None = None
        self.filters: tuple[confine.Filter, confine.Filter] | None = None
        self.pending: deque[list[Ready]] = deque()
        self.children: dict[int, Child] = {}
        self.poll = select.poll()
        self.outgoing = bytearray()
        self.incoming = bytearray()

    # ------------------------------------------------------------------------------------------ confinement

    def confine(self) -> list[str]:
        """Applies every layer that this kernel gives, innermost last; returns the names of those in force."""
        options = self.options
        layers = []
        if confine.offer_to_oom_killer():
            layers.append("oom_score")
        with contextlib.suppress(OSError):
            os.nice(options["nice"])
        dropped = confine.drop_root(options["root_uid"])
        if dropped:
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
        version = confine.landlock()
        if version:
            layers.append(f"landlock{version}")
        coarse = confine.zygote_filter()
        self.filters = confine.program_filters()
        if self.filters and coarse and coarse.install():
            layers.append("seccomp")
        else:
            self.filters = None
        confine.die_with_parent()
        policy.refuse_later_imports()
        return layers

    def _become_first_process(self) -> None:
        """The first process of the new process namespace goes on; this one only waits for it and ends with it."""
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
            warm = Program(0, code, (arguments,), "f", False, 2, False, True, True, False, 2.0, 6.0, 1024, 256, 65536)
            screen.examine(code)
            program.execute(warm, 0, len)

    # ---------------------------------------------------------------------------------------------- serving

    def serve(self) -> NoReturn:
        """Runs groups of programs until the trainer closes the pipe (or dies)."""
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
        for body in frames.take_frames(self.incoming):
            self._accept([read_program(item) for item in frames.unpack(body)])

    def _accept(self, programs: list[Program]) -> None:
        """Splits a group: what the screen finds harmless shares a process, everything else gets its own."""
        together: list[Ready] = []
        for item in programs:
            flags, tree = screen.examine(item.code) if item.screen else (0, None)
            compiled = compile_early(tree or item.code) if item.compile_early or tree else None
            if item.may_batch and self.fingerprint and (not item.screen or flags & screen.HARMLESS):
                together.append(Ready(item, flags | screen.HARMLESS, compiled))
            else:
                self.pending.append([Ready(item, flags, compiled)])
        if together:
            self.pending.append(together)

    def _start(self, group: list[Ready]) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._be_child(group, writing)
        os.close(writing)
        os.set_blocking(reading, False)
        now = time.monotonic()
        child = Child(
            pid, reading, [item.program for item in group], bytes([item.flags for item in group]), (~pid) << 3 | 2, now, now + QUIET_S
        )
        child.call_started_s = child.look_s = now
        self.children[reading] = child
        self.poll.register(reading, 0)

    def _be_child(self, group: list[Ready], pipe: int) -> NoReturn:
        """In the child: last confinement, then the programs, then the end. Never returns."""
        code = 1
        try:
            for others in (self.pending, self.children, self.incoming, self.outgoing):
                others.clear()
            os.closerange(3, pipe)
            os.closerange(pipe + 1, 128)
            first = group[0].program
            cpu_s, memory_mib = 0.0, 0
            for item in group:
                limits = item.program
                cpu_s += limits.cpu_s * limits.repeats * (len(limits.inputs) or 1)
                memory_mib = limits.memory_mib if limits.memory_mib > memory_mib else memory_mib
            confine.limit_program(cpu_s, memory_mib)
            evaluate = first.evaluate
            if "namespaces" not in self.options["layers"]:
                confine.die_with_parent()
            if evaluate:
                policy.start_clock(self.clock_slots)
                self.modules.update(self.evaluate_modules)
                self.evaluate_modules["random"].seed()
            if self.filters is not None and not self.filters[evaluate].install():
                os._exit(1)
            send = writer(pipe)
            if len(group) == 1:
                program.execute(first, 0, send, group[0].compiled)
            else:
                self._run_together(group, send)
            code = 0
        finally:
            os._exit(code)

    def _run_together(self, group: list[Ready], send: Callable[[bytes], object]) -> None:
        """Ends at the first program that changed the process: it and those after it are then run again."""
        for index, item in enumerate(group):
            said: list[bytes] = []
            program.execute(item.program, index, said.append, item.compiled)
            if self.fingerprint is None or self.fingerprint.changed():
                return
            send(b"".join(said))

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
            if len(child.data) > sum(item.output_kib for item in child.programs) << 10:
                self._finish(child, FLOOD)
                return

    def _note_progress(self, child: Child) -> None:
        """Every complete frame ends a call, so the next one's clocks start anew; lengths are the child's own claim."""
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
        limits = child.programs[0]
        alone = len(child.programs) == 1
        cpu_s = self._cpu_s(child)
        cpu_left_s = (limits.cpu_s if alone else min(TOGETHER_CPU_S, limits.cpu_s)) - (cpu_s - child.call_cpu_s)
        wall_s = now - child.call_started_s
        if cpu_left_s <= 0:
            self._finish(child, CPU_LIMIT)
            return
        wall_left_s = limits.wall_s - wall_s
        if now - child.look_s >= PROGRESS_WINDOW_S:
            # asleep or only starved? A busy machine must not make an honest program time out. A look that comes late
            # itself says nothing about the program.
            if late_s <= PROGRESS_WINDOW_S / 2:
                asleep = (cpu_s - child.look_cpu_s) / (now - child.look_s) < PROGRESS_SHARE
                child.asleep_windows = child.asleep_windows + 1 if asleep else 0
            child.look_cpu_s, child.look_s = cpu_s, now
        if wall_left_s <= 0 and (child.asleep_windows >= ASLEEP_WINDOWS or wall_s > WALL_STRETCH * limits.wall_s):
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
        header = RESULT_HEADER.pack(verdict, number, len(child.programs), cpu_s, time.monotonic() - child.started_s, usage.ru_maxrss)
        ids = b"".join(item.job_id.to_bytes(8, "little") for item in child.programs)
        self.outgoing += frames.pack(header, ids, child.flags, bytes(child.data))

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

    # ----------------------------------------------------------------------------------------------- probes

    def run_probes(self) -> dict[str, str]:
        """What a program's process can do: each probe -> how it was stopped, or ``done``."""
        return {name: self._probe(attempt) for name, attempt in PROBES.items()}

    def _probe(self, attempt: Callable[[], object]) -> str:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                confine.limit_program(2.0, 1024)
                if self.filters is not None:
                    self.filters[0].install()
                attempt()
                os.write(writing, b"done")
            except OSError as error:
                os.write(writing, os.strerror(error.errno or 0).encode())
            except BaseException as error:  # noqa: BLE001 - a probe that could not try proves nothing
                os.write(writing, f"not tried: {type(error).__name__}".encode())
            finally:
                os._exit(0)
        os.close(writing)
        said = os.read(reading, 100).decode()
        os.close(reading)
        _, status = os.waitpid(pid, 0)
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else said


def _try_connect() -> None:
    connection = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    connection.connect(("127.0.0.1", 9))
    connection.send(b"x")


def _try_write() -> None:
    path = f"/tmp/.azr-probe-{os.getpid()}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink(path)


PROBES: dict[str, Callable[[], object]] = {
    "read": lambda: os.open("/", os.O_RDONLY),
    "write": _try_write,
    "connect": _try_connect,
    "fork": lambda: os.fork() or os._exit(0),
    "kill": lambda: os.kill(os.getppid() or 1, 0),
}


def compile_early(code: str | ast.Module) -> CodeType | None:
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        return program.compile_program(code)
    return None


def writer(pipe: int) -> Callable[[bytes], None]:
    def send(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(pipe, view) :]

    return send


def read_program(data: bytes) -> Program:
    """Raises:
    FrameError, struct.error: the trainer and the zygote are of different versions.
    """
    header, entry, code, *inputs = frames.unpack(data)
    job_id, evaluate, repeats, reverse, may_batch, screened, early, cpu_s, wall_s, memory, output, chars = JOB_HEADER.unpack(header)
    texts = tuple(frames.decode(item) for item in inputs)
    return Program(
        job_id,
        frames.decode(code),
        texts,
        frames.decode(entry),
        bool(evaluate),
        repeats,
        bool(reverse),
        bool(may_batch),
        bool(screened),
        bool(early),
        cpu_s,
        wall_s,
        memory,
        output,
        chars,
    )


def pack_program(item: Program) -> bytes:
    """The field that ``read_program`` reads (without a frame's own length)."""
    header = JOB_HEADER.pack(
        item.job_id,
        item.evaluate,
        item.repeats,
        item.reverse,
        item.may_batch,
        item.screen,
        item.compile_early,
        item.cpu_s,
        item.wall_s,
        item.memory_mib,
        item.output_kib,
        item.value_chars,
    )
    return frames.pack(header, frames.encode(item.entry), frames.encode(item.code), *map(frames.encode, item.inputs))[4:]


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
    if fingerprint.works():
        zygote.fingerprint = fingerprint.Fingerprint(zygote.modules)
    hello = {
        "layers": layers,
        "probes": zygote.run_probes(),
        "python": sys.version.split()[0],
        "hash": hash("azr"),
        "uid": zygote.uid,
    }
    os.write(_RESULTS, frames.pack(json.dumps(hello).encode()))
    del sys.argv[1:]
    gc.collect()
    memory.fill_holes()
    gc.freeze()
    try:
        zygote.serve()
    except Exception:  # noqa: BLE001 - the trainer is told why before the zygote ends
        os.set_blocking(_RESULTS, True)
        os.write(_RESULTS, frames.pack(traceback.format_exc()[-4000:].encode()))
        os._exit(1)
