"""Which programs may depend on hash order, so that more seeds must agree on what they return."""

from __future__ import annotations

import ast
from functools import lru_cache

from azr.programs.source import SourceError, parse_nodes

_NAMES = frozenset(("set", "frozenset", "hash", "id", "object"))
_METHODS = frozenset(("union", "intersection", "difference", "symmetric_difference"))
_SET_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)
"""Views of dictionaries become sets under these."""


@lru_cache(maxsize=4096)
def order_sensitive(code: str) -> bool:
    """True if in doubt: for what is too long or too nested to look at."""
    try:
        _, nodes = parse_nodes(code)
    except SourceError:
        return True
    return any(map(_sensitive, nodes))


def _sensitive(node: ast.AST) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name(id=name):
            return name in _NAMES
        case ast.Attribute(attr=name):
            return name in _METHODS
        case ast.BinOp(left=left, op=op, right=right):
            return isinstance(op, _SET_OPERATORS) and (_is_view(left) or _is_view(right))
    return False


def _is_view(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("keys", "items")
    )
