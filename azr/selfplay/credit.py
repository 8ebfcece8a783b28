"""What each response of a step is paid, and what that teaches: rewards, then TRR++ advantages (spec 6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from azr.selfplay.advantage import task_relative_advantages
from azr.selfplay.controls import controlled_rewards
from azr.selfplay.episode import ProposeOutcome, SolveOutcome
from azr.selfplay.game import SelfPlay
from azr.selfplay.rewards import overlong_penalty


@dataclass(frozen=True, kw_only=True)
class Response:
    """One response of a batch, as the optimizer sees it."""

    stream: str
    group: str | None
    """The task it answers, for group-relative advantages."""
    n_tokens: int
    """0: padding, which makes a batch divisible. It takes no part in anything."""
    reward: float
    format_ok: bool
    outcome: ProposeOutcome | SolveOutcome | None
    """None for difficulty samples and same-step solutions: those are inside their proposal's outcome."""


@dataclass(frozen=True)
class Credit:
    outcomes: list[ProposeOutcome | SolveOutcome]
    """With the reward that was paid, for the buffer, the metrics and people."""
    advantages: NDArray[np.float64]
    """[N] one for each response; 0 for padding."""
    metrics: dict[str, float]


def credit(
    responses: Sequence[Response], game: SelfPlay, step: int, max_response_tokens: int, control: str = "none"
) -> Credit:
    """
    Args:
        max_response_tokens: the limit that ``selfplay.overlong_tokens`` counts back from.
        control: ``train.control``.
    """
    real = [row for row, response in enumerate(responses) if response.n_tokens > 0]
    kept = [row for row in real if responses[row].outcome is not None]
    final = game.final_rewards([outcome for row in kept if (outcome := responses[row].outcome) is not None])
    rewards_N = np.array([response.reward for response in responses])
    penalties_N = np.zeros(len(responses))
    outcomes: list[ProposeOutcome | SolveOutcome] = []
    for row in real:
        response = responses[row]
        penalties_N[row] = overlong_penalty(response.n_tokens, max_response_tokens, game.config)
        paid = response.reward if response.outcome is None else final[response.outcome.row_id]
        rewards_N[row] = paid - penalties_N[row]
        if response.outcome is not None:
            outcomes.append(replace(response.outcome, reward=float(rewards_N[row])))

    learned_N = np.zeros(len(responses))
    learned_N[real] = controlled_rewards(
        control,
        rewards_N[real].tolist(),
        [responses[row].stream for row in real],
        [responses[row].format_ok for row in real],
        game.seed,
        step,
    )
    advantages_N = task_relative_advantages(
        learned_N,
        [response.n_tokens for response in responses],
        [response.stream for response in responses],
        game.config.advantage_mode,
        [response.group for response in responses],
    )
    metrics = {
        "train/rows": float(len(real)),
        "train/response_tokens": float(sum(response.n_tokens for response in responses)),
        "train/nonzero_advantages": float((advantages_N[real] != 0).mean()),
        "train/overlong": float((penalties_N[real] > 0).mean()),
    }
    return Credit(outcomes, advantages_N, metrics)
