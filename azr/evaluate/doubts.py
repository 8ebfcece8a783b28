"""What makes a score doubtful and is not the model's fault: sentences that are printed below the figures."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from azr.data.reexecute import judge_execution
from azr.errors import DataError
from azr.evaluate.answers import Answer
from azr.evaluate.code_suite import CodeSuite, of_whole_programs
from azr.evaluate.items import Item, Suite
from azr.evaluate.scoring import Judged, judge_all
from azr.evaluate.tasks_suite import TaskSuite
from azr.programs.canonical import program_fingerprint
from azr.programs.source import SourceError, parse_program
from azr.run.rundir import RunDir
from azr.sandbox import Job, Sandbox
from azr.system.files import read_jsonl
from azr.tasks import Task


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
