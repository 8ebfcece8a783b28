"""Renaming a top-level function without touching strings, attributes or shadowing variables."""

from __future__ import annotations

import ast
import re

from azr.errors import AzrError
from azr.programs.scopes import Occurrence, Scopes
from azr.programs.source import parse_program, print_tree
from azr.programs.syntax_tree import parse_tree


class NameConflict(AzrError, ValueError):
    """The new name already means something where the old one is used."""


def rename_function(source: str, old: str, new: str) -> str:
    """``source`` with the module-level name ``old`` called ``new``, everything else as it was written.

    Raises:
        SourceError: ``source`` is not a program (see ``azr.programs.source.parse_program``).
        NameConflict: ``new`` is bound or used where it would change its meaning.
    """
    if old == new:
        return source
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    tree = parse_program(source)
    scopes = Scopes(tree)
    targets = [
        entry
        for entry in scopes.occurrences
        if entry.name == old and scopes.resolve(entry.scope, old) is scopes.module
    ]
    _refuse_conflicts(scopes, targets, old, new)
    edited = _edit_text(source, targets, old, new)  # before the tree is changed: it reads positions only
    for entry in targets:
        entry.rename(new)
    try:
        if edited is not None and ast.dump(parse_tree(edited)) == ast.dump(tree):
            return edited
    except (SyntaxError, ValueError):
        pass
    # Positions inside f-strings are wrong before Python 3.12, and "global" has none: print the changed tree
    # instead.
    return print_tree(tree)


def _refuse_conflicts(scopes: Scopes, targets: list[Occurrence], old: str, new: str) -> None:
    for entry in scopes.occurrences:
        if entry.name == new and scopes.resolve(entry.scope, new) in (scopes.module, None):
            raise NameConflict(f"{old} cannot be renamed: {new} already has a meaning at the top level")
    for entry in targets:
        if any(new in scope.bound for scope in scopes.path(entry.scope)):
            raise NameConflict(f"{old} cannot be renamed: {new} is a local variable where {old} is used")


def _edit_text(source: str, targets: list[Occurrence], old: str, new: str) -> str | None:
    """The source with the identifiers replaced in place, or None when one of them cannot be found."""
    lines = [line.encode() for line in source.split("\n")]  # the tree's columns count UTF-8 bytes
    places: set[tuple[int, int]] = set()
    for entry in targets:
        node = entry.node
        row, column = node.lineno - 1, node.col_offset
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            match = re.compile(rb"(?:async\s+)?(?:def|class)\s+").match(lines[row], column)
            if match is None:
                return None
            column = match.end()
        elif not isinstance(node, ast.Name):
            return None
        if lines[row][column : column + len(old.encode())] != old.encode():
            return None
        places.add((row, column))
    for row, column in sorted(places, reverse=True):
        line = lines[row]
        lines[row] = line[:column] + new.encode() + line[column + len(old.encode()) :]
    return b"\n".join(lines).decode()
