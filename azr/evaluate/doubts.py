"""What makes a score doubtful and is not the model's fault: sentences that are printed below the figures."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from azr.config.load import read_config
from azr.data.frozen import probe_files_in
from azr.data.reexecute import judge_execution
from azr.errors import DataError
from azr.evaluate.answers import Answer
from azr.evaluate.code_suite import CodeSuite, of_whole_programs
from azr.evaluate.items import Item, Suite
from azr.evaluate.models import ModelSource
from azr.evaluate.scoring import Judged, judge_all
from azr.evaluate.tasks_suite import TaskSuite
from azr.models.exported import earlier_runs, recorded_programs
from azr.programs.canonical import program_fingerprint
from azr.programs.source import SourceError, parse_program
from azr.run.identity import base_records, read_identity
from azr.run.metric_names import PROBE_ALL, PROBE_PREFIX
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.sandbox import Job, Sandbox
from azr.system.files import read_jsonl
from azr.tasks import Task
from azr.train.probes import ROW_PREFIX, first_scores


def doubts_of_references(suite: Suite, items: Sequence[Item], sandbox: Sandbox) -> list[str]:
    """Items of a user's file whose own solution fails their tests, where it gives solutions, or whose program gives
    another output than it says."""
    if isinstance(suite, TaskSuite) and suite.brought:
        return _doubts_of_tasks({item.item_id: suite.tasks[item.item_id] for item in items}, sandbox)
    if not isinstance(suite, CodeSuite):
        return []
    references = ((item.item_id, suite.problems[item.item_id].reference) for item in items)
    solutions = [Answer(item_id, 0, solution) for item_id, solution in references if solution]
    judging = replace(of_whole_programs(suite), style="native")
    judged = judge_all(judging, items, solutions, sandbox, progress=False)
    failed = [each for each in judged if not each.verdict.score]
    if not failed:
        return []
    first = failed[0]
    return [
        f"of {len(failed)} of {len(solutions)} items the file's own canonical_solution fails their tests, the first is "
        f"{first.answer.item_id!r} ({first.verdict.reason}); their part of the score says nothing about the answers"
    ]


def _doubts_of_tasks(tasks: Mapping[str, Task], sandbox: Sandbox) -> list[str]:
    named = list(tasks.items())
    jobs = (Job(task.program, task.inputs, verify=False) for _, task in named)
    results = sorted(sandbox.run_many(jobs), key=lambda each: each[0])
    reruns = ((named[index][0], judge_execution(named[index][1], result)) for index, result in results)
    wrong = [(item_id, rerun.detail) for item_id, rerun in reruns if rerun.reason]
    if not wrong:
        return []
    return [
        f"{len(wrong)} of {len(tasks)} tasks do not hold when they are run, the first is {wrong[0][0]!r} ({wrong[0][1]}); "
        "right answers to them count as wrong"
    ]


def trained_programs(runs: Iterable[RunDir]) -> frozenset[str]:
    """Fingerprints of the programs of all tasks that the runs train on: what they began with, what they accepted, and
    what is in their pools."""
    programs: set[str] = set()
    for run in runs:
        for path in (run.cycle_tasks(1), *run.in_cycles("shard.jsonl").values(), run.pool_tasks):
            for record in read_jsonl(path):
                with contextlib.suppress(DataError):
                    programs.add(Task.from_json(record).program)
    return frozenset(map(program_fingerprint, programs))


def trained_items(suite: Suite, trained: Collection[str]) -> set[str]:
    """The items of a suite of tasks whose program has one of the fingerprints ``trained``."""
    tasks = suite.tasks.items() if trained and isinstance(suite, TaskSuite) else ()
    return {item_id for item_id, task in tasks if program_fingerprint(task.program) in trained}


def picking_runs(sources: Sequence[ModelSource]) -> tuple[set[RunDir], list[str]]:
    """The runs of which a model is the best checkpoint by its probes, also as an export; and a sentence for each export whose
    run is not named, so that nobody knows here which tasks those were."""
    runs = {source.run for source in sources if source.picked and source.run}
    told = []
    for source in sources:
        made = earlier_runs(source.folder)[:1] if source.picked and not source.run and source.folder else []
        for each in made:
            named = {other.run for other in sources if other.run and _is_run(other.run, each)}
            runs |= named
            if not named:
                told.append(
                    f"{source.label} was picked as the best checkpoint of the run {each['run']}: on that run's probes its score is in "
                    "part luck"
                )
    return runs, told


def picked_items(suite: Suite, runs: Iterable[RunDir]) -> set[str]:
    """The items of a suite of tasks, from whatever file, by whose scores one of several checkpoints was picked as a run's best."""
    if not isinstance(suite, TaskSuite):
        return set()
    asked_ids: set[str] = set()
    for run in runs:
        config = run.config_record
        metric = read_config(config).campaign.best_metric if config.is_file() else PROBE_ALL
        scored = {record.step for record in read_metrics(run) if record.step and metric in record.values}
        asked = first_scores(run.first_probe_scores) if metric.startswith(PROBE_PREFIX) else None
        if asked and len(scored) > 1:
            for file in probe_files_in(run.probes):
                for number, record in enumerate(read_jsonl(file)):
                    if f"{ROW_PREFIX}/{file.stem}/{number}" in asked:
                        asked_ids.add(Task.from_json(record).task_id)
    return {item_id for item_id, task in suite.tasks.items() if task.task_id in asked_ids}


def trained_elsewhere(sources: Sequence[ModelSource]) -> tuple[frozenset[str], list[str]]:
    """Of models that come out of runs: fingerprints of the programs that they were trained on there, as their exports
    recorded them; and a sentence for each model of which that is not known, where the run is not named."""
    runs = {source.run for source in sources if source.run}
    programs: frozenset[str] = frozenset()
    told = []
    for source in sources:
        base = base_records(source.run) if source.run else None
        folder = base if base and base.is_dir() else source.folder
        if folder is None:
            continue
        recorded, missing = recorded_programs(folder)
        programs |= recorded
        made = [each for each in earlier_runs(folder) if each["run"] in missing]
        unnamed = [each["run"] for each in made if not any(_is_run(run, each) for run in runs)]
        if unnamed:
            told.append(
                f"{source.label} comes out of the run {' and '.join(dict.fromkeys(unnamed))}: tasks that it was trained on there are "
                "not counted; name the run beside it, as in azr evaluate RUN@0 MODEL, or export it again, to have them counted"
            )
    return programs, told


def _is_run(run: RunDir, made: Mapping[str, Any]) -> bool:
    """Whether a run is the one that made an exported model: of its name, and from the same model."""
    identity, content = read_identity(run), made["base_model_hash"]
    same = identity is None or content is None or identity.model_hash == content
    return run.root.name == made["run"] and same


def doubts_of_answers(suite: Suite, judged: Sequence[Judged]) -> list[str]:
    """Recorded answers, judged as they are, which are not Python."""
    if not isinstance(suite, CodeSuite):
        return []
    wrong = (each for each in judged if not each.verdict.score)
    broken = [(each, problem) for each in wrong if (problem := _not_python(each.verdict.answer))]
    if not broken:
        return []
    first, problem = broken[0]
    told = f"{len(broken)} of {len(judged)} answers are not valid Python as they stand, the first is {first.answer.item_id!r}: {problem}"
    if any("```" in each.answer.completion for each, _ in broken):
        told += "; replies with Markdown fences are read with --native-form chat, from the field 'completion'"
    return [told]


def _not_python(program: str) -> str:
    try:
        tree = parse_program(program)
    except SourceError as error:
        return str(error)
    if any(isinstance(node, ast.Return) for node in tree.body):
        return "a return outside of the function; was its indentation cut off?"
    return ""
