"""A row of a step: one prompt of one stream. It travels to the worker that plays it as JSON text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from azr.tasks import Prompt, Stream, Task


@dataclass(frozen=True, kw_only=True)
class PromptRow:
    stream: Stream
    prompt: Prompt
    row_id: str
    """Unique in the run, sortable into the order of planning, without underscores (verl splits its keys there)."""
    task: Task | None = None
    """What a solve row solves."""
    references: tuple[Task, ...] = ()
    """What a propose prompt showed; an induction prompt's only one is the program it is about."""
    composites: tuple[str, ...] = ()
    """Sources of g_0, g_1 ... that the proposal must call."""
    needed_inputs: int = 0
    """Inputs that an induction proposal's task needs (the prompt may ask for a few more); 0: ``selfplay.num_inputs``."""
    estimate: bool = True
    """Off while seeding: proposals are verified only, and the whole response is read."""
    fallback: PromptRow | None = None
    """Same-step solving: the solve row that is played when the proposal yields no task."""

    def to_json(self) -> dict[str, Any]:
        return {
            "stream": self.stream.name,
            "row_id": self.row_id,
            "messages": [list(message) for message in self.prompt.messages],
            "raw": self.prompt.raw,
            "response_prefix": self.prompt.response_prefix,
            "task": _travelling(self.task) if self.task else None,
            "references": [_travelling(reference) for reference in self.references],
            "composites": list(self.composites),
            "needed_inputs": self.needed_inputs,
            "estimate": self.estimate,
            "fallback": self.fallback.to_json() if self.fallback else None,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> PromptRow:
        messages = tuple((role, content) for role, content in record["messages"])
        return cls(
            stream=Stream.from_name(record["stream"]),
            prompt=Prompt(messages, record["raw"], record["response_prefix"]),
            row_id=record["row_id"],
            task=Task.from_json(record["task"]) if record["task"] else None,
            references=tuple(Task.from_json(reference) for reference in record["references"]),
            composites=tuple(record["composites"]),
            needed_inputs=record.get("needed_inputs", 0),
            estimate=record["estimate"],
            fallback=cls.from_json(record["fallback"]) if record["fallback"] else None,
        )


def _travelling(task: Task) -> dict[str, Any]:
    """A task without its thought, which no prompt shows."""
    return replace(task, thought="").to_json()
