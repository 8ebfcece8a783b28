"""Finds the answer in a reply, wherever it is: the program, the literal, the number. Pure functions of text.

Harnesses for instruct models read replies without our tags, so this is how the style ``native`` reads, and
how an answer inside the frame is read leniently. Nothing here knows the right answer: the first candidate
that reads as what was asked for is taken.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from fractions import Fraction

from azr.parsing import fenced_blocks, is_value, marks_in_strings, parse_solution
from azr.programs.source import SourceError, parse_program, print_tree
from azr.programs.syntax_tree import parse_tree
from azr.tasks import TaskType

MAX_CHARS = 40_000
"""Only the end of a longer reply is looked at."""
_MAX_PARSES = 60
"""Attempts to find a program among prose, so that a hostile reply cannot keep the parser busy."""
_MAX_LINES = 40
"""Lines from the end that may hold a literal."""
_MAX_CALL_CHARS = 4000
_MAX_ASSERTIONS = 8
_ASSERTIONS = (re.compile(r"\bassert\s+([A-Za-z_]\w*\()"), re.compile(r"\b(f\()"))
_TAGS = re.compile(r"</?(?:think|answer)>")
_ANSWER_MARKS = re.compile(r"\[/?ANSWER\]")
_ERROR_NAME = re.compile(r"\b(?:NoError|[A-Z]\w{0,60}(?:Error|Exception|Exit|Interrupt|Iteration))\b")
_PROGRAM_START = re.compile(r"(?:from|import|async|def|class)\b|@\w")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def answer_in(task_type: TaskType, text: str, answer: str = "") -> str:
    """What a reply says to a task of the self-play kinds, wherever it stands; '' where it says nothing readable.

    Args:
        answer: what the reply's answer tag holds, if anything; it is looked at first.
    """
    if task_type is TaskType.INDUCTION:
        return (program_in(answer, "f") if answer.strip() else "") or program_in(text, "f")
    if task_type is TaskType.ERROR:
        names = _ERROR_NAME.findall(answer) or _ERROR_NAME.findall(text[-MAX_CHARS:])
        return names[-1] if names else ""
    return literal_in(task_type, text, answer)


# ------------------------------------------------------------------------------------------------------- programs


def program_in(text: str, entry: str) -> str:
    """The program of a reply, as harnesses find it; '' where there is none.

    In this order: the last closed code block that defines ``entry``, a block that was never closed, a program
    inside prose; then the same without asking for ``entry``.
    """
    text = _TAGS.sub("\n", text[-MAX_CHARS:]).replace("\t", "    ")
    blocks = [block.text for block in fenced_blocks(text, open_end=True) if block.is_code]
    prose = longest_program(text)
    for candidate in [*reversed(blocks), prose]:
        if defines(candidate, entry):
            return candidate
    return blocks[-1] if blocks else prose


def defines(source: str, name: str) -> bool:
    """Whether a text defines a function or class of this name at its top level; any program will do where
    ``name`` is ''."""
    if not name:
        return bool(source.strip())
    return re.search(rf"^(?:async[ ]+def|def|class)[ ]+{re.escape(name)}\b", source, re.MULTILINE) is not None


def longest_program(text: str) -> str:
    """The longest run of lines (by lines that are not blank) that parses, beginning with an import or a definition."""
    lines = text[-MAX_CHARS:].split("\n")
    best, best_length, parses, done = "", 0, 0, -1
    for start, line in enumerate(lines):
        if start <= done or not _PROGRAM_START.match(line):
            continue
        end = len(lines)
        while end > start and parses < _MAX_PARSES:
            parses += 1
            source = "\n".join(lines[start:end])
            bad_line = _first_bad_line(source)
            if not bad_line:
                length = sum(1 for each in lines[start:end] if each.strip())
                if length > best_length:
                    best, best_length = source.strip("\n"), length
                done = end - 1  # a later start inside these lines gives a shorter program
                break
            end = min(end - 1, start + bad_line - 1)
    return best


def _first_bad_line(source: str) -> int:
    """0 for a program, else the line (from 1) at which it stops being one."""
    try:
        parse_program(source)
    except SourceError as error:
        cause = error.__cause__
        line = cause.lineno if isinstance(cause, SyntaxError) else None
        return max(1, line or 1)
    return 0


def needed_parts(source: str, entry: str) -> str:
    """Imports, and the definitions and assignments at the top level that ``entry`` needs: example calls and
    tests that a model wrote around its answer are left away, as EvalPlus does (``evalplus.sanitize``). Of
    equal names the first counts, and a function that returns nothing is not a function. What does not parse is
    reduced to its longest part that does.
    """
    try:
        tree = parse_program(source)
    except SourceError:
        source = longest_program(source) or source
        try:
            tree = parse_program(source)
        except SourceError:
            return source

    imports: list[ast.stmt] = []
    named: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports.append(node)
        elif isinstance(node, _DEFINITIONS):
            returns = (isinstance(each, (ast.Return, ast.Yield, ast.YieldFrom)) for each in ast.walk(node))
            if isinstance(node, ast.ClassDef) or any(returns):
                named.setdefault(node.name, node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for each in itertools.chain.from_iterable(map(ast.walk, targets)):
                if isinstance(each, ast.Name):
                    named.setdefault(each.id, node)

    if entry not in named:
        return source
    reached, waiting = {entry}, [entry]
    while waiting:
        uses = {each.id for each in ast.walk(named[waiting.pop()]) if isinstance(each, ast.Name)}
        fresh = (uses & named.keys()) - reached
        reached |= fresh
        waiting += fresh

    kept = {id(named[name]) for name in reached} | {id(node) for node in imports}
    ordered = [*imports, *(node for node in tree.body if id(node) in kept and node not in imports)]
    return "\n".join(_source_of(node, source) for node in ordered)


def _source_of(node: ast.stmt, source: str) -> str:
    """A statement of the top level as it was written, decorators included."""
    decorators = node.decorator_list if isinstance(node, _DEFINITIONS) else []
    parts = [ast.get_source_segment(source, each) or "" for each in (*decorators, node)]
    return "\n".join([*(f"@{each}" for each in parts[:-1]), parts[-1]])


# ------------------------------------------------------------------------------------------------------- literals


def literal_in(task_type: TaskType, text: str, answer: str = "") -> str:
    """The output, or the argument list, that a reply ends with; '' where nothing in it reads as one.

    Args:
        answer: what the reply's answer tag holds, if anything; it is looked at first.
    """
    candidates = filter(None, _candidates(task_type, text[-MAX_CHARS:], answer[-MAX_CHARS:]))
    return next((candidate for candidate in candidates if is_value(task_type, candidate)), "")


def expression_in(task_type: TaskType, text: str) -> str:
    """The asked side of the assertion that a reply ends with, where it is an expression instead of a literal:
    the arguments of the call, or the value; '' where there is none. Written anew from its syntax tree, so it
    is one expression and closes nothing.
    """
    text = text[-MAX_CHARS:]
    tagged = text.rsplit("[ANSWER]", 1)[-1].split("[/ANSWER]", 1)[0]
    sides = _assertion_sides(tagged) or _assertion_sides(text)
    if sides is None:
        return ""
    try:
        match parse_program(sides[0] if task_type is TaskType.ABDUCTION else sides[1]).body:
            case [ast.Expr(value)] if task_type is not TaskType.ABDUCTION:
                return print_tree(value)
            case [ast.Expr(ast.Call() as call)]:
                return print_tree(ast.Call(ast.Name("f"), call.args, call.keywords))[len("f(") : -len(")")]
    except SourceError:
        pass
    return ""


def _candidates(task_type: TaskType, text: str, answer: str) -> Iterator[str]:
    word = "input" if task_type is TaskType.ABDUCTION else "output"
    bare = _TAGS.sub("\n", text)
    for part in filter(str.strip, dict.fromkeys((answer, bare))):
        solution = parse_solution(task_type, part)
        if isinstance(solution, str) and (part == answer or solution == part.strip()):
            yield solution  # before marks are looked for, which may stand inside it
        yield from _tagged(task_type, text if part == bare else part)
        if isinstance(solution, str):
            yield from _variants(task_type, solution)
        for block in reversed(list(fenced_blocks(part, open_end=True))):
            if block.label in ("", word, "text", "plaintext"):
                yield from _variants(task_type, block.text)
        for line in reversed(part.splitlines()[-_MAX_LINES:]):
            yield from _variants(task_type, line)
            if found := re.search(rf"\b{word}\b[^:=]{{0,60}}(?::|=|\bis\b|\bbe\b)(.*)", line, re.IGNORECASE):
                yield from _variants(task_type, found[1])


def _tagged(task_type: TaskType, text: str) -> Iterator[str]:
    """Of ``[ANSWER] assert f(x) == y [/ANSWER]`` the part that was asked for, opened or closed as it may be."""
    opened = text.partition("[ANSWER]")[2] if "[ANSWER]" in text else text
    for whole in (opened.rpartition("[/ANSWER]")[0], opened):
        marks = len(_ANSWER_MARKS.findall(whole))
        if marks and marks_in_strings(_ANSWER_MARKS, whole.strip()) >= marks:  # they belong to the value
            yield from _variants(task_type, whole)
    if "[ANSWER]" in text:
        text = text.rsplit("[ANSWER]", 1)[1]
    elif "[/ANSWER]" not in text:
        return
    yield from _variants(task_type, text.split("[/ANSWER]", 1)[0])


def _variants(task_type: TaskType, text: str) -> Iterator[str]:
    """A candidate as it stands, without markdown around it, and the asked side of an assertion or call in it."""
    text = text.strip()
    plain = re.sub(r"^(?:[-*>]|\d+[.)])\s+", "", text).strip("*` ").rstrip(".").strip("*` ")
    yield text
    for each in dict.fromkeys((text, plain)):
        sides = _assertion_sides(each)
        if sides is None:
            yield each
            if task_type is TaskType.ABDUCTION and (inner := _call_arguments(each)) is not None:
                yield inner
        elif task_type is not TaskType.ABDUCTION:
            yield sides[1]
        elif (inner := _call_arguments(sides[0])) is not None:
            yield inner


def _assertion_sides(text: str) -> tuple[str, str] | None:
    """``("f(x)", "y")`` of the last ``assert f(x) == y``, or ``f(x) == y``, in a text; None where there is none. One inside
    another, as in a string, is a part of it."""
    starts: list[int] = []
    for pattern in _ASSERTIONS:
        starts += reversed([match.start(1) for match in pattern.finditer(text)][-_MAX_ASSERTIONS:])
    fallback = found = None
    found_at = 0
    for start in starts:
        source = text[start:].split("\n\n")[0].strip().rstrip("`").rstrip()
        if "==" not in source:
            continue
        try:
            node = parse_tree(source, "eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            left, _, right = source.split("\n")[0].partition("==")
            fallback = fallback or (left.strip(), right.strip())
            continue
        match node:
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                whole, *sides = (ast.get_source_segment(source, each) or "" for each in (node, left, right))
                if found is None or start < found_at < start + len(whole):
                    found, found_at = (sides[0], sides[1]), start
    return found or fallback


def _call_arguments(text: str) -> str | None:
    """``x, y`` of ``f(x, y)``."""
    match = re.search(r"\b[A-Za-z_]\w*\((.*)\)\s*$", text[-_MAX_CALL_CHARS:], re.DOTALL)
    return match[1] if match else None


# ------------------------------------------------------------------------------------------------------- numbers

_NUMBER = re.compile(r"-?\d[\d,]{0,40}(?:\.\d{1,40})?|-?\.\d{1,40}")
_MARKS = ((re.compile(r"\\boxed"), True), (re.compile("####"), False), (re.compile(r"(?i)answer is:?"), True))
"""What stands before the number that counts, the surest first, and whether that is in the same line."""


def number_in(text: str) -> Fraction | None:
    r"""The number that a solution ends with: inside the last ``\boxed{}``, after ``####`` or "the answer is",
    else the last one."""
    text = text[-MAX_CHARS:]
    for mark, in_line in _MARKS:
        if ends := [found.end() for found in mark.finditer(text)]:
            after = text[ends[-1] :]
            number = _first_number(after.split("\n", 1)[0] if in_line else after)
            if number is not None:
                return number
    found = _NUMBER.findall(text)
    return _value(found[-1]) if found else None


def _first_number(text: str) -> Fraction | None:
    if fraction := re.match(r"[{\s$]*(-?)\\d?frac\{(\d{1,20})\}\{(\d{1,20})\}", text):
        below = int(fraction[3])
        return Fraction(int(f"{fraction[1]}{fraction[2]}"), below) if below else None
    found = _NUMBER.search(text)
    return _value(found[0]) if found else None


def _value(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))
