"""Processes of one attempt: found, remembered, ended. Only ever our own.

A trainer brings a tree: Ray's daemons, its workers, the engine's core, sandbox children. Some start their own
session, some outlive their parent and hang on to the GPU. Each is recognised by at least one of
* being a descendant of the trainer while that lives (and remembered, with its start time, in the attempt's
  registry);
* the attempt's session id;
* the environment variable that every process of the attempt inherits (unless it rewrote its own title over
  it).

A process id alone is never trusted: it is paired with the kernel's start tick, which no change of the clock
alters.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from azr.errors import DataError
from azr.system import GIB
from azr.system.files import read_json, text_of, write_json_atomic

END_LIMIT_S = 30.0
MARKER_VARIABLE = "AZR_ATTEMPT"
"""Environment variable that every process of an attempt inherits; how our own descendants are recognised."""


@dataclass(frozen=True)
class ProcessId:
    """A process, unmistakably: its number and the tick of its start since boot."""

    pid: int
    start_ticks: int
    boot_id: str
    name: str = ""

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """None when there is no such process, or it is a zombie."""
        name, state, ticks = _read_stat(pid)
        return None if state in ("", "Z", "X") else cls(pid, ticks, boot_id(), name)

    @property
    def alive(self) -> bool:
        now = ProcessId.of(self.pid)
        return now is not None and (now.start_ticks, now.boot_id) == (self.start_ticks, self.boot_id)

    @property
    def suspended(self) -> bool:
        """It lives, and was stopped by Ctrl+Z or SIGSTOP."""
        return self.alive and _read_stat(self.pid)[1] == "T"


def start_ticks(pid: int) -> int:
    """Clock ticks from boot to the start of a process, zombies included; -1 when there is none."""
    return _read_stat(pid)[2]


def _read_stat(pid: int) -> tuple[str, str, int]:
    name, _, rest = text_of(Path(f"/proc/{pid}/stat")).partition("(")[2].rpartition(")")
    columns = rest.split()
    return (name, columns[0], int(columns[19])) if columns else ("", "", -1)


@functools.cache
def boot_id() -> str:
    """Changes with every boot; empty where the kernel does not say."""
    return text_of(Path("/proc/sys/kernel/random/boot_id")).strip()


def descendants(pid: int) -> list[ProcessId]:
    """All living children, grandchildren ... of a process, without itself."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [found for child in children if (found := ProcessId.of(child.pid))]


def processes_of_session(session: int) -> list[ProcessId]:
    """Living processes whose session id is ``session``."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getsid(pid) == session and (process := ProcessId.of(pid)):
                found.append(process)
    return found


def attempt_marker(run_id: str, cycle: int, attempt: int) -> str:
    """What the processes of an attempt inherit; the calling process is the driver that it names."""
    own = os.getpid()
    return f"{run_id}/{cycle}/{attempt}/{own}.{start_ticks(own)}"


def run_of_marker(marker: str) -> str:
    return marker.split("/")[0]


def has_living_driver(marker: str) -> bool:
    """The driver that the marker names lives, and is another process than the calling one."""
    pid, _, ticks = marker.rpartition("/")[2].partition(".")
    if not (pid.isdigit() and ticks.isdigit()) or int(pid) == os.getpid():
        return False
    return ProcessId(int(pid), int(ticks), boot_id()).alive


def processes_with_marker(value: str) -> list[ProcessId]:
    """Living processes of this user that inherited ``AZR_ATTEMPT=value``; the calling process is left out.

    Args:
        value: a whole marker, or one that ends in ``/`` for everything that begins with it.
    """
    return [process for process, _ in _marked(value)]


def driven_by_others(run_id: str) -> list[ProcessId]:
    """Living processes of the run whose driver lives and is another process than the calling one."""
    return [process for process, marker in _marked(f"{run_id}/") if has_living_driver(marker)]


def _marked(value: str) -> Iterator[tuple[ProcessId, str]]:
    """Living processes with their whole marker."""
    wanted = f"{MARKER_VARIABLE}={value}".encode()
    for pid in psutil.pids():
        if pid == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        for entry in environment.split(b"\0"):
            if entry == wanted or (value.endswith("/") and entry.startswith(wanted)):
                if process := ProcessId.of(pid):
                    yield process, entry.partition(b"=")[2].decode("ascii", "replace")
                break


class Registry:
    """``processes.json`` of an attempt: everything it was ever seen to start, for the start after a crash."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[tuple[int, int], ProcessId] = {}
        self.session = 0
        self.marker = ""

    @classmethod
    def load(cls, path: Path) -> Registry:
        """An empty one where the file is missing or damaged; the marker then still finds most processes."""
        registry = cls(path)
        with contextlib.suppress(DataError, KeyError, TypeError, OSError):
            record = read_json(path)
            registry.session, registry.marker = int(record["session"]), str(record["marker"])
            registry.add(ProcessId(**entry) for entry in record["processes"])
        return registry

    def add(self, processes: Iterable[ProcessId]) -> bool:
        """True if one of them was new."""
        before = len(self._known)
        self._known.update({(process.pid, process.start_ticks): process for process in processes})
        return len(self._known) > before

    def save(self) -> None:
        """Forgets the dead and writes the file, but not where its folder has gone: a new one would lie in a disk's
        empty place, which then no longer looks empty (``missing_disk``)."""
        leader = self._leader
        known = self._known.items()
        self._known = {key: process for key, process in known if process.alive or process == leader}
        entries = [vars(process) for process in self._known.values()]
        if self.path.parent.is_dir():
            write_json_atomic(
                self.path, {"session": self.session, "marker": self.marker, "processes": entries}
            )

    @property
    def _leader(self) -> ProcessId | None:
        return next((process for process in self._known.values() if process.pid == self.session), None)

    def _session_is_ours(self) -> bool:
        """While its leader exists (as a zombie, too) a session id cannot belong to anybody else."""
        leader, now = self._leader, (boot_id(), start_ticks(self.session))
        return leader is not None and (leader.boot_id, leader.start_ticks) == now

    def living(self) -> list[ProcessId]:
        """Everything of the attempt that lives now: remembered, its descendants, its session's, and by marker."""
        found: set[ProcessId] = set()
        for process in sorted(self._known.values(), key=lambda process: process.start_ticks):
            if process not in found and process.alive:  # else an older one has brought it, with its own
                found.update([process, *descendants(process.pid)])
        if self._session_is_ours():
            found.update(processes_of_session(self.session))
        if self.marker:
            found.update(processes_with_marker(self.marker))
        found = {process for process in found if process.pid != os.getpid()}
        self.add(found)
        return sorted(found, key=lambda process: process.pid)


def end_processes(registry: Registry) -> list[ProcessId]:
    """SIGKILL until nothing of the attempt is left: what can end by itself was asked before (``STOP_FILE``), and nothing
    of it heeds SIGTERM (``signals_for_the_owner_alone``).

    Returns:
        what still lives after ``END_LIMIT_S`` (a process stuck in the kernel); normally empty.
    """
    deadline = time.monotonic() + END_LIMIT_S
    while (living := registry.living()) and time.monotonic() < deadline:
        for process in living:
            if process.alive:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.02)
    return living


def memory_gib(processes: Iterable[ProcessId]) -> float:
    """Memory of processes, shared pages counted once (PSS); resident size where the kernel does not report it."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(process.pid)
            try:
                total += own.memory_full_info().pss
            except (psutil.AccessDenied, AttributeError):  # another user's; a kernel without smaps
                total += own.memory_info().rss
    return total / GIB


def end_with_parent() -> None:
    """Ends this process and its whole group when the process that started it is gone, however it went. For one that
    was started in a session of its own."""
    watch_parent(os.getppid(), lambda: os.killpg(os.getpgid(0), signal.SIGKILL))


def watch_parent(parent: int, orphaned: Callable[[], object], poll_s: float = 2.0) -> None:
    """Calls ``orphaned`` in a thread once this process is no child of the process ``parent`` any more."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(poll_s)
        orphaned()

    threading.Thread(target=watch, daemon=True).start()
