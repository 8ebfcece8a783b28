"""Transcripts: samples of what the model proposed and answered, as a page that can be filtered.

``cycles/NNN/transcripts.jsonl`` holds one response a line: step, stream, prompt, response, verdict, reason, reward, task.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azr.files import read_jsonl, write_text_atomic
from azr.report.pages import render_page

PAGE_NAME = "transcripts.html"
MAX_SHOWN = 1200
"""Transcripts on a page, spread evenly over the run; the JSONL files hold all."""
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


def transcript_from_json(record: dict[str, Any]) -> Transcript | None:
    """None where the record names no stream."""
    stream = record.get("stream")
    if not isinstance(stream, str):
        return None
    task = record.get("task")
    task_id = record.get("task_id") or (task.get("task_id") if isinstance(task, dict) else "")
    reward = record.get("reward")

    def integer(key: str) -> int:
        value = record.get(key)
        return value if isinstance(value, int) else 0

    def text(key: str) -> str:
        value = record.get(key)
        return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)

    return Transcript(
        step=integer("step"),
        cycle=integer("cycle"),
        stream=stream,
        verdict=text("verdict"),
        reason=text("reason"),
        reward=float(reward) if isinstance(reward, (int, float)) else None,
        prompt=text("prompt"),
        response=text("response"),
        task_id=str(task_id or ""),
        probe=record.get("probe") is True,
    )


def read_transcripts(root: Path) -> list[Transcript]:
    """All transcripts of a run, in order; damaged lines are left out."""
    records = (record for path in sorted((root / "cycles").glob("*/transcripts.jsonl")) for record in read_jsonl(path))
    return [transcript for record in records if (transcript := transcript_from_json(record)) is not None]


def cut(text: str, limit: int = MAX_CHARS) -> str:
    """The beginning and the end of a long text, and how much was left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def spread(transcripts: list[Transcript], count: int) -> list[Transcript]:
    """At most ``count`` of them, evenly over the run, the latest included."""
    if len(transcripts) <= count:
        return transcripts
    stride = len(transcripts) / count
    return [transcripts[min(int((index + 1) * stride) - 1, len(transcripts) - 1)] for index in range(count)]


def render_transcripts(name: str, transcripts: list[Transcript]) -> str:
    shown = spread(transcripts, MAX_SHOWN)
    entries = [
        asdict(item)
        | {
            "role": item.role,
            "task_type": item.task_type,
            "prompt": cut(item.prompt),
            "response": cut(item.response),
            "reason": item.reason,
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
    page = {"name": name, "entries": entries, "choices": choices, "total": len(transcripts)}
    return render_page("transcripts.html.j2", f"{name} · transcripts", "transcripts.js", page=page)


def write_transcript_page(root: Path, path: Path) -> bool:
    """Writes the page; False where the run kept no transcripts."""
    transcripts = read_transcripts(root)
    if not transcripts:
        return False
    write_text_atomic(path, render_transcripts(root.resolve().name, transcripts))
    return True
