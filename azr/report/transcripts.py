"""Transcripts: samples of what the model proposed and answered, as a page that can be filtered.

``cycles/NNN/transcripts.jsonl`` holds one response a line, as ``azr.selfplay.transcripts`` writes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azr.report.pages import render_page
from azr.report.text import signed
from azr.run.rundir import RunDir

PAGE_NAME = "transcripts.html"
MAX_SHOWN = 1200
"""Transcripts on a page, spread evenly over the run; the JSONL files hold all."""
READ_LIMIT = 32 * 2**20
"""Bytes of transcripts that are read; a long run's are sampled from beginning to end, or a report would take
minutes."""
STRETCH = 64 * 2**10
MAX_CHARS = 6000
"""Longest prompt or response on the page."""


@dataclass(frozen=True)
class Transcript:
    step: int
    cycle: int
    stream: str
    verdict: str
    reason: str
    reward: float | None
    prompt: str
    response: str
    task_id: str
    probe: bool = False

    @property
    def role(self) -> str:
        return self.stream.partition("-")[0]

    @property
    def task_type(self) -> str:
        return self.stream.partition("-")[2]


def transcript_from_json(record: dict[str, Any], cycle: int = 0) -> Transcript | None:
    """Reads what ``azr.selfplay.transcripts`` writes; None where the record names no stream.

    Args:
        cycle: of the file it is in.
    """
    stream = record.get("stream")
    if not isinstance(stream, str):
        return None
    row_id, reward, step = _text(record, "row_id"), record.get("reward"), record.get("step")
    probe = row_id.startswith("probe")
    verdict, reason = _verdict(record, stream.startswith("propose"))
    return Transcript(
        step=step if isinstance(step, int) else 0,
        cycle=cycle,
        stream=stream,
        verdict=verdict,
        reason=reason,
        reward=float(reward) if isinstance(reward, (int, float)) else None,
        prompt=_text(record, "prompt"),
        response=_text(record, "response"),
        task_id=_text(record, "task_id") or (row_id if probe else ""),
        probe=probe,
    )


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _verdict(record: dict[str, Any], propose: bool) -> tuple[str, str]:
    """``valid`` or ``rejected`` with the reason; ``right``, ``partly right`` or ``wrong`` with the reason."""
    reason = _text(record, "rejection" if propose else "reason")
    if propose:
        verdict = "rejected" if reason else "valid"
    else:
        score = record.get("score")
        if not isinstance(score, (int, float)):
            verdict = ""
        else:
            verdict = "right" if score >= 1 else "partly right" if score > 0 else "wrong"
    if record.get("format_ok") is False and not reason:
        reason = "format"
    return verdict, "" if reason == verdict else reason


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
    try:
        record = json.loads(line.decode("utf-8", "surrogatepass"))
    except ValueError:
        return None
    return transcript_from_json(record, cycle) if isinstance(record, dict) else None


def cut(text: str, limit: int = MAX_CHARS) -> str:
    """The beginning and the end of a long text, and how much was left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def gist(response: str) -> str:
    """A line to tell responses apart in a list: the function that it defines, else its last line that is no
    tag or fence."""
    program = re.search(r"^[ \t]*def .*?(?=^[ \t]*```|\Z)", response, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for line in response.splitlines()]
    said = [line for line in lines if line and not re.fullmatch(r"```.*|(</?\w+>\s*)+", line)]
    chosen = " ".join(program[0].split()) if program else said[-1] if said else ""
    return chosen if len(chosen) <= 120 else f"{chosen[:120]}…"


def evenly_spaced(transcripts: list[Transcript], count: int) -> list[Transcript]:
    """At most ``count`` of them, evenly over the run, the latest included."""
    if len(transcripts) <= count:
        return transcripts
    stride = len(transcripts) / count
    return [transcripts[min(int((index + 1) * stride) - 1, len(transcripts) - 1)] for index in range(count)]


def render_transcripts(name: str, sample: TranscriptSample, report: str) -> str:
    """
    Args:
        report: the address of the report that leads here, to go back.
    """
    shown = evenly_spaced(sample.items, MAX_SHOWN)
    entries = [
        asdict(item)
        | {
            "role": item.role,
            "task_type": item.task_type,
            "prompt": cut(item.prompt),
            "response": cut(item.response),
            "reward_text": signed(item.reward),
            "gist": gist(item.response),
        }
        for item in reversed(shown)
    ]
    choices = {
        "role": sorted({item.role for item in shown}),
        "task_type": sorted({item.task_type for item in shown}),
        "verdict": sorted({item.verdict for item in shown if item.verdict}),
        "reason": sorted({item.reason for item in shown if item.reason}),
        "cycle": sorted({str(item.cycle) for item in shown}, key=int),
    }
    page = {
        "name": name,
        "report": report,
        "entries": entries,
        "choices": choices,
        "total": f"{'' if sample.exact else 'about '}{sample.total:,}",
    }
    return render_page("transcripts.html.j2", f"{name} · transcripts", "transcripts.js", page=page)
