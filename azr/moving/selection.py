"""What of a run travels. What a resume needs goes always; what people read goes as far as the limit allows;
the rest stays.

The same lists say what an archive may hold: nothing else of a run directory can be written by unpacking one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

NEEDED = (
    "config.yaml",
    "identity.json",
    "state.json",
    "metrics.jsonl",
    "incidents.jsonl",
    "verdicts.jsonl",
    "wandb_id",
    "first_probe_scores.json",
    "first_verdict_scores.json",
    r"pool/(tasks\.jsonl|manifest\.json|verdicts\.jsonl|behaviour\.jsonl)",
    r"probes/[^/]+",
    r"base_model/[^/]+",
    r"cycles/\d+/(tasks|shard)\.jsonl",
    r"cycles/\d+/(request|result|consolidation|merge)\.json",
    r"cycles/\d+/attempts/\d+/(config\.yaml|versions\.json)",
    r"checkpoints/latest\.json",
)
"""Paths inside a run directory, as regular expressions. ``pool/verdicts.jsonl`` and ``behaviour.jsonl`` save
executing every task again."""
CHECKPOINT = r"checkpoints/step_(\d{8,})/.+"
READ = (
    r"supervision\.jsonl",
    r"pool/rejected\.jsonl",
    r"cycles/\d+/transcripts\.jsonl",
    r"cycles/\d+/attempts/\d+/trainer\.log",
)
"""What people read, in the order of its worth: of each kind the newest first."""

REBUILT = (
    r"(heartbeat\.json|driver_beat\.json|state\.previous\.json|run\.lock|report\.html|transcripts\.html|comparison\.html)",
    r"(control|tensorboard|wandb|pool/backups|cycles/\d+/attempts)/.*",
    r"(pool|cycles/\d+)/[^/]+\.jsonl?",
    r"checkpoints/(damaged-|rejected-)?step_.*",
)
"""What a run holds beside these; it stays, and nobody misses it."""


@dataclass(frozen=True)
class FileSelection:
    needed: tuple[str, ...]
    read: tuple[str, ...]
    """In the order in which they get what room there is."""
    others: tuple[str, ...]
    """What people have put there: an exported model, evaluations, notes."""


def select_files(paths: Iterable[str], steps: Iterable[int]) -> FileSelection:
    """Chooses from a run's files; of checkpoints those of ``steps``."""
    wanted = set(steps)
    every = sorted(path for path in paths if not is_debris(path))
    needed = [path for path in every if _matches(path, NEEDED) or _step_of(path) in wanted]
    read = [path for pattern in READ for path in reversed(every) if re.fullmatch(pattern, path)]
    others = [path for path in every if not _matches(path, (*NEEDED, *READ, *REBUILT)) and path[0] != "."]
    return FileSelection(tuple(needed), tuple(read), tuple(others))


def is_debris(path: str) -> bool:
    """What file managers leave in every folder that they show."""
    name = path.rpartition("/")[2]
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini")


def belongs_to_a_run(path: str) -> bool:
    return _matches(path, (*NEEDED, CHECKPOINT, *READ))


def is_tensor_file(path: str) -> bool:
    return _step_of(path) is not None and path.endswith((".pt", ".safetensors", ".bin"))


def files_of(root: Path) -> list[str]:
    """Paths of the files below ``root``, also of those behind links: people move ``checkpoints`` to a larger disk."""
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        place = Path(folder)
        above = place.parents[: len(place.relative_to(root).parts)]
        if place.resolve() in [each.resolve() for each in above]:  # a link to a folder above it
            folders.clear()
            continue
        found += [path.relative_to(root).as_posix() for name in names if (path := place / name).is_file()]
    return found


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, path) for pattern in patterns)


def _step_of(path: str) -> int | None:
    found = re.fullmatch(CHECKPOINT, path)
    return int(found[1]) if found else None
