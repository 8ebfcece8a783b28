"""The self-play configuration in the form that the prompts need, and whether ``rollout.max_prompt_tokens`` leaves room for
them: checked once, when configuration and tokenizer are loaded. Planning relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from azr.config.sandbox import Limits
from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError
from azr.prompts import BANNED_ERROR_WORDS, BANNED_WORDS, PromptOptions, propose_prompt, solve_prompt
from azr.prompts.examples import INDUCTION_EXAMPLES, WorkedExample
from azr.selfplay.identity import identity_task
from azr.tasks import Prompt, Role, Stream, TaskType


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


def last_resorts(
    config: SelfPlayConfig, needed_inputs: int, timeout_s: float = Limits().cpu_s
) -> Iterator[tuple[Stream, Prompt]]:
    """What each stream asks when nothing longer fits: for a program without references, for inputs of the identity
    program, for the solution of the identity task."""
    options = prompt_options(config, timeout_s)
    for kind in map(TaskType, config.task_types):
        yield Stream(Role.SOLVE, kind), solve_prompt(identity_task(kind), options)
        if not config.train_propose:
            continue
        if kind is not TaskType.INDUCTION:
            yield Stream(Role.PROPOSE, kind), propose_prompt(kind, [], options)
            continue
        for example in worked_examples(config):
            asking = induction_options(options, config, needed_inputs, example)
            yield (
                Stream(Role.PROPOSE, kind),
                propose_prompt(kind, [identity_task(TaskType.DEDUCTION)], asking),
            )


def require_room(
    config: SelfPlayConfig, timeout_s: float, count_tokens: Callable[[Prompt], int], max_prompt_tokens: int
) -> None:
    """
    Raises:
        ConfigError: a stream has no prompt within the limit.
    """
    lengths = [
        (count_tokens(prompt), stream)
        for stream, prompt in last_resorts(config, config.num_inputs, timeout_s)
    ]
    longest, stream = max(lengths)
    if longest > max_prompt_tokens:
        raise ConfigError(
            f"rollout.max_prompt_tokens={max_prompt_tokens} is too small for selfplay.frame={config.frame}: the shortest "
            f"{stream.name} prompt has {longest} tokens. Raise it to at least that, or better twice that, or take a "
            "shorter frame (selfplay.frame=compact)"
        )
