"""The rewards of both roles as formulas, numbers in and numbers out; ``azr.selfplay.credit`` applies them."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from azr.config.selfplay import SelfPlayConfig

INVALID = -1.0
"""Unparsable, invalid, unsafe, or without the think/answer format."""
WRONG = -0.5
"""A well-formed solution that is not right."""


def learnability(accuracy: float, conversion: str = "one_minus") -> float:
    """The value of a task that the solver solves with this accuracy: hard but solvable is best.

    ``one_minus``: 1 - a, and 0 for a task nobody solved. ``inverse``: 1 - a throughout. ``middle``: 4 a (1 - a).
    """
    if conversion == "middle":
        return 4 * accuracy * (1 - accuracy)
    return 0.0 if accuracy <= 0 and conversion == "one_minus" else 1.0 - accuracy


def propose_reward(
    format_ok: bool,
    accuracy: float | None,
    config: SelfPlayConfig,
    terms: Mapping[str, float] | None = None,
    progress: float = 0.0,
) -> float:
    """The proposer's reward: the learnability of its task, joined with any intrinsic terms;
    ``selfplay.extremes`` where the learnability is 0 (by default: all or none of the samples solved the
    task); -1 for an invalid proposal, or more where partial ones are rewarded.

    Args:
        format_ok: the response has the think/answer format (ignored with ``format_reward`` off).
        accuracy: share of the difficulty samples that solved the task; None when the proposal is invalid.
        terms: enabled intrinsic terms, already scaled and capped (``azr.selfplay.intrinsic``).
        progress: of an invalid proposal: share of what it needs that was there, below 1.
    """
    if config.format_reward and not format_ok:
        return INVALID
    if accuracy is None:
        return INVALID + config.partial_proposal_reward * progress
    value = learnability(accuracy, config.learnability)
    if value == 0:
        return config.extreme_reward
    return combine(value, list((terms or {}).values()), config.intrinsic.combine)


def combine(value: float, terms: list[float], how: str) -> float:
    """Joins the learnability reward with the intrinsic terms; without terms it is returned as it is."""
    if not terms:
        return value
    return {
        "sum": value + sum(terms),
        "multiply": value * prod(terms),
        "sum_multiply": value + prod(terms),
        "multiply_sum": value * sum(terms),
    }[how]


def solve_reward(format_ok: bool, score: float, config: SelfPlayConfig) -> float:
    """The solver's reward: the grade if it is above 0, else -0.5; -1 without the format."""
    if config.format_reward and not format_ok:
        return INVALID
    return score if score > 0 else WRONG


def induction_score(right: list[bool], how: str) -> float:
    """Grade over the hidden pairs: ``binary`` all, ``accuracy`` their share, ``if_one`` at least one."""
    share = sum(right) / len(right)
    return {"binary": float(share == 1), "accuracy": share, "if_one": float(share > 0)}[how]


def solution_reward(format_ok: bool, score: float, tokens: int, limit: int, config: SelfPlayConfig) -> float:
    """The solver's reward less what its length costs: close to the limit, and where it is wrong and short."""
    reward = solve_reward(format_ok, score, config)
    if reward == WRONG:
        reward = max(INVALID, reward - short_wrong_penalty(tokens, config))
    return reward - overlong_penalty(tokens, limit, config)


def short_wrong_penalty(tokens: int, config: SelfPlayConfig) -> float:
    """What a wrong answer's shortness costs (``selfplay.short_wrong_tokens``): nothing from that many tokens on, all of it
    at none."""
    if not config.short_wrong_tokens:
        return 0.0
    return config.short_wrong_penalty * max(0.0, 1 - tokens / config.short_wrong_tokens)


def overlong_penalty(tokens: int, limit: int, config: SelfPlayConfig) -> float:
    """What a response's length costs (``selfplay.overlong_tokens``): nothing up to ``limit -
    overlong_tokens``, all of it at the limit."""
    if not config.overlong_tokens:
        return 0.0
    over = tokens - (limit - config.overlong_tokens)
    return config.overlong_penalty * min(1.0, max(0.0, over / config.overlong_tokens))
