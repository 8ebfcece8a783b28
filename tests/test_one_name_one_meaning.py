"""No class and no public function of azr/ has the name of another one (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
ENTRY_POINTS = {"main"}
"""Of each command and each process."""


def test_each_class_and_public_function_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((PROJECT / "azr").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            if isinstance(node, ast.ClassDef) or (is_function and not node.name.startswith("_")):
                places[node.name].append(str(path.relative_to(PROJECT)))
    shared = {name: files for name, files in places.items() if len(files) > 1 and name not in ENTRY_POINTS}
    assert not shared
