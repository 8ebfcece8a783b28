"""What the code imports is named in a requirements file, with its purpose, and pinned; nothing comes along by
luck."""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IN_FILES = sorted((ROOT / "requirements").glob("*.in"))
NAME = re.compile(r"[A-Za-z0-9._-]+")
PROVIDED_BY = {"yaml": "pyyaml", "pynvml": "nvidia-ml-py", "vllm": "vllm"}
"""Where the name that is imported is not the package's; the rest is asked of what is installed."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_lines(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def names_in(path: Path) -> set[str]:
    return {normal(match[0]) for line in requirement_lines(path) if (match := NAME.match(line))}


def imported_packages() -> dict[str, str]:
    """Each top-level module that comes from elsewhere, and a file that imports it. Other trainers, with which
    ``scripts/dev/bench_peers.py`` compares, have environments of their own."""
    files = [path for folder in ("azr", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))]
    own = {"azr"} | {
        name for path in files if "scripts" in path.parts for name in (path.stem, path.parent.name)
    }
    found: dict[str, str] = {}
    for path in files:
        if path.parent.name == "peers":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            else:
                continue
            for top in (module.partition(".")[0] for module in modules):
                if top not in sys.stdlib_module_names and top not in own:
                    found.setdefault(top, str(path.relative_to(ROOT)))
    return found


def test_every_import_from_elsewhere_is_named() -> None:
    installed = metadata.packages_distributions()
    named = set().union(*map(names_in, IN_FILES))
    missing = {
        module: place
        for module, place in imported_packages().items()
        if not named
        & {normal(name) for name in [PROVIDED_BY.get(module, module), *installed.get(module, [])]}
    }
    assert not missing, f"name these in requirements/*.in, and what each is for: {missing}"


@pytest.mark.parametrize("path", IN_FILES, ids=lambda path: path.name)
def test_every_requirement_says_what_it_is_for_and_is_pinned(path: Path) -> None:
    assert not [line for line in requirement_lines(path) if not line.partition("#")[2].strip()]
    for pins in ("constraints.txt", "constraints-cpu.txt"):
        if path.name != {"constraints.txt": "cpu.in", "constraints-cpu.txt": "gpu.in"}[pins]:
            assert not names_in(path) - names_in(ROOT / "requirements" / pins)
