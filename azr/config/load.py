"""Composes configs/*.yaml and command-line overrides with Hydra, without Hydra's tracebacks.

``load_config(["recipe=0_5b_16gb", "train.learning_rate=2e-6"])`` returns the typed ``Config``. Without a ``recipe``
one is chosen from what the machine has, and the choice comes with its reason; a run that has begun keeps the
recipe it began with.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from azr.config import (
    Config,
    default_container,
    from_container,
    refuse_unknown_keys,
    to_container,
    without_former_keys,
)
from azr.config.budget import settle_automatic
from azr.config.paths import get_back, resolve_paths, runs_folder
from azr.config.typed import GROUPS, split_overrides
from azr.config.usual_names import usual_value
from azr.config.yaml_files import line_finder, load_yaml, refuse_unquoted_names, yaml_text
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
    chosen = [item.partition("=")[2] for item in overrides if item.startswith("recipe=")]
    reason = f"recipe {chosen[-1]}: requested" if chosen else ""
    items = list(overrides)
    if not chosen and (named := _recipe_in_file()):
        chosen, reason = [named], f"recipe {named}: requested in {CONFIG_DIR / 'pipeline.yaml'}"
        items.append(f"recipe={named}")
    if chosen and chosen[-1] not in recipe_names():
        raise ConfigError(_unknown_name("recipe", chosen[-1]))
    if not chosen:
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
    container = compose_container(items)
    groups, values = split_overrides(items)
    typed = groups.keys() | values.keys()
    config = from_container(container, lambda key: "" if key in typed else _place(key, groups))
    return Loaded(resolve_paths(config, typed, Path.cwd()), reason)


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
    named, values = _defaults_in_file(), load_yaml(CONFIG_DIR / "pipeline.yaml")
    recipes = (named.get("optional recipe"), named.get("recipe"), values.get("recipe"))
    return next((str(name) for name in recipes if name), "")


def _defaults_in_file() -> dict[str, object]:
    """The list of defaults of ``configs/pipeline.yaml``: group, or name of a file -> what is chosen of it."""
    path = CONFIG_DIR / "pipeline.yaml"
    values = load_yaml(path) if path.is_file() else None
    listed = values.get("defaults") if isinstance(values, dict) else None
    found: dict[str, object] = {}
    for item in listed if isinstance(listed, list) else ():
        if not isinstance(item, str | dict) or item in (path.stem, "_global_"):
            raise ConfigError(
                f"{path}: {item!r} in its list 'defaults:' is no file of {CONFIG_DIR}; remove it"
            )
        found.update(item if isinstance(item, dict) else {item: None})
    for entry in ("defaults", *GROUPS):
        if not {entry, f"optional {entry}"} & found.keys():
            raise ConfigError(
                f"{path}: its list 'defaults:' has no entry for '{entry}', and without that no setting is found; "
                f"{get_back(path)}. Settings go below that list; a recipe of yours goes into {CONFIG_DIR}/recipe"
            )
    refuse_unquoted_names(path, ("defaults", "recipe"))
    return found


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
            f"{run.root} began with recipe={recipe}, which is not in {CONFIG_DIR / 'recipe'}; put it back, give its new name with recipe=, "
            "or use another name="
        )
    return recipe


def compose_container(overrides: Sequence[str]) -> dict[str, object]:
    """Plain values of all keys: defaults, then ``configs/pipeline.yaml`` and its groups, then overrides.

    Raises:
        ConfigError: Hydra refuses the overrides or a file.
    """
    import yaml
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    groups, values = split_overrides(overrides)
    _defaults_in_file()
    for group, name in groups.items():
        if name not in _names(group):
            raise ConfigError(_unknown_name(group, name))
    recipe = groups.get("recipe", "")
    _refuse_slips_in_files(recipe)
    ConfigStore.instance().store(name="defaults", node=default_container(), provider="azr")
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(CONFIG_DIR), version_base=None):
            composed = compose("pipeline", overrides=list(map(_quoted, groups.items())))
        for key, value in values.items():
            OmegaConf.update(composed, key, value)
        resolved = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        for path in _yaml_files():
            load_yaml(path)
        raise ConfigError(_plain_message(str(error), groups)) from None
    assert isinstance(resolved, dict)
    container = {str(key): value for key, value in resolved.items()}
    if recipe and isinstance(container.get("recipe"), dict):  # Hydra has put the file under its group's name
        path = CONFIG_DIR / "recipe" / f"{recipe}.yaml"
        raise ConfigError(
            f"{path}: its first line has to be '# @package _global_', as in the recipes beside it; without it nothing of the file is used"
        )
    container["recipe"] = recipe
    settle_automatic(container, default_container(), values.keys() | _keys_in_files(recipe))
    return container


def _refuse_slips_in_files(recipe: str) -> None:
    """Raises: ConfigError: a file that is used has a slip that Hydra would not notice, or would answer with a traceback."""
    known = default_container()
    files = {CONFIG_DIR / "pipeline.yaml": (known, "")}
    files |= dict.fromkeys(_built_from("recipe", recipe) if recipe else (), (known, ""))
    for name in _names("selfplay"):
        files |= dict.fromkeys(_built_from("selfplay", name), (known["selfplay"], "selfplay."))
    for path, (keys, prefix) in files.items():
        values = load_yaml(path)
        if not isinstance(values, dict | None):
            raise ConfigError(
                f"{path} holds no settings; write a section, such as train:, and its keys below it, indented"
            )
        if values:
            sections = {key: value for key, value in values.items() if isinstance(keys.get(key), dict)}
            refuse_unknown_keys(sections, keys, line_finder(path, prefix), prefix)


def _built_from(group: str, name: str, above: tuple[str, ...] = ()) -> list[Path]:
    """The file of a group, and those it builds on by its list ``defaults:``, the nearest first.

    Raises:
        ConfigError: the list is none, or an entry is not one that has an effect.
    """
    path = CONFIG_DIR / group / f"{name}.yaml"
    first_line = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    if re.fullmatch(r"#\s*@package\s*", first_line):
        raise ConfigError(f"{path}, line 1: write '# @package _global_', as in the recipes beside it")
    values = load_yaml(path)
    listed = values.get("defaults", []) if isinstance(values, dict) else []
    example = f"write it as defaults: [{'cpu_tiny' if group == 'recipe' else 'code'}, _self_]"
    if not isinstance(listed, list):
        raise ConfigError(f"{path}: defaults: {listed!r} is not a list of files; {example}")
    files = [path]
    for item in listed:
        if isinstance(item, dict) and len(item) == 1:
            entry, value = next(iter(item.items()))
            if not re.fullmatch(r"override /?selfplay", str(entry)) or not isinstance(value, str):
                raise ConfigError(
                    f"{path}: '- {entry}: {value}' has no effect in its list defaults:; rules of the game are chosen there by "
                    "'- override /selfplay: NAME', and a file to build on by its name alone, '- NAME'"
                )
            if value not in _names("selfplay"):
                raise ConfigError(f"{path}: {_unknown_name('selfplay', value)}")
        elif not isinstance(item, str):
            raise ConfigError(f"{path}: {item!r} in its list defaults: is not the name of a file; {example}")
        elif item in (name, *above):
            raise ConfigError(f"{path} builds on itself by its list defaults:; take {item} out of it")
        elif item != "_self_":
            if item not in _names(group):
                raise ConfigError(f"{path}: {_unknown_name(group, item)}")
            files += _built_from(group, item, (*above, name))
    return files


def _keys_in_files(recipe: str) -> set[str]:
    """The dotted keys, one section deep, that are set by hand: in ``configs/pipeline.yaml``, and in a recipe above the one
    whose ``budget.automatic`` it takes over."""
    own = [CONFIG_DIR / "pipeline.yaml"]
    if recipe:
        files = _built_from("recipe", recipe)
        own += itertools.takewhile(lambda path: not line_finder(path)("budget.automatic"), files[:-1])
    keys = set()
    for path in own:
        values = load_yaml(path)
        sections = values.items() if isinstance(values, dict) else ()
        keys |= {
            f"{name}.{key}" for name, section in sections if isinstance(section, dict) for key in section
        }
    return keys


def _unknown_name(group: str, name: str) -> str:
    """What is wrong with a name that no file of the group's folder has."""
    folder, known = CONFIG_DIR / group, _names(group)
    stem = re.sub(r"\.ya?ml(\.txt)?$", "", name)
    if "/" in name:
        stem = stem.rpartition("/")[2]
        todo = (
            f"write {group}={stem}" if stem in known else f"copy that file into {folder}, then {group}={stem}"
        )
        return f"{group}={name}: a file of {folder} is named alone; {todo}"
    if stem in known:
        return f"{group}={name}: the name goes without its extension; write {group}={stem}"
    for extension in (".yml", ".yaml.txt", ".yml.txt", ".YAML", ".txt", ".json"):
        if stem and (folder / f"{stem}{extension}").is_file():
            return f"{folder / stem}{extension}: the extension has to be .yaml; rename it to {stem}.yaml"
    if meant := usual_value(stem, known):
        return f"{group}={name}: write {group}={meant}"
    usual = "it chosen for this machine" if group == "recipe" else "the recipe's"
    to_choose = f"leave {group}= out to have {usual}, or " if name.strip().lower() in _NO_CHOICE else ""
    return f"{group}={name} is unknown; {to_choose}choose from {', '.join(known) or 'none'}"


_NO_CHOICE = ("", "auto", "automatic", "default", "none", "null")
"""What people type who want none in particular."""


def _quoted(choice: tuple[str, str]) -> str:
    """``recipe='4060'``: without the quotation marks Hydra reads a number."""
    from hydra.core.override_parser.types import Quote, QuotedString

    group, name = choice
    return f"{group}={QuotedString(name, Quote.single).with_quotes()}"


def _yaml_files() -> list[Path]:
    return [*sorted(CONFIG_DIR.glob("*.yaml")), *sorted(CONFIG_DIR.glob("*/*.yaml"))]


def _place(key: str, groups: Mapping[str, str]) -> str:
    """File and line of configs/ in which ``key`` is, as far as can be determined: of the files that ``groups`` name before
    any other that has it, too."""
    named = [path for group, name in groups.items() for path in _built_from(group, name)]
    rest = [path for path in _yaml_files() if path not in named]
    for path in sorted([*named, *rest], key=lambda path: path.parent != CONFIG_DIR):
        first_line = path.read_text(encoding="utf-8").partition("\n")[0]
        whole = path.parent == CONFIG_DIR or "@package _global_" in first_line
        if place := line_finder(path, "" if whole else f"{path.parent.name}.")(key):
            return place
    return ""


def _plain_message(text: str, groups: Mapping[str, str]) -> str:
    """Hydra's message about a file in our words: which setting it is about, and what to do."""
    told = " ".join(text.split("\n")[0].split())
    if found := re.search(r"Interpolation key '(\w+)' not found", told):
        told = f"${{{found[1]}}} refers to another key, and there is none; a variable of the environment is written ${found[1]}"
    if found := re.search(r"full_key: (\S+)", text):
        return f"{_place(found[1], groups) or 'configs'}: {found[1]}: {told}"
    return told


def help_text() -> str:
    return HELP.format(recipes=", ".join(recipe_names()), name=Config().name)


def recipe_names() -> list[str]:
    return _names("recipe")


def _names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))


def to_yaml(config: Config) -> str:
    return yaml_text(to_container(config))


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
