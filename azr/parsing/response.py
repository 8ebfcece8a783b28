"""A response's think and answer parts, and the fenced blocks in a text."""

from __future__ import annotations

import ast
import bisect
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from azr.programs.syntax_tree import parse_tree

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
_MIDDLE = re.compile(r"</think>\s*<answer>")
_TAGS = re.compile(r"</?(?:think|answer)>")
_IN_ORDER = [THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE]

_FENCE = "```"
_LABEL = re.compile(r"`*[ \t]*([A-Za-z_][\w+-]*)?")
_INPUT_NUMBER = re.compile(r"[ \t]+#?(\d{1,3}):?[ \t]*\n(?=[ \t]*[^ \t\n`])")
_KNOWN_LABEL = re.compile(r"(?:python\d?|py|input|output|error|message)(?:_\d+)?", re.IGNORECASE)
_MAX_BLOCKS = 64
_MAX_CLOSINGS = 8
"""How many later fences are tried as the end of a block whose content has fences of its own."""
_MAX_CHECKED_CHARS = 100_000
"""Characters given to the Python parser in one text, so that a hostile one cannot keep it busy."""


@dataclass(frozen=True)
class Response:
    """A response split at its tags."""

    thought: str
    answer: str
    """Empty when there is no answer tag."""
    format_ok: bool
    """Think tags, then answer tags, from the beginning on; text after them is allowed unless
    ``strict`` was asked for."""


def split_response(text: str, prefix: str = "", *, strict: bool = False) -> Response:
    """Splits a response; ``prefix`` is what the prompt already wrote of it (an open think tag).

    The answer is what follows the last ``<answer>``, up to the next ``</answer>`` or the end. Tags inside strings
    of an answer's value or program are text: the published rule breaks off there, and refuses what was right.

    Args:
        strict: good form is each of the four tags exactly once, in order, and nothing but white space before,
            between and after the two parts. The published rule is a prefix match: it pays
            ``...</answer></think></answer>`` and a second answer, too.
    """
    whole = (prefix + text).lstrip()
    start, end, quoted = _answer_span(whole)
    answer = whole[start:end]
    if quoted:
        whole = whole[:start] + whole[end:]  # its tags are not the response's
    start = whole.rfind(THINK_OPEN)
    thought = whole if start < 0 else whole[start + len(THINK_OPEN) :].split(THINK_CLOSE, 1)[0]
    middle = _MIDDLE.search(whole) if whole.startswith(THINK_OPEN) else None
    format_ok = middle is not None and whole.find(ANSWER_CLOSE, middle.end()) >= 0
    if strict and format_ok:
        format_ok = _TAGS.findall(whole) == _IN_ORDER and whole.rstrip().endswith(ANSWER_CLOSE)
    return Response(thought=thought.strip(), answer=answer.strip("\n"), format_ok=format_ok)


def _answer_span(whole: str) -> tuple[int, int, bool]:
    """Where the last answer begins and ends, and whether there are tags inside it that are text; 0, 0 without one."""
    closings = [match.start() for match in re.finditer(ANSWER_CLOSE, whole)]
    span, position, unchecked_chars = (0, 0, False), 0, _MAX_CHECKED_CHARS
    while (opening := whole.find(ANSWER_OPEN, position)) >= 0:
        start = position = opening + len(ANSWER_OPEN)
        later = closings[bisect.bisect(closings, start - 1) :][:_MAX_CLOSINGS]
        span = (start, later[0] if later else len(whole), False)
        for end in later:
            answer = whole[start:end]
            if _TAGS.search(answer):
                unchecked_chars -= len(answer)
                if unchecked_chars >= 0 and _tags_are_text(answer):
                    span, position = (start, end, True), end
                    break
    return span


def _tags_are_text(answer: str) -> bool:
    """Whether an answer is a value, or holds values and programs in blocks, with all of its tags inside strings."""
    tags = len(_TAGS.findall(answer))
    return any(
        sum(marks_in_strings(_TAGS, *_source(each.text, each.label)) for each in blocks) >= tags
        for blocks in ([Block("input", answer)], fenced_blocks(answer))
    )


def marks_in_strings(marks: re.Pattern[str], source: str, mode: str = "exec") -> int:
    """How often ``marks`` matches inside the strings of a Python text; 0 where the text does not parse."""
    tree = _tree(source, mode)
    values = (each.value for each in ast.walk(tree) if isinstance(each, ast.Constant)) if tree else ()
    return sum(len(marks.findall(str(value))) for value in values if isinstance(value, (str, bytes)))


def _source(content: str, label: str) -> tuple[str, str]:
    """A block's content as Python text, and the mode to parse it in; empty for prose."""
    kind = label.split("_")[0]
    if kind in ("", "python", "python3", "py"):
        return content.strip("\n"), "exec"
    if kind == "input":
        return f"f({content}\n)", "eval"
    return (f"({content}\n)", "eval") if kind == "output" else ("", "exec")


def _tree(source: str, mode: str) -> ast.AST | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return parse_tree(source, mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@dataclass(frozen=True)
class Block:
    label: str
    """Lower case; empty when the fence has none."""
    text: str
    """Content without the line breaks next to the fences."""

    @property
    def is_code(self) -> bool:
        return self.label in ("", "python", "python3", "py")


def fenced_blocks(text: str, *, open_end: bool = False) -> list[Block]:
    """The closed ``` blocks of a text, in order, at most 64; with ``open_end`` also a last one that ends with
    the text.

    A fence inside a string does not end its block: the first closing fence is taken after which the content
    makes sense for its label (python parses, an input is an argument list), else the first one at the
    beginning of a line, else the first. A closing fence that is directly followed by a known label opens the
    next block too (small models save the token).
    """
    return list(_Scanner(text).blocks(open_end))


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.unchecked_chars = _MAX_CHECKED_CHARS

    def blocks(self, open_end: bool = False) -> Iterator[Block]:
        position = 0
        for _ in range(_MAX_BLOCKS):
            opening = self.text.find(_FENCE, position)
            if opening < 0:
                return
            label, start = self.label(opening + len(_FENCE))
            closing = self.closing(start, label)
            if closing is None:
                if open_end:
                    yield Block(label, self.text[start:].strip("\n"))
                return
            yield Block(label, self.text[start:closing].strip("\n"))
            after = closing + len(_FENCE)
            match = _LABEL.match(self.text, after)
            shared = (
                match is not None
                and match[1]
                and match.start(1) == after
                and _KNOWN_LABEL.fullmatch(match[1])
            )
            position = closing if shared else after

    def label(self, position: int) -> tuple[str, int]:
        """The label after an opening fence, and where the content begins."""
        match = _LABEL.match(self.text, position)
        assert match is not None  # the pattern matches the empty string
        word, end = match[1] or "", match.end()
        line_end = self.text.find("\n", end)
        rest = self.text[end : line_end if line_end >= 0 else len(self.text)]
        if not rest.strip():
            return word.lower(), end + len(rest)
        if word.lower() == "input" and (number := _INPUT_NUMBER.match(self.text, end)):
            return f"input_{number[1]}", number.end()  # "```input 2", and the input on the next line
        if _KNOWN_LABEL.fullmatch(word) and rest[0].isspace():
            return word.lower(), end + len(rest) - len(rest.lstrip())  # "```input 5```"
        return "", end - len(word)  # "```5 + x```": content on the fence's own line, no label

    def closing(self, start: int, label: str) -> int | None:
        candidates: list[int] = []
        position = start
        while len(candidates) < _MAX_CLOSINGS and (position := self.text.find(_FENCE, position)) >= 0:
            candidates.append(position)
            position += len(_FENCE)
        if not candidates:
            return None
        for candidate in candidates:
            if self.makes_sense(self.text[start:candidate], label):
                return candidate
        at_line_start = [
            place
            for place in candidates
            if not self.text[self.text.rfind("\n", 0, place) + 1 : place].strip()
        ]
        return (at_line_start or candidates)[0]

    def makes_sense(self, content: str, label: str) -> bool:
        source, mode = _source(content, label)
        self.unchecked_chars -= len(source)
        if not source or not content.strip() or self.unchecked_chars < 0:
            return False  # of prose the line rule decides
        return _tree(source, mode) is not None
