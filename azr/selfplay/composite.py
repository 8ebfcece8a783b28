"""Composite functions: proposals that must build on earlier programs. Off by default."""

from __future__ import annotations

import ast
from collections.abc import Sequence

import numpy as np

from azr.config.selfplay import SelfPlayConfig
from azr.programs.rename import NameConflict, rename_function
from azr.programs.source import SourceError
from azr.tasks import Task


def composite_rates(config: SelfPlayConfig, step: int) -> tuple[float, int]:
    """(chance that a prompt asks for composites, most functions in it) at a step; computed, never stored."""
    if not config.composite_start_step or step < config.composite_start_step:
        return 0.0, 0
    if not config.composite_schedule:
        return config.composite_chance, config.composite_max
    raises = max(0, (step - 51) // 50)  # the first at step 101
    chance = max(config.composite_chance, min(0.8, config.composite_chance + 0.01 * raises))
    return chance, max(config.composite_max, min(3, config.composite_max + raises))


def choose_composites(
    references: Sequence[Task], config: SelfPlayConfig, step: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """Sources defining g_0, g_1 ..., taken from the references, or none this time.

    Programs that are themselves composite, or cannot be renamed, are passed over. Nothing shared is changed.
    """
    chance, most = composite_rates(config, step)
    if not chance or len(references) <= most or rng.random() >= chance:
        return ()
    wanted = int(rng.integers(config.composite_min, most, endpoint=True))
    sources: list[str] = []
    for reference in references:
        if len(sources) == wanted:
            break
        if reference.composite_functions:
            continue
        try:
            sources.append(rename_function(reference.program, "f", f"g_{len(sources)}"))
        except (SourceError, NameConflict):
            continue
    return tuple(sources) if len(sources) >= config.composite_min else ()


def composite_fault(tree: ast.Module, count: int) -> str:
    """What is wrong with a program that must call g_0 .. g_{count-1}; '' when nothing is.

    ``f`` must call each of them with variables (not constants alone), define none of them, and do more than
    return such a call.
    """
    names = {f"g_{number}" for number in range(count)}
    for statement in ast.walk(tree):
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name in names:
                    return f"{name} is defined again"
            case ast.Name(id=name, ctx=ast.Store()) if name in names:
                return f"{name} is assigned"

    entry = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "f"), None)
    if entry is None:
        return "no function f"
    calls = [node for node in ast.walk(entry) if isinstance(node, ast.Call) and _takes_variables(node)]
    called = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    if missing := sorted(names - called):
        return f"{missing[0]} is not called with variables"

    body = [
        statement
        for statement in entry.body
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
    ]
    if len(body) == 1 and isinstance(body[0], ast.Return) and _is_bare_call(body[0].value, names):
        return "f only wraps a composite function"
    return ""


def _takes_variables(call: ast.Call) -> bool:
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    return any(isinstance(node, ast.Name) for value in values for node in ast.walk(value))


def _is_bare_call(node: ast.expr | None, names: set[str]) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names):
        return False
    return all(isinstance(argument, (ast.Name, ast.Constant)) for argument in node.args)
