"""What a copied command brings along that the shell does not take away: a comment, typographic marks, nothing at all."""

from __future__ import annotations

import os
import re
import unicodedata

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_QUOTES = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a\uff02\uff07"
_EQUALS = "\uff1d"
_UNSEEN = "\u00a0\u00ad\u2007\u200b\u2060\u202f\ufeff"
"""Blanks of web pages and chat windows, at which no shell splits, and what has no width."""
_KEY_BEHIND = re.compile(f"[{_UNSEEN}]+[a-z_.]+=")
_NUMBER = re.compile(rf"[{_DASHES}-]?[\d.]+([eE][{_DASHES}-]?\d+)?")


def pasted_sentence(word: str) -> str:
    """Why an argument is not what was meant, and what to write; empty for all others."""
    if not word or (word.startswith("--") and word.endswith("=")):
        return f"{word or repr(word)} names nothing; is a variable of the shell not set?"
    if word.endswith("\r") and not os.path.lexists(word):
        return f"{word!r} ends in a carriage return, as a script saved on Windows has it; remove them all: sed -i 's/\\r$//' SCRIPT"
    if word.startswith("#") and not os.path.lexists(word):
        return (
            f"{word!r} begins a comment, which this shell hands on (zsh does, unless `setopt interactive_comments` is set); "
            "leave it out, with all that follows"
        )
    key, _, value = word.partition("=")
    inside = _KEY_BEHIND.search(value)
    ends = (*key, *value[:1], *value[-1:], *(inside[0][:1] if inside else ""))
    unseen = next((character for character in ends if character in _UNSEEN), "")
    if unseen and not os.path.lexists(value or word):
        name = f"U+{ord(unseen):04X}, {unicodedata.name(unseen, '').lower()}"
        return f"{word!a} holds an invisible character ({name}), as web pages have it; delete it, and type a space between words"
    if word[:1] and word[0] in _DASHES:
        rest = word.lstrip(_DASHES + "-")
        return f"{word!r} begins with a typographic dash, as text processors write it; type {'-' if len(rest) == 1 else '--'}{rest}"
    if _NUMBER.fullmatch(value) and (typed := re.sub(f"[{_DASHES}]", "-", value)) != value:
        return f"{word!r} has a typographic minus, as web pages and papers write it; type {key}={typed}"
    if _EQUALS in word and "=" not in word:
        return f"{word!r} holds a full-width {_EQUALS}; type ="
    if _in_marks(word, _QUOTES) or _in_marks(value, _QUOTES):
        return f"{word!r} has typographic quotation marks, which a shell does not take away; type ' or \", or none"
    if _in_marks(word, "'\"") and word[0] == word[-1] and not os.path.lexists(word):
        return f"{word} arrived with its quotation marks, as cmd.exe hands them on; leave them out, or use double ones there"
    return ""


def _in_marks(text: str, marks: str) -> bool:
    return len(text) > 1 and text[0] in marks and text[-1] in marks
