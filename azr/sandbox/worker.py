"""The trainer's handle on one zygote: starts it, talks to it, ends it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azr.config.sandbox import SandboxConfig
from azr.errors import SandboxError
from azr.sandbox import frames
from azr.sandbox.missing import missing_layers
from azr.sandbox.program import Program, pack_program
from azr.sandbox.zygote import RESULT_HEADER
from azr.system.signals import signals_for_the_owner_alone

_log = logging.getLogger(__name__)

START_LIMIT_S = 60.0

# Imports azr.sandbox's confined half without running azr/sandbox/__init__.py, which is the trainer's half.
_BOOT = (
    "import sys, types; sys.path[:] = [p for p in sys.path if p]\n"
    "for name, path in (('azr', {azr!r}), ('azr.sandbox', {sandbox!r})):\n"
    "    sys.modules[name] = types.ModuleType(name); sys.modules[name].__path__ = [path]\n"
    "from azr.sandbox.boot import main; main()"
)


@dataclass(frozen=True)
class ChildExit:
    """What a zygote reports about one ended child; ``data`` is as the child wrote it."""

    job_id: int
    verdict: int
    signal: int
    cpu_s: float
    wall_s: float
    data: bytes


class Worker:
    """One zygote. Not thread-safe: the pool's thread owns it (and its end ends the zygote)."""

    def __init__(self, config: SandboxConfig, seed: int, slots: int) -> None:
        self.config = config
        self.seed = seed
        self.slots = slots
        self.outgoing = bytearray()
        self.incoming = bytearray()
        self.hello: dict[str, Any] = {}
        self.started_s = self.heard_s = time.monotonic()
        self.outstanding = 0
        """Programs that it has and has not reported on; the dispatcher counts them."""

        package = Path(__file__).resolve().parent
        interpreter = config.python or sys.executable
        options = {
            "slots": slots,
            "nice": config.nice,
            "root_uid": config.root_uid,
            "parent": 0 if config.bubblewrap else os.getpid(),
        }
        boot = _BOOT.format(azr=str(package.parent), sandbox=str(package))
        # not -I or -E: they make Python ignore PYTHONHASHSEED. -S keeps site-packages out, -s and the path
        # filter the rest.
        command = [interpreter, "-s", "-S", "-B", "-c", boot, json.dumps(options)]
        if config.bubblewrap:
            command = bubblewrap_command(config.bubblewrap, interpreter, package.parent) + command

        environment = {"PYTHONHASHSEED": str(seed), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        # symbols resolved at the first call would be resolved, and their pages copied, in every forked child
        environment |= {"LD_BIND_NOW": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        # bubblewrap's own user namespace knows one user only, so root is given up before it, not inside
        user = config.root_uid if config.bubblewrap and os.geteuid() == 0 else None

        pipe = subprocess.PIPE
        try:
            with signals_for_the_owner_alone(), _not_debugged():
                self.process = subprocess.Popen(
                    command,
                    stdin=pipe,
                    stdout=pipe,
                    stderr=pipe,
                    env=environment,
                    cwd="/",
                    start_new_session=True,
                    user=user,
                    group=user,
                    extra_groups=None if user is None else [],
                )
        except OSError as error:
            raise SandboxError(f"the sandbox cannot start {command[0]}: {error}") from error

        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.commands = self.process.stdin.fileno()
        self.results = self.process.stdout.fileno()
        os.set_blocking(self.commands, False)
        os.set_blocking(self.results, False)

    def wait_ready(self) -> None:
        """Waits for the zygote's report on its confinement.

        Raises:
            SandboxError: it did not start, or a probe was not stopped and not accepted by name.
        """
        deadline = self.started_s + START_LIMIT_S
        bodies: list[bytes] = []
        while not bodies:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.kill()
                raise SandboxError(
                    f"a sandbox process was not ready after {START_LIMIT_S:.0f} s; the machine may be overloaded"
                )
            if not select.select([self.results], [], [], left_s)[0]:
                continue
            data = os.read(self.results, 1 << 16)
            if not data:
                raise SandboxError(f"a sandbox process exited during startup: {self._last_words()}")
            self.incoming += data
            bodies = frames.take_frames(self.incoming)
        self.hello = json.loads(frames.unpack_frame(bodies[0])[0])
        self._check_probes()
        assert self.process.stderr
        self.process.stderr.close()

    def _check_probes(self) -> None:
        open_doors = {name: said for name, said in self.hello["probes"].items() if not stopped(said)}
        refused = [name for name in open_doors if name not in self.config.accept_unstopped]
        if self.hello["uid"] == 0:
            refused.append("root")
        if refused:
            self.kill()
            missing = missing_layers(self.hello["layers"])
            lacking = "; ".join(f"{item.layer} needs {item.fix}" for item in missing)
            raise SandboxError(
                f"this kernel does not confine programs: {', '.join(refused)} not stopped (layers in force: "
                f"{', '.join(self.hello['layers']) or 'none'}). {lacking or 'Run as a user other than root'}. Or accept weaker confinement "
                f"by name: sandbox.accept_unstopped=[{','.join(open_doors)}]"
            )

    def _last_words(self) -> str:
        self.kill()
        assert self.process.stderr
        text = self.process.stderr.read(1 << 16).decode(errors="replace").strip()
        self.process.stderr.close()
        return text.splitlines()[-1] if text else f"exit status {self.process.returncode}"

    def send(self, program: Program) -> None:
        """Queues a program and writes as much as the pipe takes."""
        self.outgoing += pack_program(program)
        self.flush()

    def flush(self) -> None:
        """Raises:
        BrokenPipeError: the zygote is gone.
        """
        while self.outgoing:
            try:
                sent = os.write(self.commands, self.outgoing)
            except BlockingIOError:
                return
            del self.outgoing[:sent]

    def receive(self) -> list[ChildExit] | None:
        """Reports that have arrived; None when the zygote is gone."""
        reports: list[ChildExit] = []
        while True:
            try:
                data = os.read(self.results, 1 << 16)
            except BlockingIOError:
                return reports
            except OSError:
                return None
            if not data:
                return reports or None
            self.incoming += data
            for body in frames.take_frames(self.incoming):
                fields = frames.unpack_frame(body)
                if len(fields) == 1:
                    _log.error("a sandbox process failed:\n%s", fields[0].decode(errors="replace"))
                    return None
                reports.append(read_report(fields))
            if len(data) < 1 << 16:
                return reports

    def kill(self) -> None:
        """Ends the zygote and with it (by the kernel's parent-death signal) every program it runs."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()


def stopped(said: str) -> bool:
    """Whether a probe's outcome means that the kernel stopped it."""
    return bool(said) and said != "done" and not said.startswith("not tried")


def read_report(fields: list[bytes]) -> ChildExit:
    """Raises:
    FrameError: the zygote sent nonsense.
    """
    if len(fields) != 2 or len(fields[0]) != RESULT_HEADER.size:
        raise frames.FrameError("not a report")
    header, data = fields
    return ChildExit(*RESULT_HEADER.unpack(header), data=data)


def _not_debugged() -> contextlib.AbstractContextManager[None]:
    """Keeps pydevd (VS Code's F5, PyCharm) out of processes that are started meanwhile: it follows children by rewriting
    their commands, and in a zygote its system calls are forbidden, so every program counted as blocked."""
    pydevd = sys.modules.get("_pydev_bundle.pydev_monkey")
    skip = getattr(pydevd, "skip_subprocess_arg_patch", contextlib.nullcontext)
    return skip()


def bubblewrap_command(binary: str, interpreter: str, package: Path) -> list[str]:
    """The command that starts a zygote in a mount tree of Python and this package alone.

    Raises:
        SandboxError: there is no such binary.
    """
    path = shutil.which(binary)
    if path is None:
        raise SandboxError(
            f"sandbox.bubblewrap names {binary!r}, which is not installed (apt install bubblewrap); or leave it empty"
        )
    options = "--unshare-all --die-with-parent --new-session --proc /proc --dev /dev --tmpfs /tmp"
    command = [path, *options.split()]
    own = interpreter == sys.executable
    python = {sys.prefix, sys.base_prefix} if own else {str(Path(interpreter).resolve().parent.parent)}
    for root in sorted({"/usr", "/lib", "/lib64", "/bin", str(package), *python}):
        if Path(root).exists():
            command += ["--ro-bind", root, root]
    return [*command, "--"]
