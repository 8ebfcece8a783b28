"""Output that never fails: neither on a character that the terminal's encoding lacks, nor when the reader has
gone away.

A character becomes the nearest ASCII. When nobody reads any more (a closed terminal, ``| head``, a ``tee``
that Ctrl+C ended), a program continues and its output is lost; its exit status stays its own.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

_HANDLER = "azr_nearest"
_NEAREST = str.maketrans(
    "█▇▆▅▄▃▂▁░━─│╭╮╰╯┌┐└┘┏┓┗┛┃┡┩├┤┼╇·–—−→←…×±“”‘’\u00a0\u202f€",
    "#*+=-,._.=-|++++++++++++|++++++----><.x+\"\"''  E",
)
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

    def write(self, text: str) -> int:
        with self._guarded():
            self._stream.write(text)
        return len(text)

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
                    os.dup2(nowhere, self._stream.fileno())
                    os.close(nowhere)


def outlive_the_terminal() -> None:
    """To be called by a program before its first output. A stream that was closed before the start leads nowhere."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the program
        setattr(sys, name, SteadyStream(stream))


def forget_empty_sizes() -> None:
    """``COLUMNS=0``, as some consoles set it, would leave no room for anything; without it the terminal is asked."""
    for name in ("COLUMNS", "LINES"):
        if os.environ.get(name, "").strip() == "0":
            del os.environ[name]


def output_is_lost() -> bool:
    """Whether nobody reads standard output any more: the end of a program that only shows something."""
    return bool(getattr(sys.stdout, "lost", False))
