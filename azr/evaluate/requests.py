"""What a suite in a style asks of the engine: prompts with the limits of their answers, and whose answers
they become.

The engine knows nothing of suites and styles. One engine session takes requests of any mixture: raw texts and
chats, prompts that begin the response for the model, their own stops and limits.
"""

from __future__ import annotations

from dataclasses import dataclass

from azr.tasks import Prompt


@dataclass(frozen=True)
class Request:
    """One prompt, and how it is to be answered."""

    item_id: str
    """Answers are kept under it; unique in its store."""
    prompt: Prompt
    """One raw text, or chat messages through the model's own template; ``response_prefix`` is what the prompt
    has written already of the model's response."""
    max_prompt_tokens: int
    """A longer prompt is not asked (``Answer.prompt_too_long``)."""
    max_tokens: int
    """Of one answer."""
    stop: tuple[str, ...] = ()
    """Texts before which the answer is cut."""
    samples: int = 1
    temperature: float = 0.0
    """0: greedy."""
    top_p: float = 1.0
    seed: int = 0
    begin_token: bool = False
    """A raw text starts as the model's tokenizer starts texts (some with a token of their own), as harnesses
    ask base models. The frames of training do not."""
