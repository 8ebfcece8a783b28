"""The core types of self-play: tasks, proposals, streams. Read this first.

A *task* is a verified program with its inputs and outputs; a *proposal* is what a model wrote when asked
for a new task; a *stream* is one of the six (role, task type) pairs that are trained together.

The words, one meaning each:

* *row*: a prompt of one stream, planned for a step (``azr.selfplay.rows``); *completion*: one sampled
  response to it; *rollout*: playing a step's rows with engine and sandbox; *trajectory*: a response as the
  optimizer sees it (``azr.selfplay.credit``); *group*: the responses to one task.
* *outcome*: all that is known of a played row (``azr.selfplay.outcomes``); *grade*: what a solution is worth,
  before its format is looked at; *reward*: what a response is paid, after every penalty; *credit*: from a
  step's outcomes to its advantages.
* *truncated*: a response that ended at the token limit; *rejection*: why a response or program is not a task.
* *suite*: a set of evaluation items; *source*: a model that is asked (``ModelSource``), or a file that tasks come from
  (``TaskSource``); *manifest*: the hashes of a pool, a checkpoint or an archive.
* *backend*: policy and engine behind a training step (``azr.train.step.StepBackend``); *machine*: cards, cores and
  memory (``azr.system.hardware``).
* *phase*: what the trainer does at a moment; *ending*: how an attempt ended; *incident*: what went wrong and
  what was done; *verdict*: whether the run as a whole learned, as the report says it.

Task types and their names in the published code:

=========== ======== ============================== ===============================
task type   AZR name the solver sees                the solver must produce
=========== ======== ============================== ===============================
abduction   code_i   program and output             an input that gives the output
deduction   code_o   program and input              the output
induction   code_f   message and half of the pairs  a program for the hidden half
error       code_e   program and input              the exception class or NoError
=========== ======== ============================== ===============================
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from itertools import chain
from typing import Any

from azr.errors import DataError
from azr.system.hashes import text_hash

SCHEMA_VERSION = 1
NO_ERROR = "NoError"
"""Output of an error task whose program raises nothing."""


class TaskType(str, Enum):
    ABDUCTION = "abduction"
    DEDUCTION = "deduction"
    INDUCTION = "induction"
    ERROR = "error"


class Role(str, Enum):
    PROPOSE = "propose"
    SOLVE = "solve"


@dataclass(frozen=True, order=True)
class Stream:
    """One of the (role, task type) pairs; rewards are whitened inside it."""

    role: Role
    task_type: TaskType

    @property
    def name(self) -> str:
        """``propose-abduction`` ...; no underscore, because verl splits its keys there."""
        return f"{self.role.value}-{self.task_type.value}"

    @classmethod
    def from_name(cls, name: str) -> Stream:
        role, _, task_type = name.partition("-")
        return cls(Role(role), TaskType(task_type))


CORE_TASK_TYPES = (TaskType.ABDUCTION, TaskType.DEDUCTION, TaskType.INDUCTION)
STREAMS = tuple(
    Stream(role, task_type) for task_type in CORE_TASK_TYPES for role in (Role.PROPOSE, Role.SOLVE)
)
"""The six streams in the published order: each task type proposes, then solves."""
ALL_STREAMS = tuple(Stream(role, task_type) for task_type in TaskType for role in (Role.PROPOSE, Role.SOLVE))
"""The same with those of error prediction, which a run may add."""


@dataclass(frozen=True)
class Lineage:
    """Where a task came from."""

    source: str = "seed"
    """``seed``, ``selfplay``, ``user``, or the name of another run."""
    run: str = ""
    cycle: int = 0
    attempt: int = 0
    """Trainer attempt inside the cycle; tasks of steps that a crash undid stay marked by it."""
    step: int = 0
    """Training step that accepted it; 0 for seeds."""
    parents: tuple[str, ...] = ()
    """Task ids of the references shown to the proposer."""
    model: str = ""
    """Model that wrote it, with the step of its weights."""
    accuracy: float | None = None
    """Share of the difficulty samples that solved it, 0 to 1; None when it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A verified task: program, argument texts and canonical output texts.

    Abduction, deduction and error tasks hold exactly one pair; an induction task holds ``num_inputs`` pairs
    (10 in the published configuration) and a message, and shows the first half to the solver.
    ``inputs`` are argument-list texts as they stand between the parentheses of ``f(...)``;
    ``outputs`` are canonical value texts (``azr.sandbox.values``), or an exception name for error tasks.
    """

    task_type: TaskType
    code: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    imports: tuple[str, ...] = ()
    message: str = ""
    thought: str = ""
    composite_functions: tuple[str, ...] = ()
    original_code: str = ""
    """Source without the composite functions it was built on; empty when it is the same as ``code``."""
    lineage: Lineage = field(default_factory=Lineage)

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.outputs) or not self.inputs:
            raise DataError(
                f"task has {len(self.inputs)} inputs and {len(self.outputs)} outputs; it needs equally many, at least one"
            )
        if self.task_type is not TaskType.INDUCTION and len(self.inputs) != 1:
            raise DataError(
                f"{self.task_type.value} task has {len(self.inputs)} inputs; it needs exactly one"
            )

    @property
    def input(self) -> str:
        """The only input of an abduction, deduction or error task."""
        return self.inputs[0]

    @property
    def output(self) -> str:
        """The only output of an abduction, deduction or error task."""
        return self.outputs[0]

    @property
    def given_pairs(self) -> tuple[tuple[str, str], ...]:
        """The first half of the pairs, which an induction solver sees; the prompts' templates show them."""
        return tuple(zip(self.inputs, self.outputs, strict=True))[: len(self.inputs) // 2]

    @property
    def hidden_pairs(self) -> tuple[tuple[str, str], ...]:
        """The second half, on which an induction answer is judged."""
        return tuple(zip(self.inputs, self.outputs, strict=True))[len(self.inputs) // 2 :]

    @property
    def program(self) -> str:
        """The source as it is executed."""
        return whole_program(self.code, self.imports)

    @property
    def task_id(self) -> str:
        """Content hash (type, program, inputs, message): 16 hex digits, stable over runs and machines."""
        body = json.dumps([self.task_type.value, self.program, self.inputs, self.message], ensure_ascii=False)
        return text_hash(body)

    def with_lineage(self, **changes: Any) -> Task:
        return replace(self, lineage=replace(self.lineage, **changes))

    def to_json(self) -> dict[str, Any]:
        """The JSONL record: the published field names plus type, id and lineage."""
        record: dict[str, Any] = {
            "schema": SCHEMA_VERSION,
            "task_id": self.task_id,
            "task_type": self.task_type.value,
            "snippet": self.code,
        }
        if self.task_type is TaskType.INDUCTION:
            record |= {"inputs": list(self.inputs), "outputs": list(self.outputs), "message": self.message}
        else:
            record |= {
                "input": self.input,
                "output": self.output,
                "original_snippet": self.original_code or self.code,
            }
            record |= {"composite_functions": list(self.composite_functions)}
        record["imports"] = list(self.imports)
        if self.thought:
            record["thought"] = self.thought
        record["lineage"] = asdict(self.lineage)
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Task:
        """Reads our records and the published seed formats.

        Raises:
            DataError: a field is missing or has the wrong type; the message names it.
        """
        try:
            snippet = record["snippet"]
            if "inputs" in record:
                task_type, inputs, outputs = TaskType.INDUCTION, record["inputs"], record["outputs"]
            else:
                task_type = TaskType(record.get("task_type", TaskType.DEDUCTION.value))
                inputs, outputs = [record["input"]], [record["output"]]
            lineage = dict(record.get("lineage") or {})
            lineage["parents"] = tuple(lineage.get("parents", ()))
            original = record.get("original_snippet") or ""
            task = cls(
                task_type=task_type,
                code=snippet,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                imports=tuple(record.get("imports") or ()),
                message=record.get("message") or "",
                thought=record.get("thought") or "",
                composite_functions=tuple(record.get("composite_functions") or ()),
                original_code="" if original == snippet else original,
                lineage=Lineage(**lineage),
            )
        except KeyError as error:
            raise DataError(
                f"task record has no field {error}; it needs snippet and input/output, or inputs/outputs"
            ) from error
        except (TypeError, ValueError) as error:
            raise DataError(f"task record is malformed: {error}") from error
        lists = (task.inputs, task.outputs, task.imports, task.composite_functions)
        texts = (task.code, task.message, *chain(*lists))
        if not all(isinstance(text, str) for text in texts):
            raise DataError(
                "task record holds something that is not text where source, input, output, import or message is expected"
            )
        return task


def whole_program(code: str, imports: Sequence[str]) -> str:
    """Collected imports that the code does not hold itself, then the code."""
    missing = [line for line in imports if line not in code]
    return "\n".join([*missing, code]) if missing else code


@dataclass(frozen=True)
class Prompt:
    """What a model is asked: chat messages, or one raw text when ``raw`` is set.

    ``response_prefix`` is text that the prompt already wrote on the model's behalf (an open think tag); the
    parser reads prefix + response, so a response is judged as the model meant it.
    """

    messages: tuple[tuple[str, str], ...]
    """(role, content) pairs; exactly one when ``raw``."""
    raw: bool
    response_prefix: str = ""
    quoted: tuple[str, ...] = ()
    """What in the contents is not the frame's own: programs, values and messages, in which the name of a control token
    (``<|im_end|>``) is text like any other."""

    @property
    def text(self) -> str:
        """All contents joined by newlines: what a raw frame tokenises, and what length estimates use."""
        return "\n".join(content for _, content in self.messages)


@dataclass(frozen=True)
class Proposal:
    """What could be read from a proposer's response, before anything was executed."""

    task_type: TaskType
    code: str
    tree: ast.Module = field(repr=False, compare=False)
    """The syntax tree of ``code``, parsed once and never changed."""
    inputs: tuple[str, ...]
    imports: tuple[str, ...] = ()
    message: str = ""
    thought: str = ""


@dataclass(frozen=True)
class Rejection:
    """Why a response or a program was rejected: a code that is counted, and a sentence for people."""

    reason: str
    """Reason code in snake_case, from the list in ``azr.parsing`` or ``azr.selfplay.validation``."""
    detail: str = ""
    progress: float = 0.0
    """How much of what a valid proposal needs was there, below 1; counted for induction proposals with
    ``selfplay.usable_inputs``."""
