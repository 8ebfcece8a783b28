"""Number types for command lines, which refuse what argparse's ``float`` and ``int`` accept but no command
can use."""

from __future__ import annotations

import argparse


def above_zero(text: str) -> float:
    """Raises:
    argparse.ArgumentTypeError: no number above 0, or infinite or nan.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def count(text: str) -> int:
    """Raises:
    argparse.ArgumentTypeError: no whole number above 0.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
