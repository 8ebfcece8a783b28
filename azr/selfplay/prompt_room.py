"""Whether ``rollout.max_prompt_tokens`` leaves room for the prompts: checked once, when configuration and
tokenizer are loaded. Planning relies on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from azr.config.sandbox import Limits
from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError
from azr.prompts import propose_prompt, solve_prompt
from azr.selfplay.identity import identity_task
from azr.selfplay.options import induction_options, prompt_options, worked_examples
from azr.tasks import Prompt, Role, Stream, TaskType


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
