"""Suites whose items are tasks of the self-play kinds: the frozen probes, and CRUXEval and LiveCodeBench's
execution tasks.

In the frame they are asked with the very prompts of training and judged by the very code of training
(``azr.selfplay.episode.play_solve``), so a probe score here, read strictly, means what it means in
``metrics.jsonl``. Read leniently, the answer may stand anywhere (``azr.evaluate.extraction``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from azr.config.selfplay import SelfPlayConfig
from azr.data.frozen import probe_files_in
from azr.data.guard import probe_tasks, twofold_rows
from azr.errors import DataError
from azr.evaluate.checks import reason_of
from azr.evaluate.extraction import answer_in, expression_in
from azr.evaluate.items import Item, Rating, Suite
from azr.parsing import split_response
from azr.prompts import solve_prompt
from azr.sandbox import Job, Sandbox
from azr.selfplay.episode import play_solve
from azr.selfplay.grading import equivalent, grade
from azr.selfplay.options import prompt_options
from azr.selfplay.outcomes import Completion
from azr.selfplay.rows import PromptRow
from azr.tasks import Prompt, Role, Stream, Task, TaskType

_ENTRY = "_azr_answer"


@dataclass(frozen=True, kw_only=True)
class TaskSuite(Suite):
    """Tasks asked one by one."""

    tasks: dict[str, Task]
    """By item id."""
    config: SelfPlayConfig
    brought: bool = False
    """From a file of the user's: nobody has run its tasks, or kept them out of training."""

    async def judge(self, item: Item, text: str, sandbox: Sandbox) -> Rating:
        task = self.tasks[item.item_id]
        if self.style != "frame":
            score, reason, answer = await self._judge_anywhere(task, text, "", sandbox)
            if not answer and (expression := expression_in(task.task_type, text)):
                score, reason, answer = *await self._judge_expression(task, expression, sandbox), expression
            return Rating(score, reason, True, answer)
        row = PromptRow(
            stream=Stream(Role.SOLVE, task.task_type), prompt=item.prompt, row_id=item.item_id, task=task
        )

        async def recorded(prompt: Prompt, n: int) -> list[Completion]:
            return [Completion(text, 0, finished=True)] * n

        outcome = await play_solve(row, recorded, sandbox, self.config)
        strict = Rating(outcome.score, outcome.reason, outcome.format_ok, outcome.solution)
        if strict.score >= 1:
            return replace(strict, lenient=strict.score, lenient_reason=strict.reason)
        response = split_response(text, item.prompt.response_prefix)
        score, reason, answer = await self._judge_anywhere(task, text, response.answer, sandbox)
        answer = strict.answer or answer
        return replace(strict, lenient=max(score, strict.score), lenient_reason=reason, answer=answer)

    async def _judge_anywhere(
        self, task: Task, text: str, answer: str, sandbox: Sandbox
    ) -> tuple[float, str, str]:
        """Score, reason, and what was read."""
        found = answer_in(task.task_type, text, answer)
        if not found:
            return 0.0, "no_answer", ""
        graded = await grade(task, found, sandbox, self.config)
        return graded.score, graded.reason, found

    async def _judge_expression(self, task: Task, expression: str, sandbox: Sandbox) -> tuple[float, str]:
        """As the authors' harness does, which evaluates answers: in the sandbox, and with the right value kept outside.
        The function is there for its input only, so that an output cannot be had by calling it."""
        if task.task_type is TaskType.ABDUCTION:
            program = f"{task.program}\n\ndef {_ENTRY}():\n    return f({expression})\n"
        else:
            program = f"def {_ENTRY}():\n    return {expression}\n"
        result = await sandbox.run(Job(program, ("",), _ENTRY, verify=False))
        if not result.ok or result.calls[0].value is None:
            return 0.0, reason_of(result.calls[0])
        right = equivalent(task.output, result.calls[0].value, self.config)
        return (1.0, "right") if right else (0.0, "wrong")


def probe_suite(path: Path, config: SelfPlayConfig, *, brought: bool = True) -> TaskSuite:
    """All probe tasks of a file, or of the files of a folder; as in training, an answer needs the format.

    Args:
        brought: see ``TaskSuite``.

    Raises:
        DataError: no such file or folder, or a record is malformed.
    """
    files = [path] if path.is_file() else probe_files_in(path)
    if not files:
        raise DataError(
            f"{path}: no probe tasks there; give a JSONL file of tasks, or a folder that holds some"
        )
    found = [(f"{file.stem}/{task.task_id}", task) for file in files for task in probe_tasks(file)]
    return TaskSuite(
        name="probes",
        tasks=dict(found),
        config=config,
        items=[framed_item(item_id, task.task_type.value, task, config) for item_id, task in found],
        notes=[told for file in files if (told := twofold_rows(file))],
        brought=brought,
    )


def framed_item(item_id: str, kind: str, task: Task, config: SelfPlayConfig) -> Item:
    """A task in the prompt of training."""
    return Item(item_id, kind, solve_prompt(task, prompt_options(config)))
