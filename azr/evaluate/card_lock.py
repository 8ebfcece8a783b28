"""One evaluation per card: a second one waits for the first instead of running out of memory.

A lock is a file per card, named by its UUID, in a folder of this user's. The kernel drops it when its holder
ends, however that went.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from azr.errors import EngineError
from azr.system.locks import NO_LOCKS, to_stderr
from azr.system.places import SHARED, make_private

WAIT_LIMIT_S = 12 * 3600.0
"""Longer than an evaluation of several models and suites takes."""
POLL_S = 1.0


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
    """
    with contextlib.ExitStack() as held:
        for card in sorted(set(cards)):  # everybody in the same order: two of them never wait for each other
            file = (folder or lock_folder()) / f"{re.sub(r'[^A-Za-z0-9.-]', '_', card)}.lock"
            _hold(held, file, card, limit_s, say or to_stderr)
        yield


def _hold(
    held: contextlib.ExitStack, path: Path, card: str, limit_s: float, say: Callable[[str], None]
) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    held.callback(os.close, descriptor)
    deadline, told = time.monotonic() + limit_s, False
    while not _locked(descriptor, path, say):
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        if time.monotonic() >= deadline:
            raise EngineError(
                f"process {holder} is still evaluating on card {card} after {limit_s / 3600:.0f} hours; end it, or name another card "
                "with CUDA_VISIBLE_DEVICES"
            )
        if not told:
            say(
                f"another evaluation (process {holder}) uses card {card}; waiting until it ends (Ctrl+C to stop waiting)"
            )
            told = True
        time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)


def _locked(descriptor: int, path: Path, say: Callable[[str], None]) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        say(
            f"The file system of {path.parent} has no locks ({error.strerror}), so a second evaluation on this card would not wait: "
            "start one at a time."
        )
    return True
