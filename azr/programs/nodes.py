"""Nodes of a syntax tree, several times faster than ``ast.walk``: a consolidation looks at millions of them.

Contexts and operators (``Load()``, ``Add()``) are left out: they hold nothing.
"""

from __future__ import annotations

import ast
from typing import Any

# fmt: off
_HOLD_NO_NODES = frozenset((
    "ctx", "op", "ops", "id", "attr", "arg", "kind", "type_comment", "type_ignores", "is_async", "simple", "level", "module",
    "asname", "conversion", "rest", "kwd_attrs",
))
# fmt: on
_HOLD_NONE_TOO = frozenset(("keys", "kw_defaults"))
"""Lists with None for ``**mapping`` and for a parameter without default."""


class _ChildFields(dict[type, tuple[str, ...]]):
    """Node type -> fields that may hold nodes, in their order."""

    def __missing__(self, kind: type) -> tuple[str, ...]:
        plain = kind in (ast.Constant, ast.MatchSingleton, ast.Global, ast.Nonlocal)
        fields = () if plain else tuple(name for name in kind._fields if name not in _HOLD_NO_NODES)  # type: ignore[attr-defined]
        self[kind] = fields
        return fields


CHILD_FIELDS = _ChildFields()


def nodes_by_level(tree: ast.AST, limit: int) -> list[Any] | None:
    """All nodes, those near the root first; None if the tree has more than ``limit`` levels of them."""
    fields, base = CHILD_FIELDS, ast.AST
    level: list[Any] = [tree]
    found: list[Any] = [tree]
    for _ in range(limit):
        children: list[Any] = []
        for node in level:
            for name in fields[node.__class__]:
                value: Any = getattr(node, name, None)
                if value.__class__ is list:
                    children += (
                        [item for item in value if item is not None] if name in _HOLD_NONE_TOO else value
                    )
                elif isinstance(value, base):
                    children.append(value)
        if not children:
            return found
        found += children
        level = children
    return None
