"""Files that Python would import in place of a module of the same name: a ``random.py`` or a ``datasets.py``
beside the command, in the project, or in a folder on PYTHONPATH.

Looked for with ``os`` and ``sys`` alone, since any other import may be the one that goes astray.
"""

from __future__ import annotations

import os
import sys

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120
SUFFIXES = (".py", ".pyc", ".so")
HARMLESS = frozenset(
    ("test", "tests", "scripts", "tutorial", "this", "antigravity", "turtle", "turtledemo", "idlelib")
)
"""Names of modules that no library imports, and people give to their own files."""


def strays_of(folder: str, modules: frozenset[str]) -> dict[str, str]:
    """Module -> file or package in ``folder`` that hides it, of ``modules``. A folder without ``__init__.py`` hides
    nothing."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return {}
    found: dict[str, str] = {}
    for name in names:
        module, path = name.partition(".")[0], f"{folder}/{name}"
        if module in modules and module not in found and _is_module(path, name.endswith(SUFFIXES)):
            found[module] = path
    return found


def _is_module(path: str, has_suffix: bool) -> bool:
    if os.path.isdir(path):  # noqa: PTH112
        return any(os.path.isfile(f"{path}/__init__{suffix}") for suffix in SUFFIXES)  # noqa: PTH113
    return has_suffix


def python_modules() -> frozenset[str]:
    """Names of Python's own modules that a file can hide."""
    return frozenset(sys.stdlib_module_names) - frozenset(sys.builtin_module_names) - HARMLESS


def own_folders() -> list[str]:
    """Folders in which this process looks for a module before it looks among Python's own, but for those of
    the environment's packages."""
    library = os.path.dirname(os.path.realpath(os.__file__))  # noqa: PTH120
    packages = ("/site-packages/", "/dist-packages/")  # and below: Ray puts a folder of its own in front
    found = []
    for entry in sys.path:
        folder = os.path.realpath(entry or ".")
        if folder == library:
            break
        of_environment = folder.startswith(f"{os.path.realpath(sys.prefix)}/")
        if not (of_environment and any(name in f"{folder}/" for name in packages)):
            found.append(folder)
    return list(dict.fromkeys(found))


def refuse_strays(command: str) -> None:
    """Ends the process with a sentence where a file hides one of Python's own modules, which would fail in any
    import from here on. Called before all other imports."""
    found = [stray for folder in own_folders() for stray in strays_of(folder, python_modules()).items()]
    if found:
        module, path = found[0]
        told = f"{path} would be imported in place of Python's own module {module}"
        sys.stderr.write(f"{command}: {told}; rename it, or move it to another folder\n")
        sys.exit(2)
