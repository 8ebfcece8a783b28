"""The first tasks: shipped seeds, the identity function alone, or the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from azr.config.data import DataConfig
from azr.data.sources import SHIPPED_SEEDS, Kind, Source, data_files, resolve
from azr.errors import DataError
from azr.files import file_hash, read_json

IDENTITY_FILE = Path(__file__).with_name("identity.jsonl")
"""The identity function as an input/output record and as an induction record (spec 1.1, 1.2)."""

SHIPPED_FILES = ("seed_io.jsonl", "seed_induction.jsonl")
"""What ``shipped`` means; data/seeds also holds seeds for the bundled tiny model."""


def seed_sources(config: DataConfig) -> Iterator[Source]:
    """Raises:
    DataError: the configured seeds do not exist.
    """
    if config.seeds == "none":
        return
    if config.seeds == "identity":
        yield Source(Kind.SEED, "identity.jsonl", IDENTITY_FILE, origin="seed", trusted=True)
        return
    shipped = config.seeds == "shipped"
    folder = SHIPPED_SEEDS if shipped else resolve(config.seeds)
    files = [folder / name for name in SHIPPED_FILES] if shipped else data_files(folder) if folder.exists() else []
    if not files or not all(file.is_file() for file in files):
        raise DataError(f"data.seeds is {config.seeds!r}, but {folder} lacks its seed files; use shipped, identity, none, or a path")
    hashes = shipped_hashes() if config.trust_shipped_seeds else {}
    for file in files:
        yield Source(Kind.SEED, file.name, file, origin="seed", trusted=hashes.get(file.name) == file_hash(file))


def shipped_hashes() -> dict[str, str]:
    """File name -> hash of the shipped seed files as their maker verified them; empty where there is no manifest."""
    path = SHIPPED_SEEDS / "manifest.json"
    if not path.is_file():
        return {}
    files = read_json(path).get("files", {})
    return {str(name): str(entry["hash"] if isinstance(entry, dict) else entry) for name, entry in files.items()}
