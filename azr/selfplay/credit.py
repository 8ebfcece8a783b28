"""Rewards of a step's responses, and the advantages that follow from them.

``credit`` is what the trainer calls: it lets ``pay`` set the rewards, and passes them on to ``azr.selfplay.advantage``.
Rewards are set here and nowhere else. An outcome says what happened, ``azr.selfplay.rewards`` and
``azr.selfplay.intrinsic`` hold the formulas (docs/algorithm.md explains them), and the game knows what came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from azr.config.selfplay import SelfPlayConfig
from azr.run import metric_names as names
from azr.selfplay.advantage import task_relative_advantages
from azr.selfplay.buffer import puzzle_key, task_key
from azr.selfplay.controls import controlled_rewards
from azr.selfplay.episode import ProposeOutcome, SolveOutcome
from azr.selfplay.game import SelfPlay
from azr.selfplay.intrinsic import diversity_term
from azr.selfplay.rewards import overlong_penalty, propose_reward, solve_reward
from azr.tasks import Task, TaskType


def pay(
    outcomes: Sequence[ProposeOutcome | SolveOutcome], game: SelfPlay, max_response_tokens: int
) -> list[ProposeOutcome | SolveOutcome]:
    """The same outcomes, in the same order, with the rewards of both roles filled in; also those of the
    solutions inside a proposal's outcome.

    Call it before ``game.accept`` counts the step's new tasks. The order of ``outcomes`` does not change a
    reward: of equal proposals, the one planned first is new and the others are copies.

    Args:
        max_response_tokens: the limit that ``selfplay.overlong_tokens`` counts back from.
    """
    config = game.config

    def less_length(reward: float, outcome: ProposeOutcome | SolveOutcome) -> float:
        return reward - overlong_penalty(outcome.completion.n_tokens, max_response_tokens, config)

    def paid_solution(outcome: SolveOutcome) -> SolveOutcome:
        return replace(outcome, reward=less_length(own_reward(outcome, config), outcome))

    paid: dict[str, ProposeOutcome | SolveOutcome] = {}
    seen: set[tuple[TaskType, str]] = set()
    for outcome in sorted(outcomes, key=lambda outcome: outcome.row_id):
        if isinstance(outcome, SolveOutcome):
            paid[outcome.row_id] = paid_solution(outcome)
            continue
        rarity = diversity_term(outcome.task, game.types, config.intrinsic) if outcome.task else {}
        reward = own_reward(outcome, config, rarity)
        if outcome.task is not None and config.duplicate_reward is not None:
            keys = {(outcome.task.task_type, key) for key in _novelty_keys(outcome.task)}
            if keys & seen or game.holds(outcome.task):
                reward = min(reward, config.duplicate_reward)
            seen |= keys
        paid[outcome.row_id] = replace(
            outcome,
            reward=less_length(reward, outcome),
            samples=tuple(map(paid_solution, outcome.samples)),
            solved=outcome.solved and paid_solution(outcome.solved),
        )
    return [paid[outcome.row_id] for outcome in outcomes]


def own_reward(
    outcome: ProposeOutcome | SolveOutcome, config: SelfPlayConfig, rarity: dict[str, float] | None = None
) -> float:
    """What a response earns before any penalty for being a copy or too long.

    Args:
        rarity: a proposal's diversity term, where it is paid.
    """
    if isinstance(outcome, SolveOutcome):
        return solve_reward(outcome.format_ok, outcome.score, config)
    accuracy = (outcome.accuracy or 0.0) if outcome.valid else None
    progress = outcome.rejection.progress if outcome.rejection else 0.0
    return propose_reward(outcome.format_ok, accuracy, config, outcome.terms | (rarity or {}), progress)


def _novelty_keys(task: Task) -> tuple[str, ...]:
    """What must be new about a task where ``selfplay.duplicate_reward`` is set: of an induction task also its
    puzzle, because new inputs for the same program with the same hint teach nothing new."""
    if task.task_type is TaskType.INDUCTION:
        return task_key(task), puzzle_key(task)
    return (task_key(task),)


@dataclass(frozen=True, kw_only=True)
class PolicySample:
    """One response of a batch, as the optimizer sees it."""

    stream: str
    group: str | None
    """The task it answers, for group-relative advantages."""
    n_tokens: int
    """0 for padding rows, which make a batch divisible and are ignored otherwise."""
    format_ok: bool
    score: float
    """Grade of a solution; 0 for a proposal."""
    outcome: ProposeOutcome | SolveOutcome | None
    """None for difficulty samples and same-step solutions: those are inside their proposal's outcome."""


@dataclass(frozen=True)
class Credit:
    outcomes: list[ProposeOutcome | SolveOutcome]
    """With their rewards, for the buffer, the metrics and people."""
    advantages: NDArray[np.float64]
    """[N] one for each response; 0 for padding."""
    metrics: dict[str, float]


def credit(
    responses: Sequence[PolicySample],
    game: SelfPlay,
    step: int,
    max_response_tokens: int,
    control: str = "none",
) -> Credit:
    """From a step's outcomes to its advantages: rewards (``pay``), what a control experiment changes about
    them, and the comparison of each response with its stream or its group.

    Args:
        max_response_tokens: see ``pay``.
        control: ``train.control``.
    """
    # Pay: an outcome brings its reward, a response inside a proposal's outcome earns a solver's.
    real = [row for row, response in enumerate(responses) if response.n_tokens > 0]  # without padding
    played = [outcome for row in real if (outcome := responses[row].outcome) is not None]
    outcomes = pay(played, game, max_response_tokens)
    reward_of_row = {outcome.row_id: outcome.reward for outcome in outcomes}

    rewards_N = np.zeros(len(responses))
    penalties_N = np.zeros(len(responses))
    for row in real:
        response = responses[row]
        penalties_N[row] = overlong_penalty(response.n_tokens, max_response_tokens, game.config)
        rewards_N[row] = (
            reward_of_row[response.outcome.row_id]
            if response.outcome is not None
            else solve_reward(response.format_ok, response.score, game.config) - penalties_N[row]
        )

    # Control: the rewards that are learned from.
    learned_N = np.zeros(len(responses))
    learned_N[real] = controlled_rewards(
        control,
        rewards_N[real].tolist(),
        [responses[row].stream for row in real],
        [responses[row].format_ok for row in real],
        game.seed,
        step,
    )

    # Compare: each response with its stream or its group.
    advantages_N = task_relative_advantages(
        learned_N,
        [response.n_tokens for response in responses],
        [response.stream for response in responses],
        game.config.advantage_mode,
        [response.group for response in responses],
    )

    metrics = {
        names.ROWS: float(len(real)),
        names.RESPONSE_TOKENS: float(sum(response.n_tokens for response in responses)),
        "train/nonzero_advantages": float((advantages_N[real] != 0).mean()),
        "train/overlong": float((penalties_N[real] > 0).mean()),
    }
    return Credit(outcomes, advantages_N, metrics)
