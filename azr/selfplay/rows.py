"""A row of a step: one prompt of one stream. It travels to the worker that plays it as JSON text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from azr.run.records import from_json
from azr.tasks import Prompt, Stream, Task

Fits = Callable[[Prompt], bool]
"""Whether a prompt is within the length limit."""


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
    """Inputs that the task of an induction proposal needs; 0: ``selfplay.num_inputs``."""
    estimate: bool = True
    """Off while seeding: proposals are verified only, and the whole response is read."""
    guesses: tuple[str, ...] = ()
    """Typical inputs (``azr.selfplay.guessing``) that are tried on the task of an abduction proposal."""
    fallback: PromptRow | None = None
    """Same-step solving: the solve row that is played when the proposal yields no task."""

    def to_json(self) -> dict[str, Any]:
        """As it travels: its tasks without their thoughts, which no prompt shows."""
        return asdict(self._travelling())

    def _travelling(self) -> PromptRow:
        return replace(
            self,
            task=replace(self.task, thought="") if self.task else None,
            references=tuple(replace(reference, thought="") for reference in self.references),
            fallback=self.fallback._travelling() if self.fallback else None,
        )

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> PromptRow:
        return from_json(cls, record, "a row")
