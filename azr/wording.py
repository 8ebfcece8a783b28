"""Parts of sentences for people."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 step``, ``2 steps``, ``1,200 processes``; ``plural`` where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def first_line(error: BaseException) -> str:
    """Of an error's words, for a sentence; its class where it has none."""
    said = str(getattr(error, "strerror", None) or error)
    return (said.splitlines() or [type(error).__name__])[0][:300]


def one_line(text: str) -> str:
    """A text from a file as it may go to a terminal: no control characters (they could move the cursor), one line."""
    return "".join(character if character.isprintable() else " " for character in text)
