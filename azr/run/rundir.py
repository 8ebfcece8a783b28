"""Names every path inside a run directory (drawn in docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class _Below:
    """A path below the run's folder, by its name there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: RunDir, owner: type[RunDir]) -> Path:
        return run.root / self.name


@dataclass(frozen=True)
class RunDir:
    root: Path

    config = _Below("config.yaml")
    identity = _Below("identity.json")
    state = _Below("state.json")
    lock = _Below("run.lock")
    incidents = _Below("incidents.jsonl")
    supervision = _Below("supervision.jsonl")
    verdicts = _Below("verdicts.jsonl")
    metrics = _Below("metrics.jsonl")
    heartbeat = _Below("heartbeat.json")
    driver_beat = _Below("driver_beat.json")
    control = _Below("control")
    pool = _Below("pool")
    pool_tasks = _Below("pool/tasks.jsonl")
    pool_manifest = _Below("pool/manifest.json")
    probes = _Below("probes")
    base_model = _Below("base_model")
    first_probe_scores = _Below("first_probe_scores.json")
    first_verdict_scores = _Below("first_verdict_scores.json")
    checkpoints = _Below("checkpoints")
    latest_checkpoint = _Below("checkpoints/latest.json")
    report = _Below("report.html")

    @property
    def lacks_probes(self) -> bool:
        """Whether the run has frozen its probes, and there were none (``data.probe_files=[]``)."""
        empty = self.probes.is_dir() and not any(self.probes.glob("*.jsonl"))
        return empty and not self.has_asked_probes

    @property
    def has_asked_probes(self) -> bool:
        """Whether scores of probe tasks are recorded: then the run had some, wherever they are now."""
        return self.first_probe_scores.exists() or self.first_verdict_scores.exists()

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step_{step:08d}"

    def in_cycles(self, name: str) -> dict[int, Path]:
        """The file ``name`` of every cycle that has it, ordered by number: as text, 1000 comes before 999."""
        found = {
            int(path.parent.name): path
            for path in (self.root / "cycles").glob(f"*/{name}")
            if path.parent.name.isdigit()
        }
        return dict(sorted(found.items()))

    def cycle(self, cycle: int) -> Path:
        return self.root / "cycles" / f"{cycle:03d}"

    def cycle_tasks(self, cycle: int) -> Path:
        return self.cycle(cycle) / "tasks.jsonl"

    def shard(self, cycle: int) -> Path:
        return self.cycle(cycle) / "shard.jsonl"

    def request(self, cycle: int) -> Path:
        return self.cycle(cycle) / "request.json"

    def result(self, cycle: int) -> Path:
        return self.cycle(cycle) / "result.json"

    def transcripts(self, cycle: int) -> Path:
        return self.cycle(cycle) / "transcripts.jsonl"

    def attempts(self, cycle: int) -> list[int]:
        """The attempts at a cycle that have a folder, in order."""
        return sorted(
            int(path.name) for path in (self.cycle(cycle) / "attempts").glob("*") if path.name.isdigit()
        )

    def in_attempts(self, name: str) -> list[Path]:
        """The file ``name`` of every attempt that has it, in order."""
        files = (
            self.attempt(cycle, one) / name
            for cycle in self.in_cycles("attempts")
            for one in self.attempts(cycle)
        )
        return [path for path in files if path.exists()]

    def records(self, name: str) -> list[Path]:
        """The run's file of this name, and the copies of it that attempts have, the newest first; where they exist."""
        own = self.root / name
        return [*([own] if own.exists() else []), *reversed(self.in_attempts(name))]

    @property
    def config_record(self) -> Path:
        """``config``, or where it is gone the latest attempt's copy, for whoever reads what the run was started with."""
        return (
            self.config if self.config.exists() else next(iter(self.records(self.config.name)), self.config)
        )

    def attempt(self, cycle: int, attempt: int) -> Path:
        return self.cycle(cycle) / "attempts" / f"{attempt:03d}"

    def trainer_log(self, cycle: int, attempt: int) -> Path:
        return self.attempt(cycle, attempt) / "trainer.log"


def told_apart(folders: Sequence[Path]) -> list[str]:
    """A name of each: its last part, with as many of the folders above it as it takes to tell it from the others."""
    whole = [folder.absolute() for folder in folders]

    def last(folder: Path, parts: int) -> str:
        return str(Path(*folder.parts[-parts:]))

    return [
        next(
            (
                last(folder, parts)
                for parts in range(1, len(folder.parts))
                if all(last(other, parts) != last(folder, parts) for other in whole if other != folder)
            ),
            str(folder),
        )
        for folder in whole
    ]


RUN_MARKS = ("config.yaml", "state.json", "identity.json", "cycles", "checkpoints/step_????????")
"""What every run holds once it has begun, or has saved."""


def is_run(root: Path) -> bool:
    """Whether a folder is a run. Other programs use each of ``RUN_MARKS`` too, and a run may have lost some: two show it."""
    return sum(any(root.glob(mark)) for mark in RUN_MARKS) > 1


def run_named(path: Path) -> Path | None:
    """The run that is meant by a ``path`` that is none: a run's name without its folder, a file in it, ``RUN@best``."""
    above = path.name.rpartition("@")[0]
    named = path.with_name(above) if above else path
    places = (named, named.parent / "runs" / named.name, *named.parents)
    return next(filter(is_run, places), None)


def run_meant(path: Path) -> str:
    """What to give in place of a ``path`` that is no run."""
    return f"give {run_named(path) or 'a run directory, such as runs/NAME'}"
