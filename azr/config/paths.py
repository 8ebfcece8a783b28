"""Relative paths in a configuration: where they are looked for, and how they are written into a run's
``config.yaml``.

What the command line names is looked for in the folder where the command was started, then in the project (so
that shipped files have short names); what a YAML file of the project names is looked for in the project
first. A path that means the project's file wherever it is read stays as it is; any other becomes absolute, so
that trainer, evaluation and a later start find the same file.
"""

from __future__ import annotations

import contextlib
import operator
import os
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

from azr.config import Config, with_key
from azr.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]
PATH_KEYS = (
    "model.path", "selfplay.frame",
    "data.seeds", "data.extra_files", "data.other_runs", "data.probe_files", "data.evaluation_files",
)  # fmt: skip
"""Keys whose values may be paths."""
TOOL_KEYS = ("sandbox.python", "sandbox.bubblewrap")
"""Programs, which may be called by their names."""
WORDS = {
    "selfplay.frame": ("paper", "chat", "cot", "short", "compact"),
    "data.seeds": ("shipped", "identity", "none"),
    "data.probe_files": ("shipped",),
}
"""Values that are not paths, also where a file is called so."""


def cache_dir() -> Path:
    """Where models are kept that were converted or quantised here, for all runs."""
    return Path(os.environ.get("AZR_CACHE", Path.home() / ".cache" / "azr"))


def python_path() -> str:
    """``PYTHONPATH`` of a process that is to import this project's modules, wherever it is started."""
    return os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])


def resolve_paths(config: Config, typed: Collection[str], started: Path) -> Config:
    """
    Args:
        typed: the keys that the command line sets; they are the user's, all others the project's.
        started: where the command was started.

    Raises:
        ConfigError: a path is one of Windows.
    """
    _refuse_windows("runs_dir", config.runs_dir)
    for key in PATH_KEYS:
        value = operator.attrgetter(key)(config)
        places = (started, PROJECT) if key in typed else (PROJECT, started)
        found = [_resolved(key, item, places) for item in ([value] if isinstance(value, str) else value)]
        config = with_key(config, key, found[0] if isinstance(value, str) else found)
    for key in TOOL_KEYS:
        value = operator.attrgetter(key)(config)
        config = with_key(config, key, value and _written_out(value))
    config = replace(config, runs_dir=_written_out(config.runs_dir, (PROJECT, started)))
    if "runs_dir" in typed and (path := started / at_home(config.runs_dir)) != PROJECT / config.runs_dir:
        config = replace(config, runs_dir=str(path))
    return replace(config, name=_as_spelled(runs_folder(config), config.name))


def _as_spelled(folder: Path, name: str) -> str:
    """A run's name as its folder has it: one that comes from a Mac spells ü as u and a mark, and a disk that knows no case
    (exFAT, ``/mnt/c`` under WSL) finds ``Friday`` under ``friday``."""
    found = (folder / name).exists()
    if (name.isascii() and not found) or not folder.is_dir():
        return name

    def letters(text: str) -> str:
        return normalize("NFC", text.casefold() if found else text)

    with contextlib.suppress(OSError):  # a folder that may be entered, and not listed
        there = [path.name for path in folder.iterdir()]
        return (
            name if name in there else next((each for each in there if letters(each) == letters(name)), name)
        )
    return name


def get_back(path: Path) -> str:
    """How a file or folder that ships with the project comes back, in words."""
    if path.is_relative_to(PROJECT) and (PROJECT / ".git").exists():
        return f"`git -C {shlex.quote(str(path.parent))} checkout -- {shlex.quote(path.name)}` restores it"
    return f"copy {path.parent.name}/{path.name} from a fresh download of the project"


def runs_folder(config: Config) -> Path:
    """Where the runs of this configuration lie; a relative folder is the project's."""
    return PROJECT / at_home(config.runs_dir)


def at_home(name: str) -> Path:
    """A path that a user wrote, as a shell would have read it."""
    return Path(_written_out(name))


def absent(path: Path) -> str:
    """That there is no such file, in words; an address is called one."""
    if found := re.match(r"([A-Za-z][\w+.-]+):/+(?=.)", str(path)):
        address = f"{found[1]}://{str(path)[found.end() :]}"
        return f"{address} is a URL; files are read from this machine, so download it first"
    return f"{path} does not exist"


def _written_out(name: str, places: Sequence[Path] = (Path(),)) -> str:
    """``~`` written out, where there is such a home; ``$NAME`` as well, and without blanks at the ends, unless a file in
    one of the ``places`` is called so."""
    name = os.path.expanduser(name)  # noqa: PTH111 - pathlib's raises for a home of nobody
    if any(os.path.lexists(place / name) for place in places):
        return name
    plain = os.path.expandvars(name.strip())
    return os.path.expanduser(plain) if plain else name  # noqa: PTH111


def find(name: str) -> Path:
    """A path that a user named, which need not exist: in the working folder, else in the project."""
    path = at_home(name)
    if not path.is_absolute() and not path.exists() and (PROJECT / path).exists():
        return PROJECT / path
    return path


def where_looked(name: str) -> str:
    """For the message about a relative path that was not found: the places."""
    if at_home(name).is_absolute():
        return ""
    return f" (looked for in {' and in '.join(dict.fromkeys(map(str, (Path.cwd(), PROJECT))))})"


def windows_sentence(name: str) -> str:
    """What to say of a path of Windows, which means nothing here; empty for any other path, and for one that
    is there under that very name."""
    drive = re.match(r"([A-Za-z]):(.?)", name)
    share = re.match(r"\\\\wsl(?:\$|\.localhost)\\[^\\]+", name)
    rest = name.replace("\\", "/")
    if drive and drive[2] in ("/", "\\", ""):
        told = f"is a path of Windows; under WSL it is /mnt/{drive[1].lower()}/{rest[3:]}"
    elif drive and drive[1].isupper():
        told = (
            "looks like a path of Windows whose backslashes the shell took away; under WSL "
            f"{drive[1]}:\\folder is /mnt/{drive[1].lower()}/folder"
        )
    elif share:
        told = f"is a path of Windows; here it is {rest[share.end() :] or '/'}"
    elif name.startswith("\\\\"):
        told = "is a path of Windows' network; mount that folder here, and give the place where it is mounted"
    else:
        return ""
    return "" if Path(name).exists() else f"{name} {told}"


def _refuse_windows(key: str, name: str) -> None:
    if told := windows_sentence(name):
        raise ConfigError(f"{key}={told}")


def _resolved(key: str, name: str, places: Sequence[Path]) -> str:
    _refuse_windows(key, name)
    name = _written_out(name, places)
    if not name or name in WORDS.get(key, ()) or Path(name).is_absolute():
        return name
    found = next((place / name for place in places if (place / name).exists()), None)
    if found is None or found != PROJECT / name:
        return name if found is None else str(found)
    # who looks in the folder of the command first would take the plain name for another file than the project's
    others = ((place / name).exists() and not (place / name).samefile(found) for place in places)
    return str(found) if any(others) else name
