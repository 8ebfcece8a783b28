"""Runs a file of hostile and honest programs through the sandbox and looks for what they may have done outside it.

Around the programs stand a folder that must not change, listeners that must hear nothing, a secret that must
not appear, and the process table. All programs run through one sandbox in a shuffled order, honest ones among
them, so that a program that spoils its neighbours shows in their values.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from azr.config.sandbox import Limits, SandboxConfig
from azr.config.yaml_files import plain_yaml
from azr.errors import DataError
from azr.sandbox.job import Job, JobResult, Status
from azr.sandbox.pool import Sandbox
from azr.system.scratch import scratch_folder

SECRET_VARIABLE = "AZR_SUITE_SECRET"
HONEST = "honest"
SUITE_LIMITS = Limits(cpu_s=0.6, wall_s=2.5, memory_mib=512)
_STATUSES = {status.value for status in Status}


@dataclass(frozen=True)
class SuiteCase:
    """One program of a suite."""

    name: str
    category: str
    code: str
    inputs: tuple[str, ...]
    expected: frozenset[str]
    values: tuple[str, ...] = ()
    wall_s: float | None = None


@dataclass
class SuiteReport:
    """What a run of a suite found; ``bad`` is empty when the sandbox held."""

    entries: int
    runs: int
    seconds: float
    python: str
    layers: list[str]
    bad: list[str] = field(default_factory=list)
    """One sentence per wrong verdict, wrong value or trace outside the sandbox."""
    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(category, status) -> programs."""


def load_suite(path: Path) -> list[SuiteCase]:
    """Reads a suite: YAML (a mapping with ``programs``, and ``reach``), or JSON, or JSONL, with the same fields.

    Raises:
        DataError: not readable, or an entry lacks name, code, inputs or expected.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".jsonl":
            document: Any = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:  # JSON is YAML, too
            document = plain_yaml(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read as a suite: {error}") from error
    reach = ""
    if isinstance(document, dict):
        reach, document = str(document.get("reach", "")), document.get("programs")
    if not isinstance(document, list):
        raise DataError(f"{path} holds no list of programs")
    return [_entry(record, number, reach, path) for number, record in enumerate(document, 1)]


def _entry(record: Any, number: int, reach: str, path: Path) -> SuiteCase:
    try:
        expected = record["expected"]
        expected = frozenset([expected] if isinstance(expected, str) else expected)
        if not expected or expected - _STATUSES:
            raise DataError(
                f"{path}, program {number}: expected is {sorted(expected)}; it may hold {', '.join(sorted(_STATUSES))}"
            )
        inputs = record["inputs"]
        return SuiteCase(
            name=str(record["name"]),
            category=str(record.get("category", "unnamed")),
            code=record["code"].replace("@REACH@", reach),
            inputs=tuple([inputs] if isinstance(inputs, str) else inputs),
            expected=expected,
            values=tuple(record.get("values", ())),
            wall_s=record.get("wall_s"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}, program {number}: needs name, code, inputs and expected ({error})"
        ) from error


class Surroundings:
    """The things outside the sandbox that programs are tempted with."""

    def __init__(self, stack: ExitStack) -> None:
        root = stack.enter_context(scratch_folder("suite"))
        root.chmod(0o755)
        self.secret = "SUITE-SECRET-" + secrets.token_hex(8)
        self.canary = root / "canary"
        self.canary.mkdir()
        for name, content in (("file", "as it was"), ("secret", self.secret)):
            (self.canary / name).write_text(content)
            (self.canary / name).chmod(0o666)
        self.canary.chmod(0o777)
        self.before = self._canary_state()

        self.tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        self.tcp.bind(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.udp.bind(("127.0.0.1", self.port))
        self.unix = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self.socket_path = root / "socket"
        self.unix.bind(str(self.socket_path))
        self.socket_path.chmod(0o777)

        for listener in (self.tcp, self.unix):
            listener.listen(64)
        for listener in (self.tcp, self.udp, self.unix):
            listener.setblocking(False)

    def fill(self, text: str) -> str:
        """Puts the surroundings' addresses into a program."""
        places = {"CANARY": self.canary, "SOCKET": self.socket_path, "PORT": self.port}
        for name, value in {**places, "OWNER": os.getpid(), "SECRET": self.secret}.items():
            text = text.replace(f"@{name}@", str(value))
        return text

    def _canary_state(self) -> list[tuple[str, int, int, int, int, str]]:
        state = []
        for path in sorted([self.canary, *self.canary.rglob("*")]):
            about = path.lstat()
            content = path.read_text(errors="replace") if path.is_file() else ""
            state.append((str(path), about.st_mode, about.st_uid, about.st_nlink, about.st_mtime_ns, content))
        return state

    def traces(self) -> list[str]:
        """What programs left or sent out here."""
        found = []
        if self._canary_state() != self.before:
            found.append(f"the canary folder changed: {[item[0] for item in self._canary_state()]}")
        for name, listener in (("TCP", self.tcp), ("Unix", self.unix)):
            with suppress(BlockingIOError):
                listener.accept()[0].close()
                found.append(f"a {name} connection arrived")
        with suppress(BlockingIOError):
            found.append(f"a UDP packet arrived: {self.udp.recv(100)!r}")
        return found


def run(
    entries: list[SuiteCase], config: SandboxConfig | None = None, *, seed: int = 0, one_by_one: bool = False
) -> SuiteReport:
    """Runs all programs, then the honest ones once more, and checks verdicts, values and surroundings.

    ``one_by_one`` runs every program by itself and checks the surroundings after each: slow, but it names the culprit.
    """
    config = replace(config or SandboxConfig(), limits=SUITE_LIMITS)
    order = random.Random(seed)
    first = list(entries)
    order.shuffle(first)
    honest = [entry for entry in entries if entry.category == HONEST]
    plan = first + order.sample(honest, len(honest))

    start = time.monotonic()
    with ExitStack() as stack:
        around = Surroundings(stack)
        os.environ[SECRET_VARIABLE] = around.secret
        stack.callback(os.environ.pop, SECRET_VARIABLE)
        before = set(psutil.Process().children(recursive=True))
        sandbox = stack.enter_context(Sandbox(config))
        report = SuiteReport(len(entries), len(plan), 0.0, sandbox.python, sandbox.layers)
        own = below(sandbox)

        jobs = [_job(entry, around) for entry in plan]
        alone = ((index, sandbox.submit(job).result()) for index, job in enumerate(jobs))
        for index, result in alone if one_by_one else sandbox.run_many(jobs):
            entry = plan[index]
            faults = case_failures(entry, result, around.secret) + (around.traces() if one_by_one else [])
            report.bad += [f"{entry.name}: {fault}" for fault in faults]
            report.statuses[entry.category, result.status.value] += 1

        report.bad += around.traces()
        report.bad += [f"a process is left: {process}" for process in below(sandbox) - own]
        if sandbox.restarts:
            report.bad.append(f"{sandbox.restarts} of the sandbox's own processes died")
        sandbox.close()
        children = set(psutil.Process().children(recursive=True)) - before
        report.bad += [
            f"a process outlived the sandbox: {child}"
            for child in children
            if child.status() != psutil.STATUS_ZOMBIE
        ]

    report.seconds = time.monotonic() - start
    return report


def _job(entry: SuiteCase, around: Surroundings) -> Job:
    limits = None if entry.wall_s is None else replace(SUITE_LIMITS, wall_s=entry.wall_s)
    return Job(around.fill(entry.code), tuple(map(around.fill, entry.inputs)), limits=limits)


def case_failures(entry: SuiteCase, result: JobResult, secret: str) -> list[str]:
    """What is wrong with a result; '' pieces none."""
    complaints = []
    if result.status.value not in entry.expected:
        shown = [call.value or call.exception or call.status.value for call in result.calls]
        complaints.append(
            f"{result.status.value} ({result.reason[:120]}) {str(shown)[:200]}; expected {' or '.join(sorted(entry.expected))}"
        )
    elif result.ok and entry.values and result.values != entry.values:
        complaints.append(f"gave {str(result.values)[:200]}; expected {str(entry.values)[:200]}")
    if secret in repr(result):
        complaints.append("the secret is in its result")
    return complaints


def below(sandbox: Sandbox) -> set[psutil.Process]:
    """Every process below the pool: right after its start, its own; later, programs too."""
    return {
        child
        for pid in sandbox.process_ids()
        if psutil.pid_exists(pid)
        for child in psutil.Process(pid).children(recursive=True)
    }
