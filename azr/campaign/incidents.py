"""The incident log: what went wrong, why, and what was done about it. Reads like a story (``incidents.jsonl``)."""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from azr.run.records import Incident, read_log
from azr.run.rundir import RunDir
from azr.system import GIB
from azr.system.disks import free_gib
from azr.system.files import append_jsonl, read_tail
from azr.system.tracebacks import Raised, root_cause
from azr.train.engine_start import why_no_engine

CAUSE_BYTES = 2_000_000
"""Where the cause of an end is looked for; a worker's last words may stand far above the trainer's."""
SHOWN_CHARACTERS = 300
LAST_LINES = 60
"""Lines before a process's end that can be about it; a C++ library writes its stack below the error."""
FULL_BYTES = 16 * 2**20
"""A disk with less room than this took no checkpoint, and maybe not the end of the log."""

_BUS_ERROR = "shared memory is full (/dev/shm; a container gets more by --shm-size=8g), or the disk of a file that is mapped into memory"
_NO_INSTRUCTION = "an instruction that this processor, or what a virtual machine shows of it, does not have (CPU type `host` there)"
_CAUSES: tuple[tuple[str, str], ...] = (
    (r"No space left on device|Disk quota exceeded|ENOSPC", "the disk is full"),
    (r"Read-only file system", "the file system is read-only"),
    (
        r"File too large",
        "a file grew over this process's file size limit, or over what its disk takes (FAT32: 4 GiB)",
    ),
    (
        r"inline_container\.cc.*unexpected pos \d+ vs \d+",
        "a checkpoint could not be written in full: the disk was full, or a quota, a file size limit (ulimit -f) or what "
        "its disk takes (FAT32: 4 GiB a file) was reached",
    ),
    (
        r"(?i:CUDA out of memory|CUDA (driver )?error: out of memory)|OutOfMemoryError: CUDA",
        "the card ran out of memory",
    ),
    # what torch asks for the figures of its message
    (
        r"NVML_SUCCESS == .*ASSERT FAILED",
        "the card ran out of memory, and its driver did not say how much was free",
    ),
    (r"no kernel image is available", "the installed kernels do not support this card"),
    (
        r"InductorError|BackendCompilerFailed|torch\._dynamo\.exc\.|InternalTorchDynamoError",
        "kernels could not be compiled (scripts/doctor.py says whether Triton works; train.compile_layers=false and "
        "rollout.enforce_eager=true avoid compiling)",
    ),
    (r"Bus error|SIGBUS", _BUS_ERROR),
    (r"Illegal instruction|SIGILL", _NO_INSTRUCTION),
    (r"CUDA error|cudaError|\bNVRM\b|\bXid\b", "a CUDA error"),
    (r"OutOfMemoryError|OOM killer|Cannot allocate memory|\bMemoryError", "host memory ran out"),
    (r"ActorDiedError|RayActorError|WorkerCrashedError", "a Ray worker died"),
    (r"EngineDeadError|EngineCore .*(failed|died)", "the generation engine died"),
    (r"^(ModuleNotFoundError|ImportError)\b", "a Python module cannot be imported"),
)
FROM_OUTSIDE = frozenset(
    {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
)
"""Signals that others send: the log of the process that got one says nothing about why."""
_SIGNALS: dict[int, str] = {
    signal.SIGKILL: "somebody killed it, or the kernel did because host memory ran out",
    signal.SIGTERM: "somebody ended it, or the machine shut down",
    signal.SIGBUS: _BUS_ERROR,
    signal.SIGILL: _NO_INSTRUCTION,
    signal.SIGXFSZ: "a file grew over this process's file size limit",
    signal.SIGXCPU: "its limit of CPU time is used up (ulimit -t)",
}


def record_incident(run: RunDir, incident: Incident) -> None:
    """Appends it, durable when it returns. A disk that is full must not end the campaign a second time, so
    that is let pass."""
    now = time.time()
    incident = replace(
        incident, unix_s=now, time=datetime.fromtimestamp(now).astimezone().isoformat(timespec="seconds")
    )
    with contextlib.suppress(OSError):
        append_jsonl(run.incidents, [asdict(incident) | {"sentence": incident.sentence}])


def read_incidents(run: RunDir) -> Iterator[Incident]:
    return read_log(Incident, run.incidents)


def known_causes(text: str) -> list[str]:
    """What people call the errors that stand in ``text``."""
    engine = why_no_engine(text)
    return [*filter(None, [engine]), *(cause for pattern, cause in _CAUSES if re.search(pattern, text))]


def explain_exit(status: int, log: Path) -> str:
    """Why a trainer ended without a result, as far as its exit status and the end of its log tell, in a sentence.

    Args:
        status: as of ``subprocess.Popen.returncode`` (negative = signal).
    """
    raised = dying_words(status, "\n".join(read_tail(log, CAUSE_BYTES)))
    last_lines = [line.strip() for line in read_tail(log)[-LAST_LINES:]]
    last = str(raised) if raised is not None else _last_error(last_lines) if status >= 0 else ""
    told = known_causes(last or "\n".join(["", *last_lines]))

    if status < 0:
        how = f"The trainer was killed by {signal_name(-status)}"
        causes = [_SIGNALS[-status]] if -status in _SIGNALS else [] if -status in FROM_OUTSIDE else told
    else:
        how = f"The trainer crashed with status {status}"
        if status == 0:
            how = "The trainer ended with status 0 but left no result"
        causes = told
        if not causes and _is_full(log.parent):
            causes = ["the disk is full, and its log breaks off"]

    why = f": {causes[0]}" if causes else ""
    return f"{how}{why}{f' ({last[:SHOWN_CHARACTERS]})' if last else ''}."


def dying_words(status: int, log: str) -> Raised | None:
    """The exception that explains the end of a process.

    An exception that stands in the log of a killed process was survived: the signal ended it. One that a signal
    ended from inside (SIGABRT, SIGSEGV) may have said why in its last lines.
    """
    if -status in FROM_OUTSIDE:
        return None
    if status < 0:
        log = "\n".join(log.splitlines()[-LAST_LINES:])
    raised = root_cause(log)
    return None if raised is not None and status < 0 and raised.is_import else raised


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_error(lines: Sequence[str]) -> str:
    """An error without a traceback; a failed import that is told in this way was survived."""
    pattern = r"(?!ImportError|ModuleNotFoundError)[\w.]*(Error|Exception|Interrupt)\b"
    return next((line for line in reversed(lines) if re.match(pattern, line)), "")


def _is_full(folder: Path) -> bool:
    try:
        return free_gib(folder) * GIB < FULL_BYTES
    except OSError:
        return False


def where_it_hangs(stacks: list[str]) -> list[str]:
    """The three innermost frames of the thread that trains, from what faulthandler (or py-spy) wrote: ``fake.py:12 in
    step``.

    faulthandler begins the thread that took the signal (the main thread) with "Current thread"; without one
    the last block is the main thread's.
    """
    starts = [index for index, line in enumerate(stacks) if re.match(r"(Current thread|Thread) ", line)]
    current = [index for index in starts if stacks[index].startswith("Current thread")]
    begin = (current or starts or [0])[-1]
    found = []
    for line in stacks[begin + 1 :]:
        match = re.match(r'\s+File "(.+)", line (\d+) in (.+)', line)
        if match is None or len(found) == 3:
            break
        found.append(f"{Path(match[1]).name}:{match[2]} in {match[3]}")
    return found
