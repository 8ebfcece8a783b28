"""Sample tasks as cards: the program, what is asked, and what the model answered; of frozen tasks, early and late."""

from __future__ import annotations

from typing import Any

from azr.report.tasks import TaskStats
from azr.report.text import cut, percent
from azr.report.transcripts import Transcript
from azr.tasks import Task, TaskType

MAX_TEXT = 1500
MAX_PROBES = 4


def sample_cards(stats: TaskStats, transcripts: list[Transcript]) -> list[dict[str, Any]]:
    """One card a sample task, and one a frozen task that was answered at two different steps at least; of these, those
    whose verdict changed come first."""
    probes: dict[str, list[Transcript]] = {}
    latest: dict[tuple[str | None, str], Transcript] = {}
    for item in transcripts:
        if item.role == "solve" and item.is_probe:
            probes.setdefault(item.row_id, []).append(item)
        elif item.role == "solve":
            latest[item.task_id, item.verdict] = item
    repeated = [items for items in probes.values() if items[0].step != items[-1].step]
    repeated.sort(key=lambda items: items[0].verdict == items[-1].verdict)
    cards = [
        _card(task, [item for verdict in ("right", "wrong") if (item := latest.get((task.task_id, verdict)))])
        for tasks in stats.samples.values()
        for task in tasks
    ]
    return cards + [_probe_card(items[0], items[-1]) for items in repeated[:MAX_PROBES]]


def _card(task: Task, answers: list[Transcript]) -> dict[str, Any]:
    share = task.lineage.accuracy
    accuracy = "not measured" if share is None else f"solved by {percent(share, 0)} of the samples"
    if task.task_type is TaskType.INDUCTION:
        pairs = zip(task.inputs, task.outputs, strict=True)
        shown = "\n".join(f"f({left}) = {right}" for left, right in pairs)
        texts = {"Message": task.message, "Pairs (the first half is shown to the solver)": shown}
    elif task.task_type is TaskType.ABDUCTION:
        texts = {"Input (to be found)": task.input, "Output": task.output}
    else:
        texts = {"Input": task.input, "Output (to be found)": task.output}
    return {
        "title": task.task_type.value.capitalize(),
        "note": f"step {task.lineage.step} · {accuracy} · {task.task_id}",
        "code": cut(task.program, 2 * MAX_TEXT),
        "parts": [*((label, cut(text, MAX_TEXT)) for label, text in texts.items()), *map(_answer, answers)],
    }


def _probe_card(first: Transcript, last: Transcript) -> dict[str, Any]:
    return {
        "title": f"{first.task_type.capitalize()} probe",
        "note": "A frozen task, kept out of the pool.",
        "code": cut(first.prompt, 2 * MAX_TEXT),
        "parts": [_answer(first), _answer(last)],
    }


def _answer(item: Transcript) -> tuple[str, str]:
    return f"Answer at step {item.step}: {item.verdict or item.reason}", cut(item.response, MAX_TEXT)
