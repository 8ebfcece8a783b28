"""``ast.parse`` for one thread at a time.

CPython 3.11 counts the depth of the trees that all threads build in one place: when the garbage collector hands
over to another thread in the middle of a tree, both raise ``SystemError: AST constructor recursion depth
mismatch``, and a valid program would be counted as one that nobody can parse. 3.12 counts per call.
"""

from __future__ import annotations

import ast
import threading
from typing import Any

_ONE_AT_A_TIME = threading.Lock()


def parse_tree(source: str, mode: str = "exec", filename: str = "<unknown>") -> Any:
    """``ast.Module`` for mode ``exec``, ``ast.Expression`` for ``eval``; raises as ``ast.parse``."""
    with _ONE_AT_A_TIME:
        return ast.parse(source, filename, mode)
