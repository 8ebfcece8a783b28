"""What a model that a run has exported says of its training: ``azr.json``, beside its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from azr.errors import DataError
from azr.system.files import read_json

EXPORT_RECORD = "azr.json"
"""In an exported folder: how the model was trained to be asked, and what it scored."""


def earlier_runs(folder: Path) -> list[dict[str, Any]]:
    """Where a model is an export: the runs that made it, the latest first; else empty, also where its record is damaged."""
    try:
        record = read_json(folder / EXPORT_RECORD)
        return [
            {"run": str(made["run"]), "step": int(made["step"]), "base_model": str(made["base_model"])}
            for made in (record, *record.get("earlier_runs", ()))
        ]
    except (DataError, OSError, AttributeError, KeyError, TypeError, ValueError):
        return []


def trained_in_another_frame(folder: Path, frame: str) -> str:
    """For a run that begins from a model and asks in ``frame``: that the model was trained in another one; else empty."""
    if not earlier_runs(folder):
        return ""
    ask = read_json(folder / EXPORT_RECORD).get("ask")
    trained = ask.get("frame", frame) if isinstance(ask, dict) else frame
    if trained == frame:
        return ""
    return (
        f"The model was trained in the prompt frame {trained} ({folder / EXPORT_RECORD}) and is asked in {frame} now, in which it "
        f"may begin below what it learned; a run of another name goes on in its own with selfplay.frame={trained}."
    )
