"""The driver's sign of life, for other machines: it beats from its start to its end, also while it reads the model's files,
consolidates, merges or pauses, when no trainer does.

The lock of a run on a share may keep out its own machine's processes alone (``nolock``), and two drivers would undo each
other's work. So a start looks whether the run beats elsewhere, and a driver that has slept whether another one began meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from azr.campaign.control import recorded_driver
from azr.errors import RunError
from azr.run.protocol import DriverBeat, read_driver_beat, read_heartbeat, write_beat
from azr.run.rundir import RunDir
from azr.system.disks import share_without_locks
from azr.system.processes import ProcessId, boot_id

BEAT_INTERVAL_S = 5.0
WATCHED_S = 15.0
"""Three beats."""
SHOWN_LATE_S = 90.0
"""As long may a share go on showing what was there before: NFS and its like for a minute, and a beat comes every few seconds."""
CLOCKS_APART_S = 900.0
"""By so much the clocks of two machines may differ; an older beat is nobody's any more."""


class DriverBeats:
    """Beats while it is entered; a driver that was killed leaves its last beat."""

    def __init__(self, run: RunDir) -> None:
        own = ProcessId.of(os.getpid())
        assert own is not None
        self._run, self._own, self._sequence = run, own, 0
        self.predecessors = frozenset(each for each in _last_drivers(run) if not each.alive)
        """Whose run this one took over. What one of them began to write before it slept, or its share hung, may arrive at any time;
        it is that one which ends."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._beat_for_ever, name="driver-beats", daemon=True)

    def __enter__(self) -> DriverBeats:
        self._remove()  # that of a driver that was killed would be another's, where the disk has no room for ours
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._closing.set()
        self._thread.join(timeout=BEAT_INTERVAL_S)
        if other_driver(self._run, but=self.predecessors) is None:
            self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._run.driver_beat.unlink(missing_ok=True)

    def _beat_for_ever(self) -> None:
        while not self._closing.wait(BEAT_INTERVAL_S):
            if other_driver(self._run, but=self.predecessors) is not None:
                break
            self._beat()

    def _beat(self) -> None:
        self._sequence += 1
        with contextlib.suppress(OSError):  # a full disk; beats resume when there is room
            # else the run's folder has gone, and its disk's empty place stays empty
            if self._run.lock.exists():
                write_beat(self._run, DriverBeat(time.time(), self._own, self._sequence))


def other_driver(run: RunDir, but: Collection[ProcessId] = ()) -> DriverBeat | None:
    """The latest beat, if it is not this process's: this machine slept, and another one took the run over.

    Args:
        but: drivers whose beats tell nothing.
    """
    beat = read_driver_beat(run)
    if (
        beat is None
        or beat.driver in but
        or _is_old(beat.unix_s)
        or (beat.pid == os.getpid() and beat.driver.alive)
    ):
        return None
    return beat


def refuse_while_it_beats(run: RunDir, say: Callable[[str], object]) -> None:
    """Of a run that was last driven on another machine, or before a restart, looks for ``WATCHED_S`` whether it still beats; for longer
    on a share that may show late what another machine writes. One that does so later than ``SHOWN_LATE_S`` cannot be told from one
    on which nobody works: then the earlier driver ends as soon as it is shown the later one's beat (``other_driver``).

    Raises:
        RunError: it does.
    """
    if all(driver.boot_id == boot_id() for driver in _last_drivers(run)):
        return
    before = read_driver_beat(run), read_heartbeat(run)
    if all(_is_old(beat.unix_s) for beat in before if beat):
        return
    share = share_without_locks(run.root)
    watched_s = _watch_s(run, share)
    why = f" ({share} may show late what another machine writes)" if watched_s > WATCHED_S else ""
    say(
        f"The run was last driven on another machine, or before a restart: is it still? Waiting {watched_s:.0f} s{why}."
    )
    latest, late = [*before], set[int]()
    until_s = time.monotonic() + watched_s
    while time.monotonic() < until_s:
        time.sleep(WATCHED_S / 30)
        _watch_s(run, share)  # so that the share looks anew
        for which, beat in enumerate((read_driver_beat(run), read_heartbeat(run))):
            if beat is None or beat == latest[which]:
                continue
            if which in late:
                raise RunError(
                    f"{run.root} works on another machine: its heartbeat goes on (process {beat.pid} there). Wait for it, or end it "
                    "there with Ctrl+C; two machines must not work on one run. If it ended a moment ago, its share shows that late: run "
                    "the same command again"
                )
            # NFS may show only now what was written before we looked; one that lives writes again
            latest[which], until_s = beat, time.monotonic() + _watch_s(run, share)
            late.add(which)


def _last_drivers(run: RunDir) -> list[ProcessId]:
    """Those that its state and its latest beat name."""
    beat = read_driver_beat(run)
    return [each for each in (recorded_driver(run), beat and beat.driver) if each]


def _watch_s(run: RunDir, share: str) -> float:
    """For how long no beat must come. On a share the longer, the younger the latest one is by the share's own clock, as this
    machine is shown it. The file that is made and removed for it has many a share look into the folder anew."""
    if not share:
        return WATCHED_S
    looking = run.root / f".looking.{os.getpid()}"
    try:
        looking.touch()
        now_s = looking.stat().st_mtime
        looking.unlink()
        written_s = max(path.stat().st_mtime for path in (run.driver_beat, run.heartbeat) if path.exists())
    except (OSError, ValueError):  # full, or no beat is there yet
        return SHOWN_LATE_S
    return min(SHOWN_LATE_S, max(WATCHED_S, SHOWN_LATE_S - (now_s - written_s)))


def _is_old(unix_s: float) -> bool:
    return abs(time.time() - unix_s) > CLOCKS_APART_S
