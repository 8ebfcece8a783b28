"""Runs tasks again before they enter the pool: same output, twice the same, within the limits (docs/data.md,
"Re-execution").

Reruns are remembered in ``pool/verdicts.jsonl`` by content, Python version and limits, so a task runs once in
a run's life, and again where its limits were changed; the file is a cache and may be deleted. Time-outs are
tried a second time, alone on the machine as far as we can, and are not remembered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from azr.config.data import Reexecute
from azr.config.sandbox import Limits, SandboxConfig
from azr.data.duplicates import Dropped
from azr.data.manifest import python_minor
from azr.data.phases import with_lines
from azr.data.reasons import Reason
from azr.data.store import Store
from azr.sandbox import Job, JobResult, Sandbox, Status
from azr.system.hashes import text_hash
from azr.tasks import NO_ERROR, Task, TaskType

RERUNS_FILE = "verdicts.jsonl"


@dataclass(frozen=True)
class Rerun:
    reason: Reason | None
    """None: verified."""
    detail: str = ""


class RerunStore(Store[Rerun]):
    kind = Rerun


def rerun_key(task: Task) -> str:
    """Content that the rerun depends on: type, program, inputs, outputs, Python's minor version."""
    kind = "error" if task.task_type is TaskType.ERROR else "value"
    return text_hash(repr((python_minor(), kind, task.program, task.inputs, task.outputs)))


def _remembered(key: str, config: SandboxConfig) -> str:
    """The name under which a rerun is kept: what fails within some limits holds within others."""
    usual = config.limits == Limits() and not config.python
    return key if usual else text_hash(repr((key, config.limits, config.python)))


def reexecute(
    tasks: Iterable[Task],
    mode: Reexecute,
    store: RerunStore,
    sandbox: SandboxConfig,
    *,
    trusted: frozenset[str] = frozenset(),
) -> tuple[list[Task], list[Dropped]]:
    """Splits ``tasks`` into verified ones and those that do not hold up, in their order.

    Args:
        trusted: rerun keys that ``once`` need not run (from files whose hash is known).

    Raises:
        SandboxError: programs cannot be confined on this machine.
    """
    tasks = list(tasks)
    if mode is Reexecute.NEVER:
        return tasks, []
    keys = [rerun_key(task) for task in tasks]
    if mode is Reexecute.ALWAYS:
        trusted = frozenset()
    todo = {key: task for key, task in zip(keys, tasks, strict=True) if key not in trusted}
    if mode is Reexecute.ONCE:
        todo = {key: task for key, task in todo.items() if store.get(_remembered(key, sandbox)) is None}
    late = _run(todo, store, sandbox) if todo else {}
    kept: list[Task] = []
    dropped: list[Dropped] = []
    for key, task in zip(keys, tasks, strict=True):
        rerun = late.get(key) or store.get(_remembered(key, sandbox))
        if key in trusted or rerun is None or rerun.reason is None:
            kept.append(task)
        else:
            detail = rerun.detail
            if rerun.reason is Reason.TIMEOUT and task.lineage.source == "user":
                limit = "wall_s" if "wall-clock" in detail else "cpu_s"
                detail += f" (sandbox.limits.{limit})"
            dropped.append(Dropped(task, rerun.reason, detail=detail))
    return kept, dropped


def _run(todo: dict[str, Task], store: RerunStore, config: SandboxConfig) -> dict[str, Rerun]:
    """Fills the store.

    Returns:
        what was found of those that ran out of time at first.
    """
    keys, tasks = list(todo), list(todo.values())
    with Sandbox(config) as sandbox:
        late: list[int] = []
        for index, result in with_lines(sandbox.run_many(map(_job, tasks)), "re-execution", len(tasks)):
            rerun = judge_execution(tasks[index], result)
            if rerun.reason is Reason.TIMEOUT:
                late.append(index)
            else:
                store.add(_remembered(keys[index], config), rerun)
        store.save()
        return {
            keys[index]: judge_execution(tasks[index], result)
            for index in late
            for _, result in sandbox.run_many([_job(tasks[index])])
        }


def _job(task: Task) -> Job:
    return Job(
        code=task.program, inputs=task.inputs, verify=True, verify_errors=task.task_type is TaskType.ERROR
    )


def judge_execution(task: Task, result: JobResult) -> Rerun:
    """What an execution says about a task that claims ``task.outputs``."""
    for call, claimed in zip(result.calls, task.outputs, strict=False):
        if task.task_type is TaskType.ERROR and call.status in (Status.OK, Status.ERROR):
            found = NO_ERROR if call.status is Status.OK else call.exception or ""
            if found != claimed:
                return Rerun(Reason.OUTPUT, f"raises {found}, the record says {claimed[:80]}")
        elif call.status is Status.TIMEOUT:
            return Rerun(Reason.TIMEOUT, call.reason)
        elif call.status is Status.NONDETERMINISTIC:
            return Rerun(Reason.FLAKY, call.reason)
        elif call.status is not Status.OK or call.value is None:
            # by its name too: some exceptions have no words
            told = (call.status.value, call.exception, call.reason)
            return Rerun(Reason.FAILED, ": ".join(filter(None, told))[:200])
        elif call.value != claimed:
            return Rerun(Reason.OUTPUT, f"gives {call.value[:80]}, the record says {claimed[:80]}")
    if len(result.calls) < len(task.outputs):
        return Rerun(Reason.FAILED, result.reason or "the sandbox answered fewer calls than it was asked")
    return Rerun(None)
