"""The initial tasks: shipped seeds, the identity function alone, or the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from azr.config.data import DataConfig
from azr.config.paths import get_back
from azr.data.sources import SHIPPED_SEEDS, Kind, TaskSource, configured_files
from azr.errors import DataError
from azr.system.files import file_hash, read_json

IDENTITY_FILE = Path(__file__).with_name("identity.jsonl")
"""The identity function as an input/output record and as an induction record."""

SHIPPED_FILES = ("seed_io.jsonl", "seed_induction.jsonl")
"""What ``shipped`` means; data/seeds also holds seeds for the bundled tiny model."""


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
