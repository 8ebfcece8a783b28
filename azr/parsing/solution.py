"""Reading a solution: the argument list, the output, the error's name, or the program."""

from __future__ import annotations

import re

from azr.parsing.response import fenced_blocks
from azr.sandbox.values import ValueReadError, canonical_text, parse_arguments
from azr.tasks import Rejection, TaskType

_WORDS = {TaskType.ABDUCTION: "input", TaskType.DEDUCTION: "output", TaskType.ERROR: "output"}
_MAX_SEARCHED_CHARS = 4000
"""The fallback patterns look at the end of an answer only: some take quadratic time on hostile text."""
_PATTERNS = {
    word: (
        re.compile(rf"#[ \t]*{word}:(.*?)(?=```|\Z)", re.IGNORECASE | re.DOTALL),
        re.compile(rf"\b{word}[ \t]*\((.*)\)", re.IGNORECASE),
        re.compile(rf"<{word}>(.*?)</{word}>", re.IGNORECASE | re.DOTALL),
        re.compile(rf"\bthe {word} is:?[ \t]*(.*?)\.?\s*\Z", re.IGNORECASE),
    )
    for word in ("input", "output")
}


def parse_solution(task_type: TaskType, answer: str) -> str | Rejection:
    """The text that is graded. Never raises.

    An answer that is a value as a whole is taken before anything is looked for in it, which may be inside its
    strings. Abduction, deduction and error fall back to the whole answer; an induction answer needs a code block.
    """
    if not answer.strip():
        return Rejection("no_answer")
    whole = answer.strip()
    blocks = fenced_blocks(answer)
    if task_type is TaskType.INDUCTION:
        codes = [block.text.strip() for block in blocks if block.is_code]
        return codes[-1] if codes else Rejection("no_code_block")
    # "# Input: 5" is an empty argument list for Python
    if task_type is not TaskType.ERROR and not whole.startswith("#") and is_value(task_type, whole):
        return whole
    word = _WORDS[task_type]
    labels = (word, "error") if task_type is TaskType.ERROR else (word,)
    if labelled := [block.text.strip() for block in blocks if block.label in labels]:
        return labelled[-1]
    for pattern in _PATTERNS[word]:
        if found := pattern.findall(answer[-_MAX_SEARCHED_CHARS:]):
            return found[-1].strip()
    return whole


def is_value(task_type: TaskType, text: str) -> bool:
    """Whether a text is a literal, or for abduction an argument list, which may be empty."""
    try:
        if task_type is TaskType.ABDUCTION:
            parse_arguments(text)
        else:
            canonical_text(text)
    except ValueReadError:
        return False
    return True
