"""Number types for command lines, which refuse what argparse's ``float`` and ``int`` accept but no command
can use."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable


def _hint(text: str, wanted: str = "") -> str:
    """What to do about a unit, a percent sign, a comma, or MiB in place of GiB."""
    if re.fullmatch(r"\d+,\d+", text):
        return "; write a point, not a comma"
    if "GiB" in wanted and re.fullmatch(r"\d{4,}", text):  # as nvidia-smi and free -m show it
        return f"; {text} MiB are {int(text) / 1024:.1f}"
    return "; write the number alone, without a unit" if re.match(r"[\d.]+\s*[a-zA-Z%]", text) else ""


def _number(wanted: str, usable: Callable[[float], bool]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not usable(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}{_hint(text, wanted)}")
        return value

    return read


above_zero = _number("a number above 0", lambda value: 0 < value < math.inf)
card_gib = _number("a card's memory, above 0 and at most 1024 GiB", lambda value: 0 < value <= 1024)
hours = _number("a number of hours from 0 to a million", lambda value: 0 <= value <= 10**6)
memory_gib = _number("a memory above 0 and at most 4096 GiB", lambda value: 0 < value <= 4096)
difference = _number(
    "a difference of two scores, from 0 to 1 (0.05 for 5 points)", lambda value: 0 <= value <= 1
)
temperature = _number("a temperature from 0 to 2", lambda value: 0 <= value <= 2)
share = _number("a number above 0 and at most 1", lambda value: 0 < value <= 1)


def count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0{_hint(text)}")
    return int(text)
