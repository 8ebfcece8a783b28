"""Optional additional rewards for the proposer. Each is computed only when its coefficient is above 0."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache

from azr.config.selfplay import IntrinsicConfig
from azr.programs.source import SourceError, parse_program
from azr.selfplay.type_counts import TypeCounts
from azr.tasks import Task, TaskType


def program_terms(task: Task, references: Sequence[Task], config: IntrinsicConfig) -> dict[str, float]:
    """The enabled terms that depend on the program and its references alone, scaled and capped.

    Measured on the uncomposed source, as published.
    """
    code = task.original_code or task.code
    terms: dict[str, float] = {}
    if config.complexity:
        complexity = cognitive_complexity(code) / 15
        terms["complexity"] = capped(complexity, config.complexity, config.complexity_max)
    if config.halstead:
        terms["halstead"] = capped(halstead(code), config.halstead, config.halstead_max)
    if config.edit_distance:
        others = [reference.original_code or reference.code for reference in references]
        distance = edit_distance(code, others)
        terms["edit_distance"] = capped(distance, config.edit_distance, config.edit_distance_max)
    return terms


def diversity_term(task: Task, counts: TypeCounts, config: IntrinsicConfig) -> dict[str, float]:
    """How rare the task's answer is among all values so far (for induction: the mean over inputs and outputs);
    empty where it is not paid."""
    if not config.diversity:
        return {}
    texts = {
        TaskType.ABDUCTION: [("input", task.inputs)],
        TaskType.DEDUCTION: [("output", task.outputs)],
        TaskType.INDUCTION: [("input", task.inputs), ("output", task.outputs)],
        TaskType.ERROR: [("error", task.outputs)],
    }[task.task_type]
    rarities = [
        counts.rarity(kind, text, hierarchical=config.hierarchical_diversity)
        for kind, values in texts
        for text in values
    ]
    value = sum(rarities) / len(rarities)
    return {"diversity": capped(value, config.diversity, config.diversity_max)}


def capped(value: float, coefficient: float, maximum: float) -> float:
    return min(coefficient * value, maximum)


def cognitive_complexity(code: str) -> float:
    """Cognitive complexity by complexipy; 0 when it cannot be measured."""
    import complexipy  # here: only runs that pay for it load it

    try:
        return float(complexipy.code_complexity(code).complexity)
    except ValueError:  # its parser refuses some programs that Python accepts; 0 then, as published
        return 0.0


def halstead(code: str) -> float:
    """0.5 effort/10,000 + 0.3 cyclomatic/10 + 0.2 volume/500, each at most its weight (radon); 0 when it
    cannot be measured."""
    from radon.complexity import cc_visit
    from radon.metrics import h_visit

    try:
        total = h_visit(code).total
        cyclomatic = max((block.complexity for block in cc_visit(code)), default=0)
    except (SyntaxError, ValueError, RecursionError, AttributeError, ZeroDivisionError, TypeError):
        return 0.0
    effort, volume = min(total.effort / 10_000, 1), min(total.volume / 500, 1)
    return round(0.5 * effort + 0.3 * min(cyclomatic / 10, 1) + 0.2 * volume, 3)


def edit_distance(code: str, references: Sequence[str]) -> float:
    """Mean normalised Indel distance (rapidfuzz) of the programs' syntax trees, as sequences of node types
    and leaves; 0 to 1.

    The published term diffed pretty-printed JSON of the trees by characters, at 30 to 90 ms a pair; this
    takes well under 1 ms and ranks programs alike (difflib's ratio is an Indel similarity too).
    """
    from rapidfuzz.distance import Indel

    own = _tree_tokens(code)
    if own is None or not references:
        return 0.0
    distances = [
        Indel.normalized_distance(own, other) if (other := _tree_tokens(source)) else 0.0
        for source in references
    ]
    return sum(distances) / len(distances)


@lru_cache(maxsize=4096)  # references come back in row after row
def _tree_tokens(code: str) -> tuple[str, ...] | None:
    try:
        tree = parse_program(code)
    except SourceError:
        return None

    tokens: list[str] = []
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        tokens.append(type(node).__name__)
        if isinstance(node, ast.Name):
            tokens.append(node.id)
        elif isinstance(node, ast.Constant):
            tokens.append(repr(node.value))
        elif isinstance(node, ast.Attribute):
            tokens.append(node.attr)
        children = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr_context)]
        stack += reversed(children)
    return tuple(tokens)
