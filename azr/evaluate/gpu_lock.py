"""One evaluation per card: a second one waits for the first instead of running out of memory.

A lock is a file per card, named by its UUID, in a folder of this user's. The kernel drops it when its holder
ends, however that went.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import filelock

from azr.errors import EngineError
from azr.system.locks import take_lock, to_stderr
from azr.system.places import SHARED, make_private

WAIT_LIMIT_S = 12 * 3600.0
"""Longer than an evaluation of several models and suites takes."""


def lock_folder() -> Path:
    """The same for all processes of this user on this machine, whatever their TMPDIR is.

    Raises:
        EngineError: somebody else owns a folder of this name.
    """
    parent = SHARED if os.access(SHARED, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    folder = parent / f"azr-{os.getuid()}"
    if problem := make_private(folder):
        raise EngineError(
            f"{folder} {problem}, so the cards cannot be locked there; remove it, or have its owner do so"
        )
    return folder


@contextlib.contextmanager
def hold_cards(
    cards: Sequence[str],
    *,
    folder: Path | None = None,
    limit_s: float = WAIT_LIMIT_S,
    say: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Holds the locks of ``cards`` (UUIDs) inside the ``with`` block; waits for whoever holds one of them.

    Args:
        limit_s: longest wait for one card.
        say: called once per card that has to be waited for; prints to standard error by default.

    Raises:
        EngineError: a card was still in use after ``limit_s``.
        RunError, OSError: as ``azr.system.locks.take_lock``.
    """
    with contextlib.ExitStack() as held:
        for card in sorted(set(cards)):  # everybody in the same order: two of them never wait for each other
            path = (folder or lock_folder()) / f"{re.sub(r'[^A-Za-z0-9.-]', '_', card)}.lock"
            held.callback(_take(path, card, limit_s, say or to_stderr).release)
            path.write_text(f"{os.getpid()}\n")  # for those who wait
        yield


def _take(path: Path, card: str, limit_s: float, say: Callable[[str], None]) -> filelock.FileLock:
    try:
        return take_lock(path, 0, say)
    except filelock.Timeout:
        say(
            f"another evaluation ({_holder(path)}) uses card {card}; waiting until it ends (Ctrl+C to stop waiting)"
        )
    try:
        return take_lock(path, limit_s, say)
    except filelock.Timeout as error:
        raise EngineError(
            f"{_holder(path)} is still evaluating on card {card} after {limit_s / 3600:.0f} hours; end it, or name another card "
            "with CUDA_VISIBLE_DEVICES"
        ) from error


def _holder(path: Path) -> str:
    return f"process {path.read_text().strip() or 'unknown'}"
