"""Where task records come from: the initial tasks (shipped seeds, the identity function alone, or the user's own), and every
other place a run may read them from. A source is opened read-only, by ``azr.data.readers``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from azr.config.data import DataConfig
from azr.config.paths import PROJECT, absent, find, get_back, where_looked
from azr.data.unpack import data_suffix
from azr.errors import DataError
from azr.run.rundir import RunDir, is_run
from azr.system.disks import missing_disk
from azr.system.files import file_hash, read_json

IDENTITY_FILE = Path(__file__).with_name("identity.jsonl")
"""The identity function as an input/output record and as an induction record."""
SHIPPED_SEEDS = PROJECT / "data" / "seeds"
SHIPPED_FILES = ("seed_io.jsonl", "seed_induction.jsonl")
"""What ``shipped`` means; data/seeds also holds seeds for the bundled tiny model."""
SHIPPED_PROBES = PROJECT / "data" / "probes" / "general.jsonl"
DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
_NOT_DATA = ("dataset_info.json", "state.json", "dataset_dict.json", "manifest.json")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Kind(str, Enum):
    SEED = "seed"
    USER = "user"
    OTHER_RUN = "other_run"
    CYCLE = "cycle"
    """What an earlier cycle started from."""
    SHARD = "shard"
    """Tasks accepted in self-play."""


@dataclass(frozen=True)
class TaskSource:
    kind: Kind
    name: str
    """Shown to people and written into the manifest; free of machine-specific folders."""
    file: Path
    origin: str = ""
    """Lineage source of its tasks (``seed``, ``user``, the other run's name); empty: what the record says."""
    trusted: bool = False
    """Verified already (its hash is the one in the shipped manifest): not executed again."""
    named: str = ""
    """Key and path in the configuration (``data.extra_files: my.jsonl``); empty for what nobody named."""
    judged: bool = False
    """An earlier consolidation or merge read it as it is now: nothing in it is new."""


def data_files(path: Path) -> list[Path]:
    """The data files at ``path``: the file itself, or those of a folder in name order.

    A Hugging Face ``datasets`` folder is one of arrow or parquet files (with one folder a split); its caches
    are left out.

    Raises:
        OSError: a folder in it cannot be read, or a data file in it is a link to nothing.
    """
    if path.is_file():
        return [path]
    files = [file for file in _candidates(path) if data_suffix(file) in DATA_SUFFIXES and not file.is_dir()]
    for file in files:
        file.stat()
    return [file for file in files if file.is_file()]


def unread_files(path: Path) -> list[Path]:
    """What ``data_files`` passes over in a folder: links to other folders, and files but for descriptions
    (README, LICENSE, ``dataset_info.json`` ...)."""
    if not path.is_dir():
        return []
    known = (".md", *DATA_SUFFIXES)
    return [
        f for f in _candidates(path) if f.is_dir() or (data_suffix(f) not in known and f.stem != "LICENSE")
    ]


def _candidates(folder: Path) -> list[Path]:
    """The files below a folder, and the links to folders, which are not entered; hidden folders (``.git``, an editor's
    copies) and what a Mac puts into archives are passed over."""

    def refuse(error: OSError) -> None:
        raise error

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        below = [Path(parent, name) for name in (*folders, *names)]
        found += [path for path in below if path.is_symlink() or not path.is_dir()]
    shown = (path for path in sorted(found) if not path.name.startswith((".", "cache-")))
    return [path for path in shown if path.name not in _NOT_DATA]


def configured_files(names: Iterable[str], key: str) -> tuple[list[Path], list[str]]:
    """Data files of the configured paths, and the paths that hold none (each with a sentence)."""
    files: list[Path] = []
    missing: list[str] = []
    for name in names:
        if _ADDRESS.match(name):
            missing.append(f"{key}: {absent(Path(name))}")
            continue
        try:
            path = find(name)
            there = path.exists()
            if there and is_run(path):  # with probes, which nobody may train on
                is_taken = key in ("data.extra_files", "data.seeds")
                hint = (
                    f"data.other_runs=[{name}] takes its tasks"
                    if is_taken
                    else f"its probes lie in {path / 'probes'}"
                )
                missing.append(f"{key}: {path} is a run; {hint}")
                continue
            found = data_files(path) if there else []
        except OSError as error:
            missing.append(f"{key}: {error.filename or name} cannot be read: {error.strerror}")
            continue
        if not there:
            hint = _pattern_hint(name) or _hub_hint(name)
            missing.append(
                f"{key}: {missing_disk(path) or f'{path} does not exist{where_looked(name)}{hint}'}"
            )
        elif not found and path.is_dir():
            missing.append(f"{key}: {path} holds no {', '.join(DATA_SUFFIXES)} file")
        elif not found:
            missing.append(f"{key}: {path} is not a regular file (a pipe or a device)")
        files.extend(file for file in found if file not in files)
    return files, missing


def seed_sources(config: DataConfig) -> Iterator[TaskSource]:
    """Raises:
    DataError: the configured seeds do not exist.
    """
    if config.seeds == "none":
        return
    if config.seeds == "identity":
        yield TaskSource(Kind.SEED, "identity.jsonl", IDENTITY_FILE, origin="seed", trusted=True)
        return
    hashes = shipped_hashes() if config.trust_shipped_seeds else {}
    for file in _seed_files(config.seeds):
        trusted = hashes.get(file.name) == file_hash(file)
        named = "" if config.seeds == "shipped" else f"data.seeds: {config.seeds}"
        yield TaskSource(Kind.SEED, file.name, file, origin="seed", trusted=trusted, named=named)


def _seed_files(seeds: str) -> list[Path]:
    if seeds == "shipped":
        files = [SHIPPED_SEEDS / name for name in SHIPPED_FILES]
        if not all(file.is_file() for file in files):
            raise DataError(
                f"{SHIPPED_SEEDS} lacks its seed files ({', '.join(SHIPPED_FILES)}); {get_back(SHIPPED_SEEDS)}"
            )
        return files
    files, missing = configured_files([seeds], "data.seeds")
    if missing:
        raise DataError(f"{missing[0]}; use shipped, identity, none, or the path of a file")
    return files


def shipped_hashes() -> dict[str, str]:
    """File name -> hash of the shipped seed files as their maker verified them; empty where there is no manifest."""
    path = SHIPPED_SEEDS / "manifest.json"
    if not path.is_file():
        return {}
    return {name: entry["hash"] for name, entry in read_json(path)["files"].items()}


def user_sources(names: Iterable[str]) -> tuple[list[TaskSource], list[str]]:
    """The files of ``data.extra_files``, and the paths that hold none."""
    sources: list[TaskSource] = []
    missing: list[str] = []
    for name in dict.fromkeys(names):
        files, lacking = configured_files([name], "data.extra_files")
        missing += lacking
        known, named = {source.file for source in sources}, f"data.extra_files: {name}"
        short = {file: "/".join(file.parts[-2:]) for file in files if file not in known}
        sources += [TaskSource(Kind.USER, shown, file, "user", named=named) for file, shown in short.items()]
    return sources, missing


def _pattern_hint(name: str) -> str:
    """For ``data/*.jsonl``, which no shell has replaced by names."""
    folder = find(name).parent
    if not re.search(r"[*?\[]", Path(name).name) or not folder.is_dir():
        return ""
    return f" (patterns are not read; {folder} takes all of its files, or name them: [a.jsonl,b.jsonl])"


def _hub_hint(name: str) -> str:
    """For ``org/name``, which may be meant as a data set of the hub."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-]+", name):
        return ""
    return f" (a data set of the Hugging Face hub has to be saved first: datasets.load_dataset({name!r}).save_to_disk(FOLDER))"


def refuse_missing(missing: Sequence[str]) -> None:
    """Raises:
    DataError: something is missing; all of it is named at once.
    """
    if missing:
        raise DataError("; ".join(missing) + "; correct the path, or remove it from the configuration")


def other_run_sources(names: Iterable[str], own: Path) -> tuple[list[TaskSource], list[str]]:
    sources: list[TaskSource] = []
    missing: list[str] = []
    for name in names:
        try:
            root = find(name)
            files = [RunDir(root).pool_tasks, *RunDir(root).in_cycles("shard.jsonl").values()]
            files = [file for file in files if file.is_file()]
        except OSError as error:
            missing.append(f"data.other_runs: {name} cannot be read: {error.strerror}")
            continue
        if root.resolve() == own.resolve():
            missing.append(f"data.other_runs: {root} is this run itself, which has its own tasks anyway")
        elif not root.exists():
            meant = next(filter(is_run, (own.parent / name, own.parent / root.name)), None)
            hint = f" (the run {meant} does)" if meant else ""
            missing.append(
                f"data.other_runs: {missing_disk(root) or f'{root} does not exist{where_looked(name)}{hint}'}"
            )
        elif not files:
            other = "an archive is unpacked first" if root.is_file() else "data.extra_files takes other tasks"
            missing.append(
                f"data.other_runs: {root}{where_looked(name)} holds neither pool/tasks.jsonl nor cycles/*/shard.jsonl ({other})"
            )
        for file in files:
            short = f"{root.name}/{file.relative_to(root).as_posix()}"
            sources.append(
                TaskSource(Kind.OTHER_RUN, short, file, root.name, named=f"data.other_runs: {name}")
            )
    return sources, missing
