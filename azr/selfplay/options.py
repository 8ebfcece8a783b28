"""The self-play configuration in the form that the prompts need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from azr.config.sandbox import Limits
from azr.config.selfplay import SelfPlayConfig
from azr.prompts import BANNED_ERROR_WORDS, BANNED_WORDS, PromptOptions
from azr.prompts.examples import INDUCTION_EXAMPLES, WorkedExample


def banned_words(config: SelfPlayConfig) -> tuple[str, ...]:
    return BANNED_WORDS if config.banned_modules is None else tuple(config.banned_modules)


BEGUN_REPLIES = {
    "frame": "",
    "think": "<think>",
    "answer": "<think> I choose inputs that together show every part of the program. </think>\n<answer>\n```input_1\n",
}
"""``selfplay.induction_reply`` as text."""


def prompt_options(config: SelfPlayConfig, timeout_s: float = Limits().cpu_s) -> PromptOptions:
    return PromptOptions(
        frame=config.frame,
        num_inputs=config.num_inputs,
        banned=banned_words(config),
        banned_error_words=BANNED_ERROR_WORDS,
        forbid_globals=config.strip_globals,
        forbid_test_input=config.reject_test_input,
        timeout_s=timeout_s,
        max_output_chars=config.max_output_chars,
    )


def worked_examples(config: SelfPlayConfig) -> Sequence[WorkedExample | None]:
    """The examples of which an induction prompt shows one; None where it shows none."""
    return INDUCTION_EXAMPLES if config.induction_prompt == "example" else (None,)


def draw_example(config: SelfPlayConfig, rng: np.random.Generator) -> WorkedExample | None:
    examples = worked_examples(config)
    return examples[int(rng.integers(len(examples)))] if len(examples) > 1 else examples[0]


def induction_options(
    options: PromptOptions, config: SelfPlayConfig, needed: int, example: WorkedExample | None
) -> PromptOptions:
    """``options`` for one induction proposal whose task needs ``needed`` inputs."""
    return replace(
        options,
        num_inputs=needed + config.induction_spare_inputs,
        numbered=config.induction_prompt != "plain",
        example=example,
        begun=BEGUN_REPLIES[config.induction_reply],
    )
