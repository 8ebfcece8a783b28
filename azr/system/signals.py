"""SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 end a command as Ctrl+C does: what it has begun is cleaned up. What it started
does not heed them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class EndedBySignalError(KeyboardInterrupt):
    """Raised in the main thread; whoever cleans up after Ctrl+C cleans up after it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number
        """Exit status, as shells count it."""


def take_over(
    numbers: Iterable[int], handler: Callable[[int, FrameType | None], None], before: dict[int, Any]
) -> None:
    """Has ``handler`` handle these signals, and puts into ``before`` what handled them. One that was ignored (SIGHUP under
    ``nohup``) stays ignored, and outside the main thread, which alone gets signals, nothing changes."""
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)


def undo_inherited() -> None:
    """Undoes what a careless launcher hands on to whatever it starts: an ignored SIGCHLD, with which no process learns how
    another one ended, and blocked signals, with which nothing stops it."""
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGCHLD, *SIGNALS))


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Inside the block the first of the signals raises ``EndedBySignalError``; later ones do not cut its clean-up short."""

    def end(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise EndedBySignalError(number)

    before: dict[int, Any] = {}
    take_over(SIGNALS, end, before)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is end:  # else the end is on its way, and is not cut short
                signal.signal(number, handler)


@contextlib.contextmanager
def signals_for_the_owner_alone() -> Iterator[None]:
    """What is started inside has these signals blocked, and so has all that it starts. Where they are sent to every
    process of a run at once (``systemctl stop``, ``scancel``, a shutdown), the driver heeds them, and has the trainer
    save; Ray, the engine or the sandbox would end at once. The owner ends what it started by SIGKILL."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
