"""Numbers and texts for people: durations, counts, shares, sparklines, what a model wrote in short."""

from __future__ import annotations

import contextlib
import math
import re
import shlex
import time
from pathlib import Path

import numpy as np

from azr.report.metrics import FloatArray

SPARKS = "▁▂▃▄▅▆▇█"
MAX_CHARS = 6000
"""Longest prompt or response on a page."""


def duration(seconds: float | None) -> str:
    """``8 s``, ``12 min``, ``3 h 05 min``, ``2 d 4 h``; a dash where it is unknown."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def number(value: float | None, digits: int = 3) -> str:
    """Significant digits without exponent where that stays readable: ``7,063``, ``0.0123``, ``1.5e-6``."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return with_minus(f"{value:,.0f}")
    if abs(value) < 1e-3:
        mantissa, exponent = f"{value:.{max(0, digits - 2)}e}".split("e")
        return with_minus(f"{_trimmed(mantissa)}e{int(exponent)}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return with_minus(_trimmed(f"{value:.{decimals}f}"))


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def with_minus(text: str) -> str:
    """A leading hyphen becomes the minus sign, which is as wide as the plus."""
    return f"\N{MINUS SIGN}{text[1:]}" if text.startswith("-") else text


def signed(value: float | None, decimals: int = 2) -> str:
    """``+0.25``, ``−0.50``; a zero has no sign."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:+.{decimals}f}"
    return text[1:] if not float(text) else with_minus(text)


def percent(value: float | None, digits: int = 1) -> str:
    # no line break before the sign
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}\u00a0%"


def points(value: float | None) -> str:
    """A difference of two shares in percentage points, with its sign."""
    return "–" if value is None or not math.isfinite(value) else f"{signed(100 * value, 1)} points"


def interval_points(interval: tuple[float, float]) -> str:
    """``−7.9 to +7.9``: an interval of a difference of shares, in percentage points."""
    return f"{signed(100 * interval[0], 1)} to {signed(100 * interval[1], 1)}"


def when(unix_s: float | None) -> str:
    """Local date and time, to the minute."""
    if unix_s is None or not math.isfinite(unix_s) or unix_s <= 0:
        return "–"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s))


def means_of_parts(values: FloatArray, most: int) -> FloatArray:
    """A series in at most ``most`` parts, each the mean of what was logged in it; NaN where nothing was."""
    parts = np.array_split(values, min(most, len(values))) if len(values) else []
    return np.array(
        [np.mean(part[np.isfinite(part)]) if np.isfinite(part).any() else np.nan for part in parts]
    )


def sparkline(values: FloatArray, width: int, low: float | None = None, high: float | None = None) -> str:
    """The last ``width`` buckets of a series as block characters; blank where nothing was logged.

    All steps are shown once there are more than ``width``: each character is the mean of a bucket.
    """
    means = means_of_parts(values, width)
    finite = means[np.isfinite(means)]
    if not len(finite):
        return " " * width
    low = float(finite.min()) if low is None else low
    high = float(finite.max()) if high is None else high
    span = high - low
    levels = np.clip((means - low) / span, 0.0, 1.0) if span > 0 else means * 0 + 0.5  # NaN stays NaN
    heights = (level * (len(SPARKS) - 1) + 0.5 for level in levels.tolist())
    return "".join(SPARKS[int(each)] if math.isfinite(each) else " " for each in heights).ljust(width)


def shown_path(path: Path) -> str:
    """As one would type it from here: relative where it lies below the working directory, quoted where a
    shell needs that."""
    with contextlib.suppress(ValueError, OSError):
        path = path.resolve().relative_to(Path.cwd())
    return shlex.quote(str(path))


def cut(text: str, limit: int = MAX_CHARS) -> str:
    """The beginning and the end of a long text, and how much was left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def gist(response: str) -> str:
    """A line to tell responses apart in a list: the function that it defines, else its last line that is no
    tag or fence."""
    program = re.search(r"^[ \t]*def .*?(?=^[ \t]*```|\Z)", response, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for line in response.splitlines()]
    said = [line for line in lines if line and not re.fullmatch(r"```.*|(</?\w+>\s*)+", line)]
    chosen = " ".join(program[0].split()) if program else said[-1] if said else ""
    return chosen if len(chosen) <= 120 else f"{chosen[:120]}…"
