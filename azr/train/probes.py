"""The frozen probe tasks as rows of a rollout, and their accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from azr.config.selfplay import SelfPlayConfig
from azr.files import read_jsonl
from azr.prompts import solve_prompt
from azr.selfplay.episode import SolveOutcome
from azr.selfplay.options import prompt_options
from azr.selfplay.rows import PromptRow
from azr.tasks import Prompt, Role, Stream, Task


def probe_rows(folder: Path, limit: int, config: SelfPlayConfig, fits: Callable[[Prompt], bool]) -> list[PromptRow]:
    """Solve rows of the first ``limit`` probe tasks whose prompts fit, taken evenly from the files and in file order.

    The choice depends on the files alone, so that every evaluation of a run answers the same tasks.
    """
    files = [list(read_jsonl(path)) for path in sorted(folder.glob("*.jsonl"))]
    rows: list[PromptRow] = []
    for file_index, records in enumerate(files):
        share = (limit - len(rows)) // (len(files) - file_index)
        stride = max(1, len(records) // max(1, share))
        taken = 0
        for index in range(0, len(records), stride):
            if taken == share:
                break
            task = Task.from_json(records[index])
            if task.task_type.value not in config.task_types:
                continue
            prompt = solve_prompt(task, prompt_options(config))
            if not fits(prompt):
                continue
            rows.append(PromptRow(stream=Stream(Role.SOLVE, task.task_type), prompt=prompt, task=task, row_id=f"probe{len(rows)}"))
            taken += 1
    return rows


def probe_metrics(outcomes: Sequence[SolveOutcome]) -> dict[str, float]:
    """``probe/<type>/accuracy`` and ``probe/<type>/format_ok``, 0 to 1, for each task type and for ``all``; ``probe/tasks``."""
    values: dict[str, float] = {"probe/tasks": float(len(outcomes))}
    kinds = sorted({outcome.stream.task_type.value for outcome in outcomes})
    for kind in [*kinds, "all"]:
        chosen = [outcome for outcome in outcomes if kind in ("all", outcome.stream.task_type.value)]
        if chosen:
            values[f"probe/{kind}/accuracy"] = sum(outcome.score for outcome in chosen) / len(chosen)
            values[f"probe/{kind}/format_ok"] = sum(outcome.format_ok for outcome in chosen) / len(chosen)
    return values
