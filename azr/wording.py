"""Counts in sentences for people."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 step``, ``2 steps``, ``1,200 processes``; ``plural`` where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
