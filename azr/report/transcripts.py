"""Transcripts: samples of what the model proposed and answered, as a page that can be filtered.

``cycles/NNN/transcripts.jsonl`` holds one response a line, as ``azr.selfplay.transcripts`` writes it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from azr.errors import DataError
from azr.report.pages import render_page
from azr.report.series import thinned
from azr.run.records import from_json
from azr.run.rundir import RunDir

PAGE_NAME = "transcripts.html"
MAX_SHOWN = 1200
"""Transcripts on a page, spread evenly over the run; the JSONL files hold all."""
READ_LIMIT = 32 * 2**20
"""Bytes of transcripts that are read; a long run's are sampled from beginning to end, or a report would take
minutes."""
STRETCH = 64 * 2**10


@dataclass(frozen=True)
class Transcript:
    """A line of ``transcripts.jsonl``, as far as it is shown, and the cycle that it is of."""

    stream: str
    step: int = 0
    row_id: str = ""
    task_id: str | None = None
    """None for a proposal that became none, and for a solution that an earlier version wrote."""
    prompt: str = ""
    response: str = ""
    reward: float | None = None
    format_ok: bool = True
    score: float | None = None
    """Of a solution, as is ``reason``."""
    reason: str = ""
    rejection: str | None = None
    """Of a proposal."""
    cycle: int = 0

    @property
    def role(self) -> str:
        return self.stream.partition("-")[0]

    @property
    def task_type(self) -> str:
        return self.stream.partition("-")[2]

    @property
    def is_probe(self) -> bool:
        return self.row_id.startswith("probe")

    @property
    def verdict(self) -> str:
        """``valid`` or ``rejected``; ``right``, ``partly right`` or ``wrong``."""
        if self.role == "propose":
            return "rejected" if self.rejection else "valid"
        if self.score is None:
            return ""
        return "right" if self.score >= 1 else "partly right" if self.score > 0 else "wrong"

    @property
    def why(self) -> str:
        """The reason of the verdict, where it says more than that."""
        reason = self.rejection or self.reason or ("" if self.format_ok else "format")
        return "" if reason == self.verdict else reason


@dataclass(frozen=True)
class TranscriptSample:
    """What was read of a run's transcripts, in order."""

    items: list[Transcript]
    total: int
    exact: bool
    """False: the files are larger than ``READ_LIMIT``, parts of them were read, and ``total`` is an estimate."""


def read_sample(root: Path) -> TranscriptSample:
    """All transcripts of a run, or stretches of them from its beginning to its end; damaged lines are left out."""
    paths = RunDir(root).in_cycles("transcripts.jsonl")
    sizes = [path.stat().st_size for path in paths.values()]
    share = min(1.0, READ_LIMIT / max(sum(sizes), 1))
    found: list[Transcript] = []
    read = 0
    for (cycle, path), size in zip(paths.items(), sizes, strict=True):
        for line in _lines(path, size, share):
            read += len(line)
            item = _from_line(line, cycle)
            if item is not None:
                found.append(item)
    total = len(found) if share >= 1 else round(len(found) * sum(sizes) / max(read, 1))
    return TranscriptSample(found, total, share >= 1)


def _lines(path: Path, size: int, share: float) -> Iterator[bytes]:
    """All lines, or those of stretches that cover about ``share`` of the file, its first and last included."""
    with open(path, "rb") as file:
        if share >= 1:
            yield from file
            return
        count = max(2, round(size * share / STRETCH))
        for index in range(count):
            start = (size - STRETCH) * index // (count - 1)
            file.seek(max(start, 0))
            if start > 0:
                file.readline()  # the rest of a line that began before
            while file.tell() < start + STRETCH and (line := file.readline()):
                yield line


def _from_line(line: bytes, cycle: int) -> Transcript | None:
    with contextlib.suppress(ValueError, DataError):
        record = json.loads(line.decode("utf-8", "surrogatepass"))
        return replace(from_json(Transcript, record, "transcripts.jsonl"), cycle=cycle)
    return None


def render_transcripts(name: str, sample: TranscriptSample, report: str) -> str:
    """
    Args:
        report: the address of the report that leads here, to go back.
    """
    shown = [sample.items[index] for index in thinned(len(sample.items), MAX_SHOWN)]
    choices = {
        "role": sorted({item.role for item in shown}),
        "task_type": sorted({item.task_type for item in shown}),
        "verdict": sorted({item.verdict for item in shown if item.verdict}),
        "reason": sorted({item.why for item in shown if item.why}),
        "cycle": sorted({str(item.cycle) for item in shown}, key=int),
    }
    page = {
        "name": name,
        "report": report,
        "entries": shown[::-1],
        "choices": choices,
        "total": f"{'' if sample.exact else 'about '}{sample.total:,}",
    }
    return render_page("transcripts.html.j2", f"{name} · transcripts", "transcripts.js", page=page)
