"""Output that never fails on a character: what the terminal's encoding lacks is written as the nearest ASCII."""

from __future__ import annotations

import codecs
import sys

_HANDLER = "azr_nearest"
_NEAREST = str.maketrans(
    "█▇▆▅▄▃▂▁░━─│╭╮╰╯┌┐└┘┏┓┗┛┃┡┩├┤┼╇·–—−→←…×±“”‘’\u00a0\u202f€",
    "#*+=-,._.=-|++++++++++++|++++++----><.x+\"\"''  E",
)


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
