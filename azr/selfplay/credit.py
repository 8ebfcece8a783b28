"""Rewards of a step's responses, and the advantages that follow from them.

``credit`` is what the trainer calls: ``assign_rewards`` sets the rewards, from which ``azr.selfplay.advantage`` computes
the advantages. Rewards are set here and nowhere else. An outcome says what happened, ``azr.selfplay.rewards`` and
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
from azr.selfplay.control_experiments import controlled_rewards
from azr.selfplay.game import SelfPlay
from azr.selfplay.intrinsic import diversity_term
from azr.selfplay.outcomes import ProposeOutcome, RowOutcome, SolveOutcome
from azr.selfplay.repetition import own_program, repetition
from azr.selfplay.rewards import INVALID, overlong_penalty, propose_reward, solution_reward, solve_reward
from azr.tasks import Task, TaskType


def assign_rewards(
    outcomes: Sequence[RowOutcome], game: SelfPlay, max_response_tokens: int
) -> list[RowOutcome]:
    """The same outcomes, in the same order, with the rewards of both roles filled in; also those of the
    solutions inside a proposal's outcome.

    Call it before ``game.accept`` counts the step's new tasks. The order of ``outcomes`` does not change a
    reward: of equal proposals, the one planned first is new and the others are copies. A proposal like a probe has none:
    whatever it were paid would tell the model something about the probes.

    Args:
        max_response_tokens: the limit that ``selfplay.overlong_tokens`` counts back from.
    """
    config, limit = game.config, max_response_tokens

    def rewarded_solution(outcome: SolveOutcome) -> SolveOutcome:
        tokens = outcome.completion.n_tokens
        return replace(
            outcome, reward=solution_reward(outcome.format_ok, outcome.score, tokens, limit, config)
        )

    latest = game.latest_programs()
    rewarded: dict[str, RowOutcome] = {}
    seen: set[tuple[TaskType, str]] = set()
    for outcome in sorted(outcomes, key=lambda outcome: outcome.row_id):
        if isinstance(outcome, SolveOutcome):
            rewarded[outcome.row_id] = rewarded_solution(outcome)
            continue
        task = outcome.task
        if task is not None:
            rarity = diversity_term(task, game.type_counts, config.intrinsic)
            outcome = replace(outcome, terms=outcome.terms | rarity)
        if task is not None and task.task_type is not TaskType.INDUCTION:  # whose program is a given one
            outcome = replace(outcome, repetition=repetition(own_program(task), latest))

        reward = base_reward(outcome, config)
        if outcome.repetition:
            reward = max(INVALID, reward - config.repetition_penalty * outcome.repetition)
        if task is not None and config.duplicate_reward is not None:
            keys = {(task.task_type, key) for key in _novelty_keys(task)}
            if keys & seen or game.holds(task):
                reward = min(reward, config.duplicate_reward)
            seen |= keys
        reward -= overlong_penalty(outcome.completion.n_tokens, limit, config)
        rewarded[outcome.row_id] = replace(
            outcome,
            reward=None if outcome.is_leak else reward,
            samples=tuple(map(rewarded_solution, outcome.samples)),
            solved=outcome.solved and rewarded_solution(outcome.solved),
        )
    return [rewarded[outcome.row_id] for outcome in outcomes]


def base_reward(outcome: RowOutcome, config: SelfPlayConfig) -> float:
    """What a response earns before any penalty for being a copy, or for its length."""
    if isinstance(outcome, SolveOutcome):
        return solve_reward(outcome.format_ok, outcome.score, config)
    accuracy = (outcome.accuracy or 0.0) if outcome.valid else None
    progress = outcome.rejection.progress if outcome.rejection else 0.0
    return propose_reward(outcome.format_ok, accuracy, config, outcome.terms, progress)


def _novelty_keys(task: Task) -> tuple[str, ...]:
    """What must be new about a task where ``selfplay.duplicate_reward`` is set: of an induction task also its
    puzzle, because new inputs for the same program with the same hint teach nothing new."""
    if task.task_type is TaskType.INDUCTION:
        return task_key(task), puzzle_key(task)
    return (task_key(task),)


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One response of a batch, as the optimizer sees it."""

    stream: str
    group: str | None
    """The task it answers, for group-relative advantages."""
    n_tokens: int
    """0 for padding rows, which make a batch divisible and are ignored otherwise."""
    format_ok: bool
    score: float
    """Grade of a solution; 0 for a proposal."""
    outcome: RowOutcome | None
    """None for difficulty samples and same-step solutions: those are inside their proposal's outcome."""


@dataclass(frozen=True)
class Credit:
    outcomes: list[RowOutcome]
    """With their rewards, for the buffer, the metrics and people."""
    advantages: NDArray[np.float64]
    """[N] one for each response; 0 for padding, and where nothing is learned from the response."""
    is_leak: NDArray[np.bool_]
    """[N] the response proposes a program like a probe's: the update leaves it out."""
    metrics: dict[str, float]


def credit(
    trajectories: Sequence[Trajectory],
    game: SelfPlay,
    step: int,
    max_response_tokens: int,
    control: str = "none",
) -> Credit:
    """From a step's outcomes to its advantages: rewards (``assign_rewards``), what a control experiment changes about
    them, and the comparison of each response with its stream or its group. Proposals like a probe take no part, as if
    they had not been sampled.

    Args:
        max_response_tokens: see ``assign_rewards``.
        control: ``train.control``.
    """
    # Reward: an outcome brings its reward, a response inside a proposal's outcome earns a solver's.
    real = [trajectory for trajectory in trajectories if trajectory.n_tokens > 0]  # without padding
    outcomes = assign_rewards([each.outcome for each in real if each.outcome], game, max_response_tokens)
    reward_by_row_id = {outcome.row_id: outcome.reward or 0.0 for outcome in outcomes}
    is_leak_N = np.array([_is_leak(trajectory.outcome) for trajectory in trajectories], dtype=bool)
    lengths_N = np.where(is_leak_N, 0, [trajectory.n_tokens for trajectory in trajectories])
    learned = np.flatnonzero(lengths_N)
    taught = [trajectories[i] for i in learned]
    penalties = [overlong_penalty(each.n_tokens, max_response_tokens, game.config) for each in taught]
    rewards = [
        reward_by_row_id[each.outcome.row_id]
        if each.outcome
        else solution_reward(each.format_ok, each.score, each.n_tokens, max_response_tokens, game.config)
        for each in taught
    ]

    # Control: the rewards that are learned from.
    streams, formats = [each.stream for each in taught], [each.format_ok for each in taught]
    learned_N = np.zeros(len(trajectories))
    learned_N[learned] = controlled_rewards(control, rewards, streams, formats, game.seed, step)

    # Compare: each response with its stream or its group.
    advantages_N = task_relative_advantages(
        learned_N,
        lengths_N,
        [trajectory.stream for trajectory in trajectories],
        game.config.advantage_mode,
        [trajectory.group for trajectory in trajectories],
    )

    metrics = {
        names.ROWS: float(len(taught)),
        names.RESPONSE_TOKENS: float(sum(trajectory.n_tokens for trajectory in taught)),
        "train/nonzero_advantages": float((advantages_N[learned] != 0).mean()),
        "train/overlong": float(np.mean([penalty > 0 for penalty in penalties])),
    }
    return Credit(outcomes, advantages_N, is_leak_N, metrics)


def _is_leak(outcome: RowOutcome | None) -> bool:
    return isinstance(outcome, ProposeOutcome) and outcome.is_leak
