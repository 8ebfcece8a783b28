"""Suites whose items are tasks of the self-play kinds: the frozen probes and CRUXEval.

They are asked with the very prompts of training and judged by the very code of training (``azr.selfplay.episode.play_solve``), so
a probe score here means what it means in ``metrics.jsonl``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from azr.config.selfplay import SelfPlayConfig
from azr.errors import DataError
from azr.evaluate.suites import Item, Verdict
from azr.files import read_jsonl
from azr.prompts import solve_prompt
from azr.sandbox import Sandbox
from azr.sandbox.values import ValueReadError, canonical_text
from azr.selfplay.episode import Completion, play_solve
from azr.selfplay.options import prompt_options
from azr.selfplay.rows import PromptRow
from azr.tasks import Prompt, Role, Stream, Task, TaskType

CRUXEVAL_TYPES = {"cruxeval-i": TaskType.ABDUCTION, "cruxeval-o": TaskType.DEDUCTION}
CRUXEVAL_FIELDS = ("code", "input", "output", "id")


@dataclass(frozen=True)
class TaskSuite:
    """Tasks asked one by one."""

    name: str
    tasks: dict[str, Task]
    """By item id."""
    config: SelfPlayConfig
    items: Sequence[Item]
    left_out: Sequence[str] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)

    async def judge(self, item: Item, text: str, sandbox: Sandbox) -> Verdict:
        task = self.tasks[item.item_id]
        row = PromptRow(stream=Stream(Role.SOLVE, task.task_type), prompt=item.prompt, row_id=item.item_id, task=task)

        async def recorded(prompt: Prompt, n: int) -> list[Completion]:
            return [Completion(text, 0, finished=True)] * n

        outcome = await play_solve(row, recorded, sandbox, self.config)
        return Verdict(outcome.score, outcome.reason, outcome.format_ok, outcome.solution)


def _suite(name: str, tasks: Iterable[tuple[str, str, Task]], config: SelfPlayConfig, left_out: Sequence[str]) -> TaskSuite:
    options = prompt_options(config)
    by_id: dict[str, Task] = {}
    items = []
    for item_id, kind, task in tasks:
        if item_id in by_id:
            raise DataError(f"suite {name}: two items are called {item_id!r}; ids must be unique")
        by_id[item_id] = task
        items.append(Item(item_id, kind, solve_prompt(task, options)))
    if not items:
        raise DataError(f"suite {name} has no items" + (f": {left_out[0]}" if left_out else ""))
    return TaskSuite(name, by_id, config, items, left_out)


def probe_suite(path: Path, config: SelfPlayConfig) -> TaskSuite:
    """All probe tasks of a file, or of the ``*.jsonl`` files of a folder; as in training, an answer needs the format.

    Raises:
        DataError: no such file or folder, or a record is malformed.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise DataError(f"{path}: no probe tasks there; give a JSONL file of tasks, or a folder that holds some")
    tasks = []
    for file in files:
        for record in read_jsonl(file, strict=True):
            task = Task.from_json(record)
            tasks.append((f"{file.stem}/{task.task_id}", task.task_type.value, task))
    return _suite("probes", tasks, config, ())


def cruxeval_suite(path: Path, name: str, config: SelfPlayConfig) -> TaskSuite:
    """CRUXEval from a JSONL file with the fields ``code``, ``input``, ``output``, ``id``.

    Values compare as in Python (True equals 1), and the think tags are not demanded, as the benchmark's own harness has it.
    An item whose output is no literal cannot be judged without evaluating text; it is left out and named.

    Raises:
        DataError: no such file, or a record lacks a field.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; {name} needs CRUXEval's JSONL file (fields {', '.join(CRUXEVAL_FIELDS)})")
    task_type = CRUXEVAL_TYPES[name]
    tasks: list[tuple[str, str, Task]] = []
    left_out = []
    for number, record in enumerate(read_jsonl(path, strict=True), 1):
        _require_fields(record, path, number)
        try:
            gold = canonical_text(record["output"])
        except ValueReadError as error:
            left_out.append(f"{record['id']}: its output is no literal ({error})")
            continue
        task = Task(task_type=task_type, code=record["code"], inputs=(record["input"],), outputs=(gold,))
        tasks.append((str(record["id"]), name, task))
    return _suite(name, tasks, replace(config, format_reward=False, bool_equals_int=True, int_equals_float=True), left_out)


def _require_fields(record: dict[str, Any], path: Path, number: int) -> None:
    for key in CRUXEVAL_FIELDS:
        if not isinstance(record.get(key), str) and not (key == "id" and isinstance(record.get(key), int)):
            raise DataError(f"{path}, record {number}: field {key!r} is missing or no text; needed are {', '.join(CRUXEVAL_FIELDS)}")
