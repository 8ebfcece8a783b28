"""A program's canonical form and fingerprint: equal for copies that differ in names, comments and layout only."""

from __future__ import annotations

import ast
from typing import Any

from azr.programs.scopes import Occurrence, Scope, Scopes
from azr.programs.source import drop_docstrings, has_docstring, parse_nodes, print_tree
from azr.system.hashes import text_hash


def canonical_source(source: str) -> str:
    """The program with bound names replaced by v0, v1 ... in order of appearance, without comments,
    docstrings or annotations.

    Builtins, imported module names (not their aliases) and attributes keep their names, but attributes that
    the program's own classes define are renamed too.

    Raises:
        SourceError: ``source`` is not a program (see ``azr.programs.source.parse_program``).
    """
    tree, nodes = parse_nodes(source)
    # tens of thousands of programs pass here in a consolidation: one walk says which of the others are needed
    kinds = set(map(type, nodes))
    if any(map(has_docstring, nodes)):
        drop_docstrings(tree)
    if ast.AnnAssign in kinds or any(map(_is_annotated, nodes)):
        _AnnotationRemover().visit(tree)
    if ast.Import in kinds or ast.ImportFrom in kinds:
        _expand_imports(tree)
    _rename_variables(tree, keywords=ast.keyword in kinds)
    if ast.ClassDef in kinds:
        _rename_attributes(tree)
    return print_tree(tree)


def program_fingerprint(source: str) -> str:
    """16 hex digits of the canonical form; text that does not parse is hashed as it stands, without blanks at
    line ends.

    It holds for one minor version of Python, as verified outputs do: 3.10 prints ``(a, b) = c`` where 3.11
    prints ``a, b = c``.
    """
    try:
        text = canonical_source(source)
    except (ValueError, RecursionError):  # SourceError is a ValueError
        text = "\n".join(line.rstrip() for line in source.strip().splitlines())
    return text_hash(text)


class _AnnotationRemover(ast.NodeTransformer):
    """Annotations say nothing to the interpreter, except in a class body, where they are a dataclass's fields."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [
            statement if isinstance(statement, ast.AnnAssign) else self.visit(statement)
            for statement in node.body
        ]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def _expand_imports(tree: ast.Module) -> None:
    """Gives every import an alias of its own, so that ``import math`` and ``import math as m`` become the same."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if alias.asname is None and alias.name != "*" and "." not in alias.name:
                    alias.asname = alias.name


def _is_annotated(node: Any) -> bool:
    if node.__class__ is ast.arg:
        return node.annotation is not None
    return node.__class__ in (ast.FunctionDef, ast.AsyncFunctionDef) and node.returns is not None


def _rename_variables(tree: ast.Module, *, keywords: bool) -> None:
    scopes = Scopes(tree)
    names: dict[tuple[Scope, str], str] = {}
    renamed: list[tuple[Occurrence, tuple[Scope, str]]] = []
    parameters: dict[str, str] = {}
    owners: dict[tuple[Scope, str], Scope | None] = {}
    dotted: set[tuple[Scope | None, str]] = set()
    for entry in scopes.occurrences:
        place = (entry.scope, entry.name)
        if place not in owners:
            owners[place] = scopes.resolve(*place)
        owner = owners[place]
        if entry.node.__class__ is ast.alias and entry.node.asname is None:
            dotted.add((owner, entry.name))  # "import a.b" binds "a": keep it
            continue
        if owner is None or owner.kind == "class":
            continue  # attributes of the class: see _rename_attributes
        variable = (owner, entry.name)
        name = names.get(variable)
        if name is None:
            name = names[variable] = f"v{len(names)}"
        renamed.append((entry, variable))
        if entry.attr == "arg":
            parameters.setdefault(entry.name, name)
    for entry, variable in renamed:
        if variable not in dotted:
            entry.rename(names[variable])
    for node in ast.walk(tree) if keywords else ():
        if isinstance(node, ast.keyword) and node.arg in parameters:
            node.arg = parameters[node.arg]


def _rename_attributes(tree: ast.Module) -> None:
    own: dict[str, str] = {}

    def define(name: str) -> None:
        if not (name.startswith("__") and name.endswith("__")):
            own.setdefault(name, f"a{len(own)}")

    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                define(statement.name)
            for target in ast.walk(statement) if isinstance(statement, (ast.Assign, ast.AnnAssign)) else ():
                if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                    define(target.id)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                define(inner.attr)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in own:
            node.attr = own[node.attr]
        elif isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and statement.name in own:
                    statement.name = own[statement.name]
                elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
                    for target in ast.walk(statement):
                        if isinstance(target, ast.Name) and target.id in own:
                            target.id = own[target.id]
