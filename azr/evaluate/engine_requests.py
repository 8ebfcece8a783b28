"""What a suite in a style asks of the engine: prompts with the limits of their answers, and whose answers
they become; and the job of an engine's process that holds them.

The engine knows nothing of suites and styles. One engine session takes requests of any mixture: raw texts and
chats, prompts that begin the response for the model, their own stops and limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from azr.evaluate.answers import AnswerStore
from azr.tasks import Prompt


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How answers are drawn, and how long they and their prompts may be."""

    samples: int = 1
    temperature: float = 0.0
    """0: greedy."""
    top_p: float = 1.0
    seed: int = 0
    max_prompt_tokens: int
    """A longer prompt is not asked (``Answer.prompt_too_long``)."""
    max_response_tokens: int


@dataclass(frozen=True)
class Request:
    """One prompt, and how it is to be answered."""

    item_id: str
    """Answers are kept under it; unique in its store."""
    prompt: Prompt
    """One raw text, or chat messages through the model's own template; ``response_prefix`` is what the prompt
    has written already of the model's response."""
    decoding: Decoding
    stop: tuple[str, ...] = ()
    """Texts before which the answer is cut."""
    begin_token: bool = False
    """A raw text starts as the model's tokenizer starts texts (some with a token of their own), as harnesses
    ask base models. The frames of training do not."""
    missing: tuple[int, ...] = ()
    """Numbers of the samples that are still to be answered."""


@dataclass(frozen=True)
class EngineOptions:
    """How the engine is built: decides how fast answers come, and with the number type which."""

    dtype: str = "bfloat16"
    device: str = "auto"
    """``cuda``, ``cpu`` or ``auto``, as ``train.device`` has it."""
    trust_remote_code: bool = False
    tensor_parallel: int = 1
    gpu_memory_share: float = 0.85
    cpu_kv_cache_gib: float = 1.0
    max_sequences: int = 256


@dataclass(frozen=True)
class EngineModel:
    """What the engine loads; absolute paths."""

    label: str
    folder: Path
    """Configuration and tokenizer; the weights too, unless there is a checkpoint."""
    checkpoint: Path | None = None
    adapters: Path | None = None
    """A PEFT folder, whose adapters stay beside the folder's weights: those are int4."""


@dataclass(frozen=True)
class Batch:
    """What a model is asked, and where its answers go. Stores must be open."""

    requests: Sequence[Request]
    store: AnswerStore

    def unanswered(self) -> Batch:
        """The requests that lack answers, each with the numbers of those."""
        have = self.store.read()
        lacking = []
        for request in self.requests:
            samples = range(request.decoding.samples)
            missing = tuple(sample for sample in samples if (request.item_id, sample) not in have)
            lacking += [replace(request, missing=missing)] if missing else []
        return replace(self, requests=lacking)


@dataclass(frozen=True)
class EngineJob:
    """The file from which an engine's process works: models of one shape, and what each is still asked."""

    engine: EngineOptions
    models: list[tuple[EngineModel, list[Batch]]]

    @property
    def requests(self) -> list[Request]:
        return [request for _, batches in self.models for batch in batches for request in batch.requests]

    @property
    def max_model_len(self) -> int:
        """Tokens of the longest prompt with its answer."""
        limits = (each.decoding for each in self.requests)
        return max(each.max_prompt_tokens + each.max_response_tokens for each in limits)
