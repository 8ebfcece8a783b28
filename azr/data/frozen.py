"""The probe and evaluation files that a run froze at its start: their hashes, and whether they are there and unchanged."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from azr.errors import DataError
from azr.run.rundir import RunDir
from azr.system.files import file_hash, read_json

HASHES_FILE = "hashes.json"
"""In the run's probes folder: ``{"probes": {file name: hash}, "evaluation": {path: hash}}``."""
CONSOLIDATION_FILE = "consolidation.json"
"""In the cycle's folder: the report of what TRAIN starts from. It repeats the hashes, for the day when the folder is gone."""

PUT_BACK = "copy the original back from a backup, or start a run of another name: scores on other tasks cannot be compared"


def probe_files_in(folder: Path) -> list[Path]:
    """The files of a folder of probes. In a run's, only those that were frozen: what was added since (a conflict
    copy of a sync client, a file by hand) was never kept out of training, and would change what scores are of.

    Raises:
        DataError: the folder's hash file is damaged, or one of the files is gone or not as it was frozen.
    """
    run = RunDir(folder.parent)
    own = folder == run.probes
    recorded = recorded_hashes(run) if own else {}
    if recorded or (folder / HASHES_FILE).exists():
        frozen = (recorded or frozen_hashes(folder))["probes"]
        for name, expected in frozen.items():
            require_unchanged(folder / name, expected, PUT_BACK)
        return [folder / name for name in sorted(frozen)]
    files = sorted(path for path in folder.glob("*.jsonl") if not path.name.startswith("."))
    if own and run.has_asked_probes and not files:
        raise DataError(lost_probes(folder))
    return files


def require_unchanged(file: Path, expected: str, remedy: str) -> None:
    """
    Raises:
        DataError: the file is gone, or has another hash.
    """
    if not file.is_file():
        raise DataError(f"evaluation file {file} is gone; {remedy}")
    found = file_hash(file)
    if found != expected:
        raise DataError(f"evaluation file {file} was changed (hash {found}, recorded {expected}); {remedy}")


def hashes_path(run: RunDir) -> Path:
    """Where a run keeps what ``frozen_hashes`` reads."""
    return run.probes / HASHES_FILE


def lost_probes(path: Path) -> str:
    """The refusal where nothing is left that says what was frozen."""
    return f"{path} is gone, and nothing else says which tasks the run began with; {PUT_BACK}"


def recorded_hashes(run: RunDir) -> dict[str, dict[str, str]]:
    """The hashes as the latest consolidation repeats them; empty in a run that has none, or of an earlier version."""
    for path in reversed(run.in_cycles(CONSOLIDATION_FILE).values()):
        with contextlib.suppress(DataError, AttributeError):  # damaged: an earlier one says the same
            if hashes := read_json(path).get("hashes"):
                return hashes
    return {}


def frozen_hashes(folder: Path) -> dict[str, dict[str, str]]:
    """What a folder's hash file says; no file where there is none.

    Raises:
        DataError: it is damaged.
    """
    path = folder / HASHES_FILE
    if not path.exists():
        return {"probes": {}, "evaluation": {}}
    value: Any = read_json(path)
    parts = [value.get(key) for key in ("probes", "evaluation")] if isinstance(value, dict) else [None]
    if not all(isinstance(part, dict) for part in parts):
        raise DataError(
            f"{path} is damaged; {PUT_BACK}. Without one, delete it: the next start restores it where it is recorded elsewhere too"
        )
    return value
