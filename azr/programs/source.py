"""Reading source safely, and simple transformations (imports; comments, globals and prints removed)."""

from __future__ import annotations

import ast
import warnings
from typing import Any

from azr.errors import AzrError
from azr.programs.nodes import nodes_by_level
from azr.programs.syntax_tree import parse_tree

MAX_SOURCE_CHARS = 20_000
"""Longest program that is looked at; a response of 8,096 tokens holds about 30,000 characters, thoughts included."""
MAX_DEPTH = 120
"""Deepest syntax tree that is looked at: visitors need up to five frames a level, and Python has 1,000."""

_HUGE_NUMBER_BITS = 14_284
_HUGE_NUMBER_CHARS = _HUGE_NUMBER_BITS // 4
"""A shorter source holds none."""
_HOLD_DOCSTRINGS = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class SourceError(AzrError, ValueError):
    """Text that is not a program this project looks at; ``reason`` is the code under which it is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def parse_program(source: str) -> ast.Module:
    """The syntax tree of a program of acceptable size.

    Raises:
        SourceError: ``program_too_long``, ``syntax_error`` (also for NUL bytes and lone surrogates) or
            ``program_too_nested``.
    """
    return parse_nodes(source)[0]


def parse_nodes(source: str) -> tuple[ast.Module, list[Any]]:
    """As ``parse_program``, and the tree's nodes (see ``azr.programs.nodes``), which the check of the depth collects anyway."""
    if len(source) > MAX_SOURCE_CHARS:
        raise SourceError("program_too_long", f"{len(source)} characters, at most {MAX_SOURCE_CHARS}")
    try:
        with warnings.catch_warnings():  # a model's "\d" is not our log's business
            warnings.simplefilter("ignore")
            tree = parse_tree(source)
    except (SyntaxError, ValueError) as error:
        raise SourceError("syntax_error", str(error)) from error
    except (RecursionError, MemoryError) as error:
        raise SourceError("program_too_nested", "the parser gave up") from error
    nodes = nodes_by_level(tree, MAX_DEPTH)
    if nodes is None:
        raise SourceError("program_too_nested", f"deeper than {MAX_DEPTH} levels")
    if len(source) > _HUGE_NUMBER_CHARS and any(map(_is_huge_number, nodes)):
        raise SourceError("syntax_error", "a number of more than 4,300 digits")
    return tree, nodes


def _is_huge_number(node: Any) -> bool:
    """Python refuses to parse that many decimal digits; in hexadecimal it parses them, and then refuses to print the tree."""
    value = node.value if node.__class__ is ast.Constant else None
    return isinstance(value, int) and value.bit_length() > _HUGE_NUMBER_BITS


def print_tree(tree: ast.AST) -> str:
    """A syntax tree as source.

    Raises:
        SourceError: ``program_too_nested``; ``syntax_error`` where the program is one that Python before 3.12 can read and
            cannot write: in the braces of an f-string, a text with a character that it escapes (a non-breaking space).
    """
    try:
        return ast.unparse(tree)
    except RecursionError as error:
        raise SourceError("program_too_nested", "the program cannot be printed") from error
    except ValueError as error:
        raise SourceError("syntax_error", f"it cannot be printed: {error}") from error


def top_level_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    """The functions a program offers: methods and nested helpers are its own affair."""
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def collect_imports(tree: ast.AST) -> tuple[str, ...]:
    """All import statements as one line each, in order of appearance, each once."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    nodes.sort(key=lambda node: (node.lineno, node.col_offset))  # ast.walk goes level by level
    return tuple(dict.fromkeys(map(print_tree, nodes)))


def strip_comments(tree: ast.Module) -> str:
    """Source without comments, docstrings and blank lines."""
    drop_docstrings(tree)
    return "\n".join(line for line in print_tree(tree).splitlines() if line.strip())


def drop_docstrings(tree: ast.Module) -> None:
    """Removes docstrings in place; a body that held nothing else gets ``pass``."""
    documented: list[Any] = [node for node in ast.walk(tree) if has_docstring(node)]
    for node in documented:
        del node.body[0]
        if not node.body and not isinstance(node, ast.Module):
            node.body.append(ast.Pass())


def has_docstring(node: Any) -> bool:
    first = node.body[0] if node.__class__ in _HOLD_DOCSTRINGS and node.body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def drop_globals(source: str, tree: ast.Module) -> str:
    """Keeps imports, functions and classes of the top level, each as it was written."""
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    lines = source.split("\n")
    parts = []
    for node in tree.body:
        if isinstance(node, kept):
            first = min(
                [node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))]
            )
            parts.append("\n".join(lines[first - 1 : node.end_lineno]))
    result = "\n".join(parts)
    # Two statements of one line ("import re; x = 1") cannot be cut by lines.
    if any(not isinstance(node, kept) for node in _parse_or_empty(result).body):
        result = print_tree(ast.Module([node for node in tree.body if isinstance(node, kept)], []))
    return result


def _parse_or_empty(source: str) -> ast.Module:
    try:
        return parse_tree(source)
    except SyntaxError:
        return ast.Module([ast.Pass()], [])


class _PrintRemover(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print":
            return None
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # pyright: ignore[reportAttributeAccessIssue]
        return node


def drop_prints(tree: ast.Module) -> str:
    """Source without print statements; bodies left empty get ``pass``."""
    return print_tree(ast.fix_missing_locations(_PrintRemover().visit(tree)))
