"""Ctrl+C once: stop at the next step boundary with a checkpoint. Twice: stop immediately. SIGTERM, SIGHUP,
and SIGUSR1, SIGUSR2 and SIGXCPU, with which clusters warn of a time limit, act like one Ctrl+C."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from types import FrameType
from typing import Any

from azr.system.signals import SIGNALS, take_over

ANSWER = "Stopping: the step that runs now is finished and saved first. Ctrl+C again ends immediately; what is saved stays."


class StopSignals:
    """Catches the signals while it is entered; in another thread than the main one, which gets none, it does nothing.

    Raises:
        KeyboardInterrupt: from wherever the program is, at the second Ctrl+C; further ones are ignored, so
            that the clean-up that follows is not cut short.
    """

    REPEAT_S = 0.3
    """Two Ctrl+C closer than this are one (a key that bounces, a terminal that sends it to several processes)."""

    def __init__(self) -> None:
        self.asked = ""
        """Name of the signal that requested a stop; empty if there was none."""
        self._interrupts = 0
        self._last_s = float("-inf")
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        # not in another thread than the main one, where a notebook or a program of somebody's may run this
        take_over((signal.SIGINT, signal.SIGXCPU, *SIGNALS), self._handle, self._before)
        return self

    def __exit__(self, *_: object) -> None:
        # once asked for, the end is on its way: a late signal must not cut it short
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.asked else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            # a terminal that is gone; a print that this one interrupts
            with contextlib.suppress(OSError, RuntimeError):
                print(ANSWER, file=sys.stderr, flush=True)
        self.asked = self.asked or signal.Signals(number).name
        if number != signal.SIGINT:
            return
        now_s = time.monotonic()
        if now_s - self._last_s < self.REPEAT_S:
            return
        self._last_s = now_s
        self._interrupts += 1
        if self._interrupts == 2:
            raise KeyboardInterrupt
