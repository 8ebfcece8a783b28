"""How much the proposer repeats itself.

A program can be new by its text and the same exercise again: in one run half of the new programs became tables of
dynamic programming, whose results the solver guesses by recognising the problem, and it lost the habit of following a program
(docs/results.md). Validity, novelty and accuracy did not tell. Work that clusters a batch of questions pays less for
those of a large cluster (R-Zero, arXiv 2508.05004, the repetition penalty); here a program is compared with the latest ones.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache

from azr.programs.source import SourceError, parse_program
from azr.tasks import Task

WINDOW = 256
"""Latest programs that a new one is compared with."""
ALIKE = 0.5
"""Share of common paths (Jaccard) above which two programs are the same exercise."""
_PATH_NODES = 3


def own_program(task: Task) -> str:
    """Its program without the composite functions that it was given."""
    return task.original_code or task.code


def repetition(program: str, latest: Sequence[str]) -> float:
    """Share of the ``latest`` programs that are the same exercise as this one, 0 to 1; 0 where it cannot be read."""
    own = tree_paths(program)
    if not own or not latest:
        return 0.0
    return sum(_jaccard(own, tree_paths(other)) > ALIKE for other in latest) / len(latest)


@lru_cache(maxsize=8192)  # the latest programs come back with every proposal
def tree_paths(program: str) -> frozenset[tuple[str, ...]]:
    """The runs of three nodes on the ways down its syntax tree, the program's own names and constants left out, and
    those of attributes and of called functions kept; empty if it cannot be read."""
    try:
        stack: list[tuple[ast.AST, tuple[str, ...]]] = [(parse_program(program), ())]
    except SourceError:
        return frozenset()

    paths: set[tuple[str, ...]] = set()
    while stack:
        node, above = stack.pop()
        if isinstance(node, ast.expr_context):
            continue
        path = (*above, _label(node))[-_PATH_NODES:]
        paths.add(path)
        stack += [(child, path) for child in ast.iter_child_nodes(node)]
    return frozenset(paths)


def _label(node: ast.AST) -> str:
    name = type(node).__name__
    if isinstance(node, ast.Attribute):
        return f"{name} {node.attr}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return f"{name} {node.func.id}"
    return name


def _jaccard(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)
