"""Bytes on the pipes: trainer <-> zygote, and program -> zygote -> trainer. No pickle, no JSON: counted byte strings.

A frame is a 4-byte length and its body; a body is a list of fields, each a 4-byte length and its bytes.
Whatever a program sent is decoded in the trainer only, where anything malformed is a ``FrameError``. Standard
library only: the confined processes import this module too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_LENGTH = struct.Struct("<I")
_CALL = struct.Struct("<HBBd")


class FrameError(ValueError):
    """Bytes that are not one of our frames."""


def pack_frame(*fields: bytes) -> bytes:
    """A whole frame holding ``fields``."""
    parts = [b""]
    size = 0
    for item in fields:
        parts.append(_LENGTH.pack(len(item)))
        parts.append(item)
        size += 4 + len(item)
    parts[0] = _LENGTH.pack(size)
    return b"".join(parts)


def unpack_frame(body: bytes) -> list[bytes]:
    """Raises:
    FrameError: lengths and bytes do not agree.
    """
    fields = []
    position = 0
    while position < len(body):
        if position + 4 > len(body):
            raise FrameError("a truncated field")
        (size,) = _LENGTH.unpack_from(body, position)
        position += 4
        if position + size > len(body):
            raise FrameError("a field longer than its frame")
        fields.append(body[position : position + size])
        position += size
    return fields


def take_frames(buffer: bytearray) -> list[bytes]:
    """Removes the complete frames from the front of ``buffer`` and returns their bodies."""
    bodies = []
    position = 0
    while len(buffer) - position >= 4:
        (size,) = _LENGTH.unpack_from(buffer, position)
        if len(buffer) - position - 4 < size:
            break
        bodies.append(bytes(buffer[position + 4 : position + 4 + size]))
        position += 4 + size
    del buffer[:position]
    return bodies


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def decode(data: bytes) -> str:
    """Raises:
    FrameError: not UTF-8.
    """
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise FrameError("text that is not UTF-8") from error


OK, ERROR, BLOCKED, NONDETERMINISTIC, REFUSED = range(5)
"""Call outcomes as a program's process reports them; the rest (timeout, killed) is seen from outside."""


@dataclass(frozen=True)
class CallFrame:
    """What a program's process says about one call: its own opinion, no more."""

    call: int
    """Index of the input."""
    outcome: int
    repeat: int
    """0 for the first call with an input; for a later one only that it agreed (OK) or did not."""
    cpu_s: float
    value: str
    exception: str
    reason: str


def pack_call(frame: CallFrame) -> bytes:
    header = _CALL.pack(frame.call, frame.outcome, frame.repeat, frame.cpu_s)
    return pack_frame(header, encode(frame.value), encode(frame.exception), encode(frame.reason))


def unpack_call(body: bytes) -> CallFrame:
    """Raises:
    FrameError: malformed, or an outcome or repeat that does not exist.
    """
    fields = unpack_frame(body)
    if len(fields) != 4 or len(fields[0]) != _CALL.size:
        raise FrameError("not a call frame")
    call, outcome, repeat, cpu_s = _CALL.unpack(fields[0])
    if outcome > REFUSED or repeat > 1 or not 0 <= cpu_s < 1e9:
        raise FrameError("a call frame with impossible numbers")
    return CallFrame(call, outcome, repeat, cpu_s, decode(fields[1]), decode(fields[2]), decode(fields[3]))
