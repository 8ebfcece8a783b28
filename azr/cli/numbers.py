"""Number types for command lines, which refuse what argparse's ``float`` and ``int`` accept but no command
can use."""

from __future__ import annotations

import argparse
import math


def above_zero(text: str) -> float:
    """Raises:
    argparse.ArgumentTypeError: no number above 0, or infinite or nan.
    """
    if not 0 < (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def zero_or_more(text: str) -> float:
    """Raises:
    argparse.ArgumentTypeError: no number, or negative, infinite or nan.
    """
    if not 0 <= (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 or a number above it")
    return value


def share(text: str) -> float:
    """Raises:
    argparse.ArgumentTypeError: no number above 0 and up to 1.
    """
    if not 0 < (value := _number(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and at most 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def count(text: str) -> int:
    """Raises:
    argparse.ArgumentTypeError: no whole number above 0.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
