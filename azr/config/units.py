"""Numbers as people write them, with a unit: what such a value has to be instead."""

from __future__ import annotations

import re
from contextlib import suppress

_WORDS = {
    "hours": "hours",
    "s": "seconds",
    "gib": "GiB",
    "mib": "MiB",
    "kib": "KiB",
    "tokens": "tokens",
    "steps": "steps",
}
"""Last word of a key -> the unit that its number is in."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TIME = re.compile(r"s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?")
_BYTES = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_NUMBER = re.compile(r"([+-]?\d[\d_]*(?:\.\d+)?(?:e-?\d+)?)\s*([a-z%]+)", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}(?:[ ,']\d{3})+")


def number_told(key: str, text: str, *, whole: bool, share: bool) -> str:
    """What the number of a key has to be, and which is meant if that is clear: the end of "KEY is TEXT; it".

    Args:
        whole: the key takes a whole number.
        share: it takes a share from 0 to 1.
    """
    unit = _WORDS.get(re.split(r"[._]", key)[-1], "")
    number = f"a {'whole ' if whole else ''}number{f' of {unit}' if unit else ''}"
    kind = "a share from 0 to 1" if share else number
    if whole and re.fullmatch(r"0[xob][0-9a-f_]+", text.strip(), re.IGNORECASE):
        with suppress(ValueError):
            return f"must be {kind}: {int(text, 0)}"
    if result := calculated(text, whole=whole):
        return f"must be {kind}: {result}"
    meant = _meant(text.strip(), unit, share)
    if meant is None or (whole and meant != int(meant)):
        return f"must be {kind}" + (", without a unit" if _NUMBER.fullmatch(text.strip()) else "")
    return f"must be {kind}, without a unit: {meant:.15g}"


_FACTOR = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?:\^([+-]?\d{1,2}))?", re.IGNORECASE)
_RAISED = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")


def calculated(text: str, *, whole: bool = False) -> str:
    """The number that ``10^-6``, ``2x10⁻⁶``, ``24*2`` or ``1/2`` comes to, as it is typed; empty for other texts."""
    if re.search(r"\d\s+\d", text):
        return ""  # 1 1/2 is not 11/2
    text = re.sub("[⁺-⁻⁰¹²³⁴-⁹]+", lambda raised: "^" + raised[0].translate(_RAISED), text)
    text = re.sub("[x×·]", "*", re.sub(r"\s", "", text).replace("**", "^").replace("−", "-"))
    factors = [_FACTOR.fullmatch(part) for part in re.split("[*/]", text)]
    if not all(factors) or not re.search(r"[*/^]", text) or len(factors) > 2:
        return ""
    try:
        values = [
            float(f"1e{found[2]}") if found[1] == "10" and found[2] else float(found[1]) ** int(found[2] or 1)
            for found in factors
            if found
        ]
        number = (
            values[0] if len(values) < 2 else values[0] / values[1] if "/" in text else values[0] * values[1]
        )
    except (ArithmeticError, TypeError):
        return ""
    return "" if whole and not number.is_integer() else re.sub("e([+-])0", r"e\1", f"{number:.12g}")


def _meant(text: str, unit: str, share: bool) -> float | None:
    """The number in the key's own unit; None where it could be several, or is none."""
    if _THOUSANDS.fullmatch(text):
        return float(re.sub(r"[ ,']", "", text))
    if unit == "hours" and (clock := re.fullmatch(r"(\d+)(?::|\s*h\s*)([0-5]\d)(?:\s*m(?:in)?)?", text)):
        return int(clock[1]) + int(clock[2]) / 60
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    number, suffix = float(found[1].replace("_", "")), found[2].lower()
    if suffix == "%":
        return number / 100 if share else None
    if suffix.rstrip("s") == unit.rstrip("s"):  # 1000 tokens
        return number
    if unit in ("hours", "seconds"):
        seconds = number * _SECONDS[suffix[0]] if _TIME.fullmatch(suffix) else None
        return None if seconds is None else seconds / (3600 if unit == "hours" else 1)
    if unit in ("GiB", "MiB", "KiB") and re.fullmatch(r"[kmgt](i?b)?", suffix):
        return number * _BYTES[suffix[0]] / _BYTES[unit[0].lower()]
    return None
