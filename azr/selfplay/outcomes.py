"""What is known of a played row: the outcomes of both roles, and what of them is sent to the trainer."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from azr.config.selfplay import SelfPlayConfig
from azr.run.records import from_json
from azr.selfplay.validation import LEAKED_EVALUATION
from azr.tasks import Prompt, Rejection, Stream, Task

TRANSCRIPT_CHARS = 6000
"""Longest response text that travels back to the trainer for people to read."""

REFLECTION_WORDS = (
    "wait", "however", "verify", "check again", "let me re", "actually", "hold on", "on second thought",
    "double-check", "mistake",
)  # fmt: skip
"""Their share of responses is the published reflection metric, with a shorter list."""


@dataclass(frozen=True)
class Completion:
    """One sampled response."""

    text: str
    """The response alone, without the prompt and without special tokens."""
    n_tokens: int
    finished: bool
    """False: truncated at the response limit."""
    handle: object = None
    """Whatever the caller needs for training on it (token ids, log-probs)."""


_AnyOutcome = TypeVar("_AnyOutcome", bound="Outcome")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the outcomes of both roles have in common. ``completion`` stays in the process that generated it;
    the rest is sent to the trainer (``to_json``)."""

    stream: Stream
    row_id: str
    prompt: Prompt
    completion: Completion
    format_ok: bool
    seconds: dict[str, float] = field(default_factory=dict)
    """``generate`` and ``execute``: wall seconds this row waited for each."""
    reward: float | None = None
    """The reward after every penalty; None until ``azr.selfplay.credit`` has set it, and where nothing is learned from
    the response."""

    @property
    def reflects(self) -> bool:
        """Whether the response (its kept part) contains a word of reflection."""
        lower = self.completion.text.lower()
        return any(word in lower for word in REFLECTION_WORDS)

    def to_json(self) -> dict[str, Any]:
        """What is sent to the trainer, where ``outcome_from_json`` reads it: without prompt and handle, and
        with long texts shortened in the middle."""
        return asdict(self._travelling())

    def _travelling(self: _AnyOutcome) -> _AnyOutcome:
        completion = replace(self.completion, text=_shortened(self.completion.text), handle=None)
        return replace(self, prompt=_NO_PROMPT, completion=completion)


_NO_PROMPT = Prompt((("user", ""),), raw=True)


def _shortened(text: str) -> str:
    half = TRANSCRIPT_CHARS // 2
    return text if len(text) <= TRANSCRIPT_CHARS else f"{text[:half]}\n...\n{text[-half:]}"


@dataclass(frozen=True, kw_only=True)
class SolveOutcome(Outcome):
    task_id: str
    solution: str
    score: float
    """Grade, 0 to 1, before the format is looked at."""
    reason: str
    """Why: one of ``azr.selfplay.grading.GRADE_REASONS`` or of ``azr.parsing.REASONS``."""
    sample: bool = False
    """One of a proposal's difficulty samples, not a row of the solve stream."""

    def _travelling(self) -> SolveOutcome:
        return replace(super()._travelling(), solution=self.solution[:TRANSCRIPT_CHARS])


@dataclass(frozen=True, kw_only=True)
class ProposeOutcome(Outcome):
    task: Task | None
    """The verified task, ready for the buffer (its lineage holds accuracy and parents); None when rejected."""
    rejection: Rejection | None
    accuracy: float | None
    """Share of the difficulty samples that solved it; None when invalid or not estimated."""
    learnability: float | None
    terms: dict[str, float] = field(default_factory=dict)
    """Enabled intrinsic terms, scaled and capped."""
    repetition: float | None = None
    """Share of the latest programs that its own resembles; None until ``azr.selfplay.credit`` has set it, and where the
    program is none of its own."""
    guessable: bool | None = None
    """Whether a typical input solves the abduction task; None where there is no verified one, or nothing was tried."""
    samples: tuple[SolveOutcome, ...] = ()
    solved: SolveOutcome | None = None
    """Same-step solving: the solution that fills this row's place in the solve stream."""
    wanted_samples: int = 0
    """Difficulty samples the configuration asks for; adaptive sampling may have stopped before."""

    @property
    def valid(self) -> bool:
        """The program was verified, whatever its format and whether or not it enters the buffer."""
        return self.task is not None or (
            self.rejection is not None and self.rejection.reason in ("solve_prompt_too_long", "filtered")
        )

    @property
    def is_leak(self) -> bool:
        """The program is like one of a probe or evaluation file: nothing is learned from the response."""
        return self.rejection is not None and self.rejection.reason == LEAKED_EVALUATION

    def _travelling(self) -> ProposeOutcome:
        samples = [sample._travelling() for sample in self.samples]
        untold = [replace(each, completion=replace(each.completion, text="")) for each in samples]
        solved = self.solved._travelling() if self.solved else None
        return replace(super()._travelling(), samples=tuple(untold), solved=solved)


RowOutcome = ProposeOutcome | SolveOutcome
"""What a played row came to."""


def outcome_from_json(record: dict[str, Any]) -> RowOutcome:
    """The outcome as the trainer needs it: completions come back without their handle, prompts empty."""
    return from_json(
        SolveOutcome if "solution" in record else ProposeOutcome, record, "an agent loop's answer"
    )


def trained_outcomes(outcome: RowOutcome, config: SelfPlayConfig) -> list[RowOutcome]:
    """The responses of a row that the optimizer learns from: samples, same-step solution, its own."""
    if isinstance(outcome, SolveOutcome):
        return [outcome]
    before: list[RowOutcome] = list(outcome.samples) if config.train_on_samples else []
    if outcome.solved is not None and not any(sample is outcome.solved for sample in before):
        before.append(outcome.solved)
    return [*before, outcome]
