"""Names every path inside a run directory (drawn in docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDir:
    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def identity(self) -> Path:
        return self.root / "identity.json"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        return self.root / "run.lock"

    @property
    def incidents(self) -> Path:
        return self.root / "incidents.jsonl"

    @property
    def supervision(self) -> Path:
        return self.root / "supervision.jsonl"

    @property
    def verdicts(self) -> Path:
        return self.root / "verdicts.jsonl"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def heartbeat(self) -> Path:
        return self.root / "heartbeat.json"

    @property
    def control(self) -> Path:
        return self.root / "control"

    @property
    def pool(self) -> Path:
        return self.root / "pool"

    @property
    def pool_tasks(self) -> Path:
        return self.pool / "tasks.jsonl"

    @property
    def pool_manifest(self) -> Path:
        return self.pool / "manifest.json"

    @property
    def probes(self) -> Path:
        return self.root / "probes"

    @property
    def first_probe_scores(self) -> Path:
        return self.root / "first_probe_scores.json"

    @property
    def first_verdict_scores(self) -> Path:
        return self.root / "first_verdict_scores.json"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def latest_checkpoint(self) -> Path:
        return self.checkpoints / "latest.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

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

    def records(self, name: str) -> list[Path]:
        """The run's file of this name, and the copies of it that attempts have, the newest first; where they exist."""
        copies = sorted((self.root / "cycles").glob(f"*/attempts/*/{name}"), reverse=True)
        return [path for path in (self.root / name, *copies) if path.exists()]

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
