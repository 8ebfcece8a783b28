"""Sample tasks as cards: the program, what is asked, and how the model answered early and late."""

from __future__ import annotations

from typing import Any

from azr.report.tasks import TaskStats
from azr.report.text import percent
from azr.report.transcripts import Transcript, cut
from azr.tasks import Task, TaskType

MAX_TEXT = 1500
MAX_PROBES = 4


def sample_cards(stats: TaskStats, transcripts: list[Transcript]) -> list[dict[str, Any]]:
    """One card a sample task, and one a probe task that was answered at two different steps at least."""
    answers: dict[str, list[Transcript]] = {}
    for item in transcripts:
        if item.role == "solve" and item.task_id:
            answers.setdefault(item.task_id, []).append(item)
    cards = [_card(task, answers.get(task.task_id, [])) for tasks in stats.samples.values() for task in tasks]
    return cards + _probe_cards(answers)


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
        "parts": [(label, cut(text, MAX_TEXT)) for label, text in texts.items()],
        "answers": _first_and_last(answers),
    }


def _first_and_last(answers: list[Transcript]) -> list[dict[str, str]]:
    if not answers:
        return []
    chosen = [answers[0]] if answers[0].step == answers[-1].step else [answers[0], answers[-1]]
    return [
        {
            "label": f"Answer at step {item.step}: {item.verdict or item.reason}",
            "text": cut(item.response, MAX_TEXT),
        }
        for item in chosen
    ]


def _probe_cards(answers: dict[str, list[Transcript]]) -> list[dict[str, Any]]:
    """Frozen tasks answered early and late; those whose verdict changed come first."""
    repeated = [items for items in answers.values() if items[0].probe and items[0].step != items[-1].step]
    repeated.sort(key=lambda items: items[0].verdict == items[-1].verdict)
    return [
        {
            "title": f"{items[0].task_type.capitalize()} probe",
            "note": "A frozen task, never trained on.",
            "code": cut(items[0].prompt, 2 * MAX_TEXT),
            "parts": [],
            "answers": _first_and_last(items),
        }
        for items in repeated[:MAX_PROBES]
    ]
