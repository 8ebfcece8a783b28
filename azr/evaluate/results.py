"""Results on disk: what an earlier evaluation left is kept under a number, never replaced silently."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from azr.evaluate.scoring import Judged, Scores
from azr.system.files import json_line, json_text, write_bytes_atomic
from azr.system.locks import locked

LOCK_WAIT_S = 60.0
"""Writing takes milliseconds; who holds the lock this long hangs."""


def publish(folder: Path, files: Mapping[str, str]) -> str:
    """Writes ``files`` (name -> text) into ``folder``. Where they differ from those that are there, these are
    kept beside them as ``NAME-001.ENDING``, ``NAME-002.ENDING`` ..., all under one number, so the plain names
    always hold the newest results.

    Earlier files are copied before they are replaced, and each file appears whole: a crash at any point loses nothing.

    Returns:
        a sentence that names what was kept; '' where nothing was there, or exactly this.

    Raises:
        RunError: another evaluation has been writing results here for a minute.
        OSError: the disk is full or read-only.
    """
    new = {name: text.encode("utf-8", "surrogatepass") for name, text in files.items()}
    folder.mkdir(parents=True, exist_ok=True)
    refusal = f"{folder}: another evaluation has been writing results there for {LOCK_WAIT_S:.0f} s; end it, or give --out"
    with locked(folder / ".results.lock", LOCK_WAIT_S, refusal):
        earlier = {name: (folder / name).read_bytes() for name in new if (folder / name).is_file()}
        if earlier == new:
            return ""
        number = _next_number(folder, new)
        kept = {name: f"{Path(name).stem}-{number:03d}{Path(name).suffix}" for name in earlier}
        for name, copy in kept.items():
            write_bytes_atomic(folder / copy, earlier[name])
        for name, data in new.items():
            write_bytes_atomic(folder / name, data)
    return f"{folder} held other results: kept as {', '.join(sorted(kept.values()))}" if kept else ""


def write_scores(
    folder: Path,
    settings: dict[str, Any],
    scores: Scores,
    doubts: Sequence[str],
    judged: Sequence[Judged],
    say: Callable[[str], None],
) -> Scores:
    """Verdicts and scores of one model on one suite, with what makes them doubtful, on the disk (``publish``)."""
    scores = replace(scores, notes=[*scores.notes, *doubts])
    files = {
        "verdicts.jsonl": "".join(json_line(each.to_json()) for each in judged),
        "result.json": json_text({"settings": settings, **asdict(scores)}),
    }
    if kept := publish(folder, files):
        say(kept)
    return scores


def _next_number(folder: Path, names: Mapping[str, bytes]) -> int:
    """1 + the largest number that any of ``names`` is kept under."""
    found = [0]
    for name in names:
        pattern = re.compile(rf"{re.escape(Path(name).stem)}-(\d+){re.escape(Path(name).suffix)}")
        found += [int(match[1]) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    return max(found) + 1
