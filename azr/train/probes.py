"""The frozen probe tasks as rows of a rollout, their accuracy, and the comparison before and after training."""

from __future__ import annotations

import logging
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from azr.config.selfplay import SelfPlayConfig
from azr.data.frozen import probe_files_in
from azr.errors import DataError
from azr.prompts import solve_prompt
from azr.run import metric_names as names
from azr.selfplay.options import prompt_options
from azr.selfplay.outcomes import SolveOutcome
from azr.selfplay.rows import PromptRow
from azr.system.files import read_json, read_jsonl, write_json_atomic
from azr.tasks import Prompt, Role, Stream, Task, TaskType

logger = logging.getLogger(__name__)
ROW_PREFIX = "probe"
EVERY_TASK = sys.maxsize


def probe_rows(
    folder: Path, limit: int, config: SelfPlayConfig, fits: Callable[[Prompt], bool]
) -> list[PromptRow]:
    """Solve rows of at most ``limit`` probe tasks: an equal share of each file and task type, spread evenly
    over the file.

    The choice depends on the files alone, so that every evaluation of a run answers the same tasks. A row's
    id is ``probe/FILE/NUMBER``, with the file's name without its ending.
    """
    strata: dict[tuple[str, TaskType], list[PromptRow]] = defaultdict(list)
    for row in _all_rows(folder, config):
        if fits(row.prompt):
            strata[row.row_id.split("/")[1], row.stream.task_type].append(row)

    chosen: list[PromptRow] = []
    # what a small one cannot fill goes to the larger ones
    for position, rows in enumerate(sorted(strata.values(), key=len)):
        share = min(len(rows), (limit - len(chosen)) // (len(strata) - position))
        chosen += [rows[index * len(rows) // share] for index in range(share)]
    return sorted(chosen, key=lambda row: (row.row_id.rsplit("/", 1)[0], int(row.row_id.rsplit("/", 1)[1])))


def probes_too_long(folder: Path, config: SelfPlayConfig, fits: Callable[[Prompt], bool]) -> int:
    """How many tasks ``probe_rows`` never chooses."""
    return sum(not fits(row.prompt) for row in _all_rows(folder, config))


def _all_rows(folder: Path, config: SelfPlayConfig) -> Iterator[PromptRow]:
    for path in probe_files_in(folder):
        tasks = [Task.from_json(record) for record in read_jsonl(path)]
        for kind in config.task_types:
            for number, task in enumerate(tasks):
                if task.task_type.value == kind:
                    yield PromptRow(
                        stream=Stream(Role.SOLVE, task.task_type),
                        prompt=solve_prompt(task, prompt_options(config)),
                        task=task,
                        row_id=f"{ROW_PREFIX}/{path.stem}/{number}",
                    )


def first_probe_rows(
    folder: Path, kept: Path, limit: int, config: SelfPlayConfig, fits: Callable[[Prompt], bool]
) -> list[PromptRow]:
    """``probe_rows``, and once a run has asked some, those to its end, whatever ``limit`` is now: scores of other
    tasks could not be compared with the first, nor with each other.

    Args:
        kept: where the scores of the first evaluation are.
    """
    first = first_scores(kept) if limit else None
    if not first:
        return probe_rows(folder, limit, config, fits)
    return [row for row in probe_rows(folder, EVERY_TASK, config, fits) if row.row_id in first]


def first_scores(kept: Path) -> Mapping[str, float] | None:
    """Scores of a run's first evaluation by task; None before it, or where the file is damaged: then there is
    nothing to pair with, and training goes on."""
    if not kept.exists():
        return None
    try:
        scores = read_json(kept)["scores"]
        return {str(row_id): float(score) for row_id, score in scores.items()}
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        told = "%s cannot be read (%r); scores from here on are not compared task by task with the first"
        logger.warning(told, kept, error)
        return None


def probe_metrics(outcomes: Sequence[SolveOutcome]) -> dict[str, float]:
    """``probe/<what>/accuracy`` and ``probe/<what>/format_ok``, 0 to 1, and ``probe/tasks``.

    ``<what>`` is ``all``, each task type, and each probe file where there is more than one.
    """
    groups: dict[str, list[SolveOutcome]] = defaultdict(list)
    files: dict[str, list[SolveOutcome]] = defaultdict(list)
    for outcome in outcomes:
        groups["all"].append(outcome)
        groups[outcome.stream.task_type.value].append(outcome)
        files[outcome.row_id.split("/")[1]].append(outcome)
    values: dict[str, float] = {names.PROBE_COUNT: float(len(outcomes))}
    for name, chosen in [*groups.items(), *(files.items() if len(files) > 1 else ())]:
        values[names.probe_metric(name)] = sum(outcome.score for outcome in chosen) / len(chosen)
        values[names.probe_format(name)] = sum(outcome.format_ok for outcome in chosen) / len(chosen)
    return values


def change_since_first(path: Path, outcomes: Sequence[SolveOutcome]) -> dict[str, float]:
    """``probe/all/change`` since the run's first evaluation and its standard error ``probe/all/change_error``, paired
    by task: the same tasks are answered each time, so a task's own difficulty is not a part of the error.

    Args:
        path: where the first evaluation's scores are kept; written when it is not there.
    """
    scores = {outcome.row_id: outcome.score for outcome in outcomes}
    first = first_scores(path)
    if first is None:
        write_json_atomic(path, {"scores": scores})
        return {}
    changes = [scores[row_id] - first[row_id] for row_id in sorted(scores) if row_id in first]
    if len(changes) < 2 or len(changes) != len(scores):  # another choice of probe tasks: nothing to pair
        return {}
    mean, error = _mean_change(changes)
    return {names.PROBE_CHANGE: mean, names.PROBE_CHANGE_ERROR: error}


def verdict_rows(
    folder: Path, samples: int, config: SelfPlayConfig, fits: Callable[[Prompt], bool]
) -> Iterator[PromptRow]:
    """Every probe task ``samples`` times; a row's id is that of ``probe_rows`` and the number of the sample."""
    for row in probe_rows(folder, EVERY_TASK, config, fits):
        for sample in range(samples):
            yield replace(row, row_id=f"{row.row_id}/{sample}")


def verdict_scores(outcomes: Iterable[SolveOutcome]) -> dict[str, float]:
    """Share of right answers by task (``probe/FILE/NUMBER``)."""
    scores: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        scores[outcome.row_id.rsplit("/", 1)[0]].append(outcome.score)
    return {task: sum(values) / len(values) for task, values in scores.items()}


def verdict_metrics(scores: Mapping[str, float], first: Mapping[str, float] | None) -> dict[str, float]:
    """``verdict/<probes>/accuracy`` and ``tasks``; ``change`` and ``change_error`` since ``first``, where
    that holds the same tasks.

    ``<probes>`` is ``all``, and each probe file where there is more than one.
    """
    groups: dict[str, list[str]] = {"all": sorted(scores)}
    files: dict[str, list[str]] = defaultdict(list)
    for task in sorted(scores):
        files[task.split("/")[1]].append(task)
    values: dict[str, float] = {}
    for name, tasks in [*groups.items(), *(files.items() if len(files) > 1 else ())]:
        values[names.verdict(name, "accuracy")] = sum(scores[task] for task in tasks) / len(tasks)
        values[names.verdict(name, "tasks")] = float(len(tasks))
        if first is not None and len(tasks) > 1 and first.keys() >= set(tasks):
            mean, error = _mean_change([scores[task] - first[task] for task in tasks])
            values |= {names.verdict(name, "change"): mean, names.verdict(name, "change_error"): error}
    return values


def _mean_change(changes: Sequence[float]) -> tuple[float, float]:
    """Mean change of the tasks and its standard error. One task more that rose and one that fell are counted
    with it (Bonett and Price 2012), without which a handful of changed tasks would look certain."""
    adjusted = [*changes, 1.0, -1.0]
    return sum(changes) / len(changes), math.sqrt(statistics.variance(adjusted) / len(adjusted))
