"""Output that never fails: neither on a character that the terminal's encoding lacks, nor when the reader has
gone away.

A character becomes the nearest ASCII. When nobody reads any more (a closed terminal, ``| head``, a ``tee``
that Ctrl+C ended), a program continues and its output is lost; its exit status stays its own. A run does not wait, either, for
a reader that has stopped reading.
"""

from __future__ import annotations

import codecs
import errno
import os
import signal
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Any, TextIO

_HANDLER = "azr_nearest"
_NEAREST = str.maketrans(
    "█▇▆▅▄▃▂▁░━─│╭╮╰╯┌┐└┘┏┓┗┛┃┡┩├┤┼╇·–—−→←…×±“”‘’\u00a0\u202f€",
    "#*+=-,._.=-|++++++++++++|++++++----><.x+\"\"''  E",
)
PATIENCE_S = 10.0
"""A run waits so long for whoever reads its output (Ctrl+S, a connection that hangs, a pipe that nobody reads)."""
_GONE = (errno.EPIPE, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ECONNRESET)
"""A pipe without a reader; a terminal that was closed (its window, or the connection)."""


def tolerate_any_encoding() -> None:
    """Makes standard output and error of this process write every character. Called first by each command."""
    codecs.register_error(_HANDLER, _nearest)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # not where a test or a notebook put its own stream
            reconfigure(errors=_HANDLER)


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """One character for one, so that columns stay where they are; a byte of a file name as Python shows it."""
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(_one(character) for character in lost.translate(_NEAREST)), error.end


def _one(character: str) -> str:
    if character < "\x80":
        return character
    return f"\\x{ord(character) - 0xDC00:02x}" if "\udc80" <= character <= "\udcff" else "?"


class SteadyStream:
    """A text stream whose ``write`` and ``flush`` raise no OSError; everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = False
        """Nobody reads it any more."""
        self._descriptor: int | None = None
        """The same terminal or pipe, opened so that writing never waits."""
        self._unread = False

    def write(self, text: str) -> int:
        with self._guarded():
            if self._descriptor is None:
                self._stream.write(text)
            else:
                self._offer(
                    self._descriptor, text.encode(self._stream.encoding, self._stream.errors or "strict")
                )
        return len(text)

    def drop_unread(self) -> None:
        """From now on, output to a terminal or pipe is dropped while it has not been read for ``PATIENCE_S``."""
        with suppress(OSError, ValueError):  # not one of this user's, say: then it is waited for
            number = self._stream.fileno()
            if not isinstance(self._stream, TextIOWrapper):
                return  # a notebook's own, which names the terminal that the notebook was started in
            if os.isatty(number) or stat.S_ISFIFO(os.fstat(number).st_mode):
                self._stream.flush()
                # opened anew: on the descriptor that there is, the shell would not wait, either
                flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK
                self._descriptor = os.open(f"/proc/self/fd/{number}", flags)

    def _offer(self, descriptor: int, data: bytes) -> None:
        deadline_s = time.monotonic() + (0 if self._unread else PATIENCE_S)
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    self._unread = True
                    return
                time.sleep(0.02)
        self._unread = False

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._guarded():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # a full disk under ``> file`` is no reason to stop either: the run has its own eye on disks
            if error.errno in _GONE:
                self.lost = True
                with suppress(OSError, ValueError):  # from here on to nowhere, what is still buffered too
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    for descriptor in filter(None, (self._stream.fileno(), self._descriptor)):
                        os.dup2(nowhere, descriptor)
                    os.close(nowhere)


def outlive_the_terminal() -> None:
    """To be called by a program before its first output. A stream that was closed before the start leads nowhere, and a job in the
    background writes to its terminal also after ``stty tostop``: it would stand still, and not even end when asked to."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the program
        setattr(sys, name, SteadyStream(stream))


def never_wait_for_readers() -> None:
    """Called by what has to go on without anybody who looks; of no effect before ``outlive_the_terminal``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, SteadyStream):
            stream.drop_unread()


def forget_empty_sizes() -> None:
    """``COLUMNS=0``, as some consoles set it, would leave no room for anything; without it the terminal is asked."""
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name, "").strip() == "0":
            del os.environ[name]


def output_is_lost() -> bool:
    """Whether nobody reads standard output any more: the end of a program that only shows something."""
    return bool(getattr(sys.stdout, "lost", False))
