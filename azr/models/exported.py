"""What a model that a run has exported says of its training: ``azr.json`` and ``azr_trained.json``, beside its weights."""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from azr.errors import DataError
from azr.models.model_hash import hash_weights
from azr.prompts import SHIPPED_FRAMES, frame_files, frame_hash
from azr.system.files import read_json, write_bytes_atomic, write_json_atomic

EXPORT_RECORD = "azr.json"
"""In an exported folder: how the model was trained to be asked, and what it scored."""
TRAINED_RECORD = "azr_trained.json"
"""There too: fingerprints of the programs that it was trained on, by which such tasks are recognised on any machine."""
FRAME_FOLDER = "azr_frame"
"""There too, where it was trained in a prompt frame of the user's own: that frame."""
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def earlier_runs(folder: Path) -> list[dict[str, Any]]:
    """Where a model is an export: the runs that made it, the latest first; else empty, also where its record is damaged, or
    ``written_for_others``."""
    try:
        record = {} if written_for_others(folder) else read_json(folder / EXPORT_RECORD)
        return [
            {
                "run": str(made["run"]),
                "step": int(made["step"]),
                "base_model": str(made["base_model"]),
                "base_model_hash": made.get("base_model_hash"),
            }
            for made in (record, *record.get("earlier_runs", ()))
        ]
    except (DataError, OSError, AttributeError, KeyError, TypeError, ValueError):
        return []


def written_for_others(folder: Path) -> str:
    """A sentence where the record beside a model was written for other weights, so that it tells nothing of these; else empty.
    Earlier versions did not write down for which."""
    try:
        record = read_json(folder / EXPORT_RECORD)
        meant = record.get("tensors_hash") or record.get("weights_hash")
        by_file = not record.get("tensors_hash")  # an earlier version's
        found = hash_weights(folder, by_file=by_file)
    except (DataError, OSError, AttributeError):
        return ""
    if not meant or not found or meant == found:
        return ""
    return (
        f"{folder / EXPORT_RECORD} was written for other weights than those beside it (content {str(meant)[:8]}, not {found[:8]}), so "
        "nothing of what it says counts: neither run nor prompt frame, nor the tasks that the model was trained on. Put its "
        f"weights back, or remove it and {TRAINED_RECORD}"
    )


def recorded_programs(folder: Path) -> tuple[frozenset[str], list[str]]:
    """Of an exported model: fingerprints (``azr.programs.canonical``) of the programs of its runs' tasks, and the runs whose
    programs are not among them, because an earlier version exported their models, or another Python wrote them otherwise."""
    runs = [made["run"] for made in earlier_runs(folder)]
    try:
        record = (
            read_json(folder / TRAINED_RECORD) if runs else {"python": _PYTHON, "programs": (), "missing": ()}
        )
        if record["python"] == _PYTHON:
            return frozenset(map(str, record["programs"])), [run for run in runs if run in record["missing"]]
    except (DataError, OSError, KeyError, TypeError):
        pass
    return frozenset(), runs


def record_programs(folder: Path, programs: Collection[str], missing: Collection[str]) -> None:
    """Writes what ``recorded_programs`` reads."""
    write_json_atomic(
        folder / TRAINED_RECORD,
        {"format": 1, "python": _PYTHON, "missing": sorted(missing), "programs": sorted(programs)},
    )


def copy_records(folder: Path, copy: Path) -> None:
    """Keeps what an exported model says of its training where its folder may be gone later; nothing of any other model."""
    for name in (EXPORT_RECORD, TRAINED_RECORD) if earlier_runs(folder) else ():
        if (folder / name).is_file():
            write_bytes_atomic(copy / name, (folder / name).read_bytes())


def frame_taken_along(frame: str, folder: Path) -> str:
    """What an exported model's record calls the frame that it was trained in: a shipped one by its name. One of the user's own is
    copied into the model's ``folder``, because its path is nobody else's business, and leads nowhere on another machine."""
    if frame in SHIPPED_FRAMES:
        return frame
    for file, content in frame_files(frame).items():
        write_bytes_atomic(folder / FRAME_FOLDER / file, content)
    return FRAME_FOLDER if (folder / FRAME_FOLDER).is_dir() else Path(frame).name


def frame_of(folder: Path, recorded: str) -> str:
    """What ``selfplay.frame`` has to be for an exported model whose record calls its frame so."""
    return str(folder / FRAME_FOLDER) if recorded == FRAME_FOLDER else recorded


def trained_in_another_frame(folder: Path, frame: str) -> str:
    """For a run that begins from a model and asks in ``frame``: that the model was trained in another one, or that its record is
    another model's; else empty."""
    if not earlier_runs(folder):
        return written_for_others(folder)
    ask = read_json(folder / EXPORT_RECORD).get("ask")
    trained = frame_of(folder, str(ask.get("frame", frame))) if isinstance(ask, dict) else frame
    if trained == frame or frame_hash(trained) == frame_hash(frame):
        return ""
    return (
        f"The model was trained in the prompt frame {trained} ({folder / EXPORT_RECORD}) and is asked in {frame} now, in which it "
        f"may begin below what it learned; a run of another name goes on in its own with selfplay.frame={trained}."
    )
