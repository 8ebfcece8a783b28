"""Composes configs/*.yaml and what is typed on the command line.

``load_config(["recipe=0_5b_16gb", "train.learning_rate=2e-6"])`` returns the typed ``Config``. Without a ``recipe``
one is chosen from what the machine has, and the choice comes with its reason; a run that has begun keeps the
recipe it began with.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azr.config import (
    Config,
    default_container,
    flat,
    from_container,
    put,
    refuse_unknown_keys,
    to_container,
    without_former_keys,
)
from azr.config.automatic import settle_automatic
from azr.config.paths import get_back, resolve_paths, runs_folder
from azr.config.typed import GROUPS, split_overrides
from azr.config.yaml_files import line_finder, load_names, load_yaml
from azr.errors import ConfigError, DataError
from azr.run.identity import read_identity
from azr.run.rundir import RunDir
from azr.system.files import write_text_atomic

if TYPE_CHECKING:
    from azr.system.hardware import Machine

CONFIG_DIR = Path(__file__).resolve().parents[2] / "configs"

HELP = """\
Absolute Zero self-play on one GPU: consolidate data -> train -> watch -> merge -> next cycle.

    python azr_single_gpu_pipeline.py [key=value ...]     start a run, or resume it
    python azr_single_gpu_pipeline.py --cfg job [...]     print the resolved configuration and stop
    python azr_single_gpu_pipeline.py --help

The same command resumes where it stopped. Ctrl+C once: checkpoint at the next step, then a clean exit. Twice: immediately.

Often used:
    recipe=NAME                   hardware class ({recipes}); if left out, chosen for this machine
    name=NAME                     run directory runs/NAME (default: {name})
    model.path=FOLDER_OR_HUB_NAME
    campaign.hours=48 campaign.cycles=5 campaign.steps_per_cycle=100
    selfplay=code|paper|instruct  the published code's rules, the paper's, or those for small instruct models
    data.seeds=identity           zero-data start from the identity function alone
    data.extra_files=[my.jsonl]   your own tasks

All keys: docs/configuration.md, or --cfg job. Without the .py: azr run [key=value ...]. Watch from another terminal: azr watch runs/NAME
"""


@dataclass(frozen=True)
class Loaded:
    config: Config
    recipe_reason: str
    """Why this recipe: a sentence for the user."""


def load_config(overrides: Sequence[str], machine: Machine | None = None) -> Loaded:
    """Says on stderr which value counts where a key is given several.

    Args:
        machine: what a recipe is chosen for where none is named; None: this one.

    Raises:
        ConfigError: an override or a YAML file is wrong; the message names the key and the nearest right one.
        RunError: the record of what the run began with is damaged.
    """
    overrides = [item.lstrip("+") for item in overrides]
    _tell_repeated(overrides)
    groups, _ = split_overrides(overrides)
    items = list(overrides)
    if "recipe" in groups:
        reason = f"recipe {groups['recipe']}: requested"
    elif named := _recipe_in_file():
        reason = f"recipe {named}: requested in {CONFIG_DIR / 'pipeline.yaml'}"
    else:
        from azr.system.hardware import choose_recipe, detect

        name, why = choose_recipe(machine or detect())
        run = _run_of(overrides)
        began_with = _recipe_of(run)
        if began_with:
            other = f"; this machine would take {name}, which needs another name="
            why = f"{run.root.name} began with it{other if name != began_with else ''}"
            name = began_with
        reason = f"recipe {name}: {why}"
        items.append(f"recipe={name}")
    composition = _compose(items)
    config = from_container(composition.values, composition.place)
    return Loaded(resolve_paths(config, {item.partition("=")[0] for item in items}, Path.cwd()), reason)


def _tell_repeated(overrides: Sequence[str]) -> None:
    given: dict[str, list[str]] = {}
    for key, equals, value in (item.partition("=") for item in overrides):
        if equals:
            given.setdefault(key, []).append(value)
    for key, values in given.items():
        if len(set(values)) > 1:
            print(
                f"{key} is given several times ({', '.join(values)}); the last counts: {key}={values[-1]}",
                file=sys.stderr,
            )


def _recipe_in_file() -> str:
    """The recipe that ``configs/pipeline.yaml`` names, in its list of defaults or as a key; empty for
    none."""
    path = CONFIG_DIR / "pipeline.yaml"
    listed = _listed(path)
    for entry in ("defaults", *GROUPS):
        if entry not in listed:
            raise ConfigError(
                f"{path}: its list 'defaults:' has no entry for '{entry}', and without that no setting is found; "
                f"{get_back(path)}. Settings go below that list; a recipe of yours goes into {CONFIG_DIR}/recipe"
            )
    return listed["recipe"] or _name(load_names(path).get("recipe"))


def _listed(path: Path) -> dict[str, str]:
    """The list ``defaults:`` of a file: group, or name of another file -> which file of the group."""
    values = load_names(path) if path.is_file() else None
    listed = values.get("defaults") if isinstance(values, dict) else None
    found: dict[str, str] = {}
    for item in listed if isinstance(listed, list) else ():
        for entry, name in item.items() if isinstance(item, dict) else [(item, None)]:
            found[re.sub(r"^(optional |override )?/?", "", str(entry))] = _name(name)
    return found


def _name(text: object) -> str:
    """``null`` is a name only where a recipe is called so."""
    return "" if text in (None, "~", "null") and text not in recipe_names() else str(text)


def _run_of(overrides: Sequence[str]) -> RunDir:
    """The run directory that these overrides mean."""
    values = compose_container(overrides)
    typed = {item.partition("=")[0] for item in overrides} & {"runs_dir"}
    named = Config(name=str(values["name"]), runs_dir=str(values["runs_dir"]))
    config = resolve_paths(named, typed, Path.cwd())
    return RunDir(runs_folder(config) / config.name)


def _recipe_of(run: RunDir) -> str:
    """The recipe that the run began with; empty for a new run."""
    identity = read_identity(run)
    configs = run.records(run.config.name)
    recipe = identity.recipe if identity else read_config(configs[0]).recipe if configs else ""
    if recipe and recipe not in recipe_names():
        raise ConfigError(
            f"{run.root} began with recipe={recipe}, which is not in {CONFIG_DIR / 'recipe'}; put it back, or use another name="
        )
    return recipe


def compose_container(overrides: Sequence[str]) -> dict[str, Any]:
    """Plain values of all keys: defaults, then ``configs/pipeline.yaml`` and the files that it lists, then overrides.

    Raises:
        ConfigError: an override or a file is wrong.
    """
    return _compose(overrides).values


def _compose(overrides: Sequence[str]) -> _Composition:
    groups, typed = split_overrides(overrides)
    chosen = {"recipe": _recipe_in_file()} | groups
    if "selfplay" not in chosen:
        chosen["selfplay"] = _rules_of(chosen["recipe"]) or _listed(CONFIG_DIR / "pipeline.yaml")["selfplay"]
    for group, name in chosen.items():
        if name not in _names(group) and (name or group in groups):
            raise ConfigError(_unknown_name(group, name))
    composition = _Composition(chosen, typed.keys())
    composition.add("pipeline")
    values = composition.values
    for key, value in {**typed, "recipe": chosen["recipe"]}.items():
        put(values, key, value)
    if "${" in str(values):
        composition.resolve()
    settle_automatic(values, default_container(), typed.keys() | composition.set_by_user)
    return composition


def _rules_of(recipe: str) -> str:
    """Which file of rules a recipe asks for, or else one that it lists; empty for none."""
    listed = _listed(CONFIG_DIR / "recipe" / f"{recipe}.yaml")
    others = [name for name in listed if name != recipe]
    return listed.get("selfplay") or next(filter(None, map(_rules_of, others)), "")


class _Composition:
    """All keys with their values: the defaults, and over them file after file.

    Args:
        chosen: group -> which file of it; empty for none.
        typed: dotted keys whose values come from the command line in the end.
    """

    def __init__(self, chosen: Mapping[str, str], typed: Collection[str]) -> None:
        self.values = default_container()
        self.set_by_user: set[str] = set()
        """Dotted keys in ``pipeline.yaml``."""
        self._chosen = chosen
        self._typed = typed
        self._finders: list[Callable[[str], str]] = []

    def place(self, key: str) -> str:
        """File and line that set a dotted key; empty where no file did, or not in the end."""
        finders = () if key in self._typed else reversed(self._finders)
        return next(filter(None, (find(key) for find in finders)), "")

    def add(self, name: str, group: str = "") -> None:
        """Puts a file over what is there, and those of its list ``defaults:`` before or, behind ``_self_``, after it."""
        path = CONFIG_DIR / group / f"{name}.yaml"
        if not path.is_file():
            raise ConfigError(f"{path} does not exist, and the list 'defaults:' of another file names it")
        listed = list(_listed(path))
        for entry in listed if "_self_" in listed else [*listed, "_self_"]:
            if entry == "_self_":
                self._put(path, group)
            elif entry in GROUPS:
                if not group and self._chosen[entry]:
                    self.add(self._chosen[entry], entry)
            elif entry not in ("defaults", name):
                self.add(entry, group)

    def _put(self, path: Path, group: str) -> None:
        values = load_yaml(path) or {}
        if not isinstance(values, dict):
            raise ConfigError(
                f"{path} holds no settings; write a section, such as train:, and its keys below it, indented"
            )
        values.pop("defaults", None)
        prefix = ""
        if group and "@package _global_" not in path.read_text(encoding="utf-8").partition("\n")[0]:
            if group == "recipe" and values:
                raise ConfigError(
                    f"{path}: its first line has to be '# @package _global_', as in the recipes beside it; without it "
                    "nothing of the file is used"
                )
            values, prefix = {group: values} if values else {}, f"{group}."
        find = line_finder(path, prefix)
        refuse_unknown_keys(values, default_container(), find)
        self._finders.append(find)
        settings = {key: value for key, value in flat(values).items() if key in flat(self.values)}
        for key, value in settings.items():
            put(self.values, key, value)
        if not group:
            self.set_by_user |= settings.keys()

    def resolve(self) -> None:
        """Puts in what a file refers to with ``${other.key}``."""
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        try:
            resolved: Any = OmegaConf.to_container(OmegaConf.create(self.values), resolve=True)
        except OmegaConfBaseException as error:
            key = error.full_key or ""
            told = " ".join(str(error).split("\n")[0].split())
            if found := re.search(r"Interpolation key '(\w+)' not found", told):
                told = f"${{{found[1]}}} refers to another key, and there is none; a variable of the environment is written ${found[1]}"
            raise ConfigError(f"{self.place(key) or 'configs'}: {key}: {told}") from None
        self.values.update(resolved)


def _unknown_name(group: str, name: str) -> str:
    """What is wrong with a name that no file of the group's folder has."""
    folder, known = CONFIG_DIR / group, _names(group)
    stem = re.sub(r"\.ya?ml(\.txt)?$", "", name)
    if stem in known:
        return f"{group}={name}: the name goes without its extension; write {group}={stem}"
    for extension in (".yml", ".yaml.txt", ".yml.txt", ".YAML", ".txt", ".json"):
        if stem and (folder / f"{stem}{extension}").is_file():
            return f"{folder / stem}{extension}: the extension has to be .yaml; rename it to {stem}.yaml"
    spellings = {re.sub(r"[^a-z0-9]+", "_", one.lower()): one for one in known}
    if meant := spellings.get(re.sub(r"[^a-z0-9]+", "_", stem.strip().lower())):
        return f"{group}={name}: write {group}={meant}"
    return f"{group}={name} is unknown; choose from {', '.join(known) or 'none'}"


def help_text() -> str:
    return HELP.format(recipes=", ".join(recipe_names()), name=Config().name)


def recipe_names() -> list[str]:
    return _names("recipe")


def _names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))


def to_yaml(config: Config) -> str:
    import yaml

    return yaml.safe_dump(to_container(config), sort_keys=False, allow_unicode=True)


RECORD_HEAD = """\
# What this start was configured with; every start writes it anew. Editing it changes nothing: settings belong on the
# command line, or into configs/ of the project.
"""


def write_config(path: Path, config: Config) -> None:
    write_text_atomic(path, RECORD_HEAD + to_yaml(config))


def read_config(path: Path) -> Config:
    """The configuration that a run was started with; a process reads a file once, and again only when it was
    replaced. Settings that only an earlier version had are named on stderr and left out.

    Raises:
        DataError: no such file. ConfigError: it holds unknown or wrong values.
    """
    try:
        version = path.stat()
        return _read_config(path, version.st_ino, version.st_mtime_ns)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; is this a run directory?") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


@lru_cache(maxsize=16)
def _read_config(path: Path, inode: int, mtime_ns: int) -> Config:  # the numbers are the cache's key
    values = load_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is not a configuration")
    values, former = without_former_keys(values)
    if former:
        print(f"{path}: without {', '.join(former)}, which this version does not have", file=sys.stderr)
    return from_container(values, line_finder(path))
