"""Which scope a name belongs to: the rules of Python's name resolution on a syntax tree.

``Scopes(tree)`` lists every *occurrence* of an identifier that names a variable, function, class, parameter
or import (attributes and keyword names are not variables) with the scope it is written in; ``resolve`` finds
the scope that binds it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from azr.programs.nodes import CHILD_FIELDS

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_HOLDS_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
_NAMED = ("MatchAs", "MatchStar", "MatchMapping", "TypeVar", "ParamSpec", "TypeVarTuple", "TypeAlias")
"""Types with an identifier of their own in ``name`` or ``rest``; not every version of Python has all."""
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(eq=False)
class Scope:
    kind: str
    """``module``, ``function``, ``class`` or ``comprehension``."""
    parent: Scope | None
    bound: set[str] = field(default_factory=set)
    declared_global: set[str] = field(default_factory=set)
    declared_nonlocal: set[str] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Occurrence:
    """One place where an identifier stands: attribute ``attr`` of ``node`` (element ``index`` of it, if it is
    a list)."""

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

    # -- the walk --------------------------------------------------------------------------------------------

    def _note(
        self, scope: Scope, node: ast.AST, attr: str, name: str, *, bind: bool, index: int | None = None
    ) -> None:
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

    def _visit(self, node: Any, scope: Scope) -> None:
        visit = _VISITS.get(node.__class__)
        if visit is not None:
            visit(self, node, scope)
            return
        for attr in CHILD_FIELDS[node.__class__]:
            value: Any = getattr(node, attr, None)
            if value.__class__ is list:
                self._visit_all(value, scope)
            elif isinstance(value, ast.AST):
                self._visit(value, scope)

    def _visit_name(self, node: ast.Name, scope: Scope) -> None:
        self._note(scope, node, "id", node.id, bind=node.ctx.__class__ is not ast.Load)

    def _visit_constant(self, node: ast.Constant, scope: Scope) -> None:
        pass

    def _visit_class(self, node: ast.ClassDef, scope: Scope) -> None:
        self._visit_all([*node.decorator_list, *node.bases, *node.keywords], scope)
        self._note(scope, node, "name", node.name, bind=True)
        inner = Scope("class", scope)
        self._declare(node.body, inner)
        self._visit_all([*getattr(node, "type_params", []), *node.body], inner)

    def _visit_named_expression(self, node: ast.NamedExpr, scope: Scope) -> None:
        target = scope
        # PEP 572: binds outside comprehensions
        while target.kind == "comprehension" and target.parent is not None:
            target = target.parent
        self._visit(node.value, scope)
        self._note(target, node.target, "id", node.target.id, bind=True)

    def _visit_declaration(self, node: ast.Global | ast.Nonlocal, scope: Scope) -> None:
        for index, name in enumerate(node.names):
            self._note(scope, node, "names", name, bind=False, index=index)

    def _visit_alias(self, node: ast.alias, scope: Scope) -> None:
        if node.name != "*":
            self._note(scope, node, "asname", node.asname or node.name.split(".")[0], bind=True)

    def _visit_handler(self, node: ast.ExceptHandler, scope: Scope) -> None:
        if node.name:
            self._note(scope, node, "name", node.name, bind=True)
        self._visit_all([node.type, *node.body], scope)

    def _visit_named(self, node: Any, scope: Scope) -> None:
        """Patterns: case [x, *rest], case {"a": 1, **rest}, case Point() as p; type parameters."""
        for attr in ("name", "rest"):
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
            # expressions hold no statements: not looked into
            elif not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
                stack.extend(
                    child for child in ast.iter_child_nodes(node) if isinstance(child, _HOLDS_STATEMENTS)
                )

    def _visit_function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope
    ) -> None:
        arguments = node.args
        parameters = [
            *arguments.posonlyargs,
            *arguments.args,
            arguments.vararg,
            *arguments.kwonlyargs,
            arguments.kwarg,
        ]
        self._visit_all(
            [*getattr(node, "decorator_list", []), *arguments.defaults, *arguments.kw_defaults], scope
        )
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


_VISITS: dict[type, Callable[[Scopes, Any, Scope], None]] = {
    ast.Name: Scopes._visit_name,
    ast.Constant: Scopes._visit_constant,
    ast.ClassDef: Scopes._visit_class,
    ast.NamedExpr: Scopes._visit_named_expression,
    ast.Global: Scopes._visit_declaration,
    ast.Nonlocal: Scopes._visit_declaration,
    ast.alias: Scopes._visit_alias,
    ast.ExceptHandler: Scopes._visit_handler,
    **dict.fromkeys(_FUNCTIONS, Scopes._visit_function),
    **dict.fromkeys(_COMPREHENSIONS, Scopes._visit_comprehension),
    **{getattr(ast, name): Scopes._visit_named for name in _NAMED if hasattr(ast, name)},
}
"""Node types that are more than the sum of their children."""
