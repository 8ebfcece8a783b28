"""The incident log: what went wrong, why, and what was done about it. Reads like a story (``incidents.jsonl``)."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from azr.files import append_jsonl, read_tail
from azr.records import Incident, read_log
from azr.rundir import RunDir
from azr.tracebacks import root_cause

CAUSE_BYTES = 2_000_000
"""Where the cause of an end is looked for; a worker's last words may stand far above the trainer's."""
SHOWN_CHARACTERS = 300
FULL_BYTES = 16 * 2**20
"""A disk with less room than this took no checkpoint, and maybe not the end of the log."""

_CAUSES: tuple[tuple[str, str], ...] = (
    (r"No space left on device|Disk quota exceeded|ENOSPC", "the disk is full"),
    (r"Read-only file system", "the file system is read-only"),
    (r"File too large", "a file grew over this process's file size limit"),
    (
        r"Error in memory profiling",
        "another program changed the card's memory while the engine measured it (harmless; start again)",
    ),
    (r"CUDA out of memory|CUDA error: out of memory|OutOfMemoryError: CUDA", "the card ran out of memory"),
    (r"no kernel image is available", "the installed kernels do not support this card"),
    (
        r"InductorError|BackendCompilerFailed|torch\._dynamo\.exc\.|InternalTorchDynamoError",
        "kernels could not be compiled (scripts/doctor.py tells whether Triton works; train.compile_layers=false and "
        "rollout.enforce_eager=true go without)",
    ),
    (
        r"Bus error|SIGBUS",
        "shared memory is full (/dev/shm; a container gets more by --shm-size=8g), or the disk of a file that is mapped into memory",
    ),
    (r"CUDA error|cudaError|NVRM|Xid", "a CUDA error"),
    (
        r"ray\.exceptions\.OutOfMemoryError|OOM killer|Cannot allocate memory|MemoryError",
        "host memory ran out",
    ),
    (r"ActorDiedError|RayActorError|WorkerCrashedError", "a Ray worker died"),
    (r"EngineDeadError|EngineCore .*(failed|died)", "the generation engine died"),
    (r"ModuleNotFoundError|ImportError", "a Python module cannot be imported"),
)


def record_incident(run: RunDir, incident: Incident) -> Incident:
    """Appends it, durable when it returns. A disk that is full must not end the campaign a second time, so
    that is let pass."""
    now = time.time()
    incident = replace(
        incident, unix_s=now, time=datetime.fromtimestamp(now).astimezone().isoformat(timespec="seconds")
    )
    with contextlib.suppress(OSError):
        append_jsonl(run.incidents, [asdict(incident) | {"sentence": incident.sentence}])
    return incident


def read_incidents(run: RunDir) -> Iterator[Incident]:
    return read_log(Incident, run.incidents)


def known_causes(text: str) -> list[str]:
    """What people call the errors that stand in ``text``."""
    return [cause for pattern, cause in _CAUSES if re.search(pattern, text)]


def explain_exit(status: int, log: Path) -> tuple[str, list[str]]:
    """Why a trainer ended without a result, as far as its exit status and the end of its log tell.

    Args:
        status: as of ``subprocess.Popen.returncode`` (negative = signal).

    Returns:
        a sentence, and the last lines of the log.
    """
    tail = read_tail(log)
    raised = root_cause("\n".join(read_tail(log, CAUSE_BYTES)))
    text = str(raised) if raised is not None and status >= 0 else "\n".join(tail)
    causes = known_causes(text)
    if not causes and _is_full(log.parent):
        causes = ["the disk is full, and its log breaks off"]

    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        how = f"The trainer was killed by {name}"
        if -status == signal.SIGKILL and not causes:
            causes = ["somebody killed it, or the kernel did because host memory ran out"]
    elif status == 0:
        how = "The trainer ended with status 0 but left no result"
    else:
        how = f"The trainer crashed with status {status}"

    last = next(
        (
            line.strip()
            for line in reversed(tail)
            if re.match(r"^\s*[\w.]*(Error|Exception|Interrupt)\b", line)
        ),
        "",
    )
    if raised is not None:
        last = str(raised)

    why = f": {causes[0]}" if causes else ""
    return f"{how}{why}{f' ({last[:SHOWN_CHARACTERS]})' if last else ''}.", tail[-20:]


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FULL_BYTES
    except OSError:
        return False


def where_it_hangs(stacks: list[str], frames: int = 3) -> list[str]:
    """Innermost frames of the thread that trains, from what faulthandler (or py-spy) wrote: ``fake.py:12 in
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
        if match is None or len(found) == frames:
            break
        found.append(f"{Path(match[1]).name}:{match[2]} in {match[3]}")
    return found
