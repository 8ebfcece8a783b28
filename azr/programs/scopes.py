"""Which scope a name belongs to: the rules of Python's name resolution on a syntax tree.

``Scopes(tree)`` lists every *occurrence* of an identifier that names a variable, function, class, parameter or import
(attributes and keyword names are no variables) with the scope it is written in; ``resolve`` finds the scope that binds it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_HOLDS_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(eq=False)
class Scope:
    kind: str
    """``module``, ``function``, ``class`` or ``comprehension``."""
    parent: Scope | None
    bound: set[str] = field(default_factory=set)
    declared_global: set[str] = field(default_factory=set)
    declared_nonlocal: set[str] = field(default_factory=set)


@dataclass(frozen=True, eq=False)
class Occurrence:
    """One place where an identifier stands: attribute ``attr`` of ``node`` (element ``index`` of it, if it is a list)."""

    scope: Scope
    name: str
    node: Any
    attr: str
    index: int | None = None

    def rename(self, name: str) -> None:
        """Writes another identifier into the tree."""
        if self.attr == "asname" and self.node.asname is None and name == self.node.name:
            return
        if self.index is None:
            setattr(self.node, self.attr, name)
        else:
            getattr(self.node, self.attr)[self.index] = name


class Scopes:
    def __init__(self, tree: ast.Module) -> None:
        self.module = Scope("module", None)
        self.occurrences: list[Occurrence] = []
        """In source order of the tree walk: an identifier's binding may come after its uses."""
        self._visit_all(tree.body, self.module)

    def resolve(self, scope: Scope, name: str) -> Scope | None:
        """The scope whose variable ``name`` means inside ``scope``; None for builtins and unbound names."""
        current: Scope | None = scope
        first = True
        while current is not None:
            if name in current.declared_global:
                return self.module if name in self.module.bound else None
            visible = first or current.kind != "class"  # a class body's names are not seen by its methods
            if visible and name in current.bound and name not in current.declared_nonlocal:
                return current
            first = False
            current = current.parent
        return None

    def path(self, scope: Scope) -> Iterable[Scope]:
        """The scopes searched for a name used in ``scope``, innermost first, without the module."""
        current: Scope | None = scope
        while current is not None and current.kind != "module":
            if current is scope or current.kind != "class":
                yield current
            current = current.parent

    # -- the walk -------------------------------------------------------------------------------------------------

    def _note(self, scope: Scope, node: ast.AST, attr: str, name: str, *, bind: bool, index: int | None = None) -> None:
        self.occurrences.append(Occurrence(scope, name, node, attr, index))
        if not bind:
            return
        if name in scope.declared_global:
            self.module.bound.add(name)
        else:
            scope.bound.add(name)

    def _visit_all(self, nodes: Iterable[ast.AST | None], scope: Scope) -> None:
        for node in nodes:
            if node is not None:
                self._visit(node, scope)

    def _visit(self, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, ast.Name):
            self._note(scope, node, "id", node.id, bind=not isinstance(node.ctx, ast.Load))
        elif isinstance(node, _FUNCTIONS):
            self._visit_function(node, scope)
        elif isinstance(node, ast.ClassDef):
            self._visit_all([*node.decorator_list, *node.bases, *node.keywords], scope)
            self._note(scope, node, "name", node.name, bind=True)
            inner = Scope("class", scope)
            self._declare(node.body, inner)
            self._visit_all([*getattr(node, "type_params", []), *node.body], inner)
        elif isinstance(node, _COMPREHENSIONS):
            self._visit_comprehension(node, scope)
        elif isinstance(node, ast.NamedExpr):
            target = scope
            while target.kind == "comprehension" and target.parent is not None:  # PEP 572: binds outside comprehensions
                target = target.parent
            self._visit(node.value, scope)
            self._note(target, node.target, "id", node.target.id, bind=True)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            for index, name in enumerate(node.names):
                self._note(scope, node, "names", name, bind=False, index=index)
        elif isinstance(node, ast.alias):
            if node.name != "*":
                self._note(scope, node, "asname", node.asname or node.name.split(".")[0], bind=True)
        elif isinstance(node, ast.ExceptHandler):
            if node.name:
                self._note(scope, node, "name", node.name, bind=True)
            self._visit_all([node.type, *node.body], scope)
        else:
            for attr in ("name", "rest"):  # patterns: case [x, *rest], case {"a": 1, **rest}, case Point() as p; type parameters
                if isinstance(name := getattr(node, attr, None), str):
                    self._note(scope, node, attr, name, bind=True)
            self._visit_all(ast.iter_child_nodes(node), scope)

    def _declare(self, body: list[ast.stmt], scope: Scope) -> None:
        """Collects global and nonlocal statements first: they hold for the whole body."""
        stack: list[ast.AST] = list(body)
        while stack:
            node = stack.pop()
            if isinstance(node, ast.Global):
                scope.declared_global.update(node.names)
            elif isinstance(node, ast.Nonlocal):
                scope.declared_nonlocal.update(node.names)
            elif not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):  # expressions hold no statements: not looked into
                stack.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, _HOLDS_STATEMENTS))

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope) -> None:
        arguments = node.args
        parameters = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
        self._visit_all([*getattr(node, "decorator_list", []), *arguments.defaults, *arguments.kw_defaults], scope)
        self._visit_all([parameter.annotation for parameter in parameters if parameter], scope)
        if not isinstance(node, ast.Lambda):
            self._visit_all([node.returns], scope)
            self._note(scope, node, "name", node.name, bind=True)
        inner = Scope("function", scope)
        if not isinstance(node, ast.Lambda):
            self._declare(node.body, inner)
        for parameter in parameters:
            if parameter:
                self._note(inner, parameter, "arg", parameter.arg, bind=True)
        self._visit_all(getattr(node, "type_params", []), inner)
        self._visit_all([node.body] if isinstance(node, ast.Lambda) else node.body, inner)

    def _visit_comprehension(self, node: Any, scope: Scope) -> None:
        inner = Scope("comprehension", scope)
        for number, generator in enumerate(node.generators):
            self._visit(generator.iter, scope if number == 0 else inner)  # the first iterable belongs outside
            self._visit(generator.target, inner)
            self._visit_all(generator.ifs, inner)
        self._visit_all([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt], inner)
