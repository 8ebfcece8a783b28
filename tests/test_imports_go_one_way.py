"""What docs/architecture.md says about imports inside azr/."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

AZR = Path(__file__).resolve().parents[1] / "azr"
HEAVY = {"torch", "ray", "verl", "vllm"}
HEAVY_ROOMS = {"train", "evaluate", "absolute_zero"}
LOW = {
    "errors": set(),
    "system": {"errors", "commands"},
    "tasks": {"errors", "system"},
    "config": {"errors", "system", "run", "tasks", "prompts", "wording"},
    "run": {"errors", "system", "tasks", "config", "models"},
    "sandbox": {"errors", "system", "config", "programs", "tasks"},
    "parsing": {"errors", "config", "programs", "tasks", "prompts", "sandbox"},
    "selfplay": {"errors", "system", "run", "config", "tasks", "sandbox", "prompts", "parsing", "programs", "copies"},
}  # fmt: skip
"""Room -> the rooms that it may import. The others stand above all of these."""


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in AZR.rglob("*.py"):
        parts = ["azr", *path.relative_to(AZR).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(path: Path, *, at_once: bool) -> frozenset[str]:
    """Names of the modules that a file imports: ``at_once`` those while it is loaded itself, else all."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if names <= modules().keys() else {node.module, *names}
        later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        )
        if not (at_once and later):
            waiting.extend(ast.iter_child_nodes(node))
    return frozenset(found)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "azr"


def test_only_the_trainer_and_the_evaluation_import_the_heavy_libraries() -> None:
    wrong = {
        f"{module}: {name}"
        for module, path in modules().items()
        if room(module) not in HEAVY_ROOMS
        for name in imports(path, at_once=False)
        if name.split(".")[0] in HEAVY
    }
    assert not wrong


def test_the_lower_rooms_import_nothing_from_above() -> None:
    known = modules()
    wrong = {
        f"{module}: {name}"
        for module, path in known.items()
        if room(module) in LOW
        for name in imports(path, at_once=False) & known.keys()
        if room(name) not in LOW[room(module)] | {room(module), "azr"}
    }
    assert not wrong


def test_nothing_imports_the_commands() -> None:
    wrong = {
        module
        for module, path in modules().items()
        if room(module) not in {"cli", "start"}
        if any(name == "azr.cli" or name.startswith("azr.cli.") for name in imports(path, at_once=False))
    }
    assert not wrong


def test_there_is_no_circle() -> None:
    known = modules()
    graph = {
        module: {name for name in imports(path, at_once=True) & known.keys() if name != module}
        for module, path in known.items()
    }
    list(TopologicalSorter(graph).static_order())  # raises CycleError with the circle
