from dataclasses import replace

import pytest

from azr.config.selfplay import IntrinsicConfig, SelfPlayConfig
from azr.errors import ConfigError
from azr.selfplay.rewards import (
    induction_score,
    learnability,
    overlong_penalty,
    propose_reward,
    solution_reward,
    solve_reward,
)

CODE, PAPER = SelfPlayConfig(), SelfPlayConfig(variant="paper")


def test_learnability():
    assert [learnability(share / 8) for share in (0, 1, 4, 8)] == [0, 0.875, 0.5, 0]
    assert learnability(0.0, "inverse") == 1


def test_proposer_reward_set_of_eight_samples():
    rewards = {propose_reward(True, share / 8, CODE) for share in range(9)} | {
        propose_reward(False, 0.5, CODE),
        propose_reward(True, None, CODE),
    }
    assert rewards == {-1.0, -0.5, *(share / 8 for share in range(1, 8))}
    assert propose_reward(True, 0.0, PAPER) == propose_reward(True, 1.0, PAPER) == 0
    assert propose_reward(True, 0.0, replace(PAPER, extremes=-0.25)) == -0.25
    assert propose_reward(True, 0.0, replace(CODE, learnability="inverse")) == 1


def test_format_reward_can_be_off():
    assert propose_reward(False, 0.5, replace(CODE, format_reward=False)) == 0.5
    assert solve_reward(False, 1.0, replace(CODE, format_reward=False)) == 1
    assert solve_reward(False, 1.0, CODE) == -1


def test_solver_reward():
    assert [solve_reward(True, score, CODE) for score in (0, 0.4, 1)] == [-0.5, 0.4, 1]


@pytest.mark.parametrize(
    ("how", "expected"), [("binary", [0, 0, 1]), ("accuracy", [0, 0.5, 1]), ("if_one", [0, 1, 1])]
)
def test_induction_score(how, expected):
    assert [
        induction_score(right, how) for right in ([False, False], [True, False], [True, True])
    ] == expected


@pytest.mark.parametrize(
    ("how", "expected"), [("sum", 1.0), ("multiply", 0.03), ("sum_multiply", 0.56), ("multiply_sum", 0.25)]
)
def test_intrinsic_combinations(how, expected):
    config = replace(CODE, intrinsic=IntrinsicConfig(combine=how))
    assert propose_reward(True, 0.5, config, {"complexity": 0.2, "halstead": 0.3}) == pytest.approx(expected)


def test_variant_switches_everything_and_keys_override():
    assert (CODE.extreme_reward, CODE.advantage_mode, CODE.solves_same_step) == (-0.5, "token", False)
    assert (PAPER.extreme_reward, PAPER.advantage_mode, PAPER.solves_same_step) == (0.0, "sequence", True)
    assert replace(PAPER, solve_timing="next_step", advantage="token").solves_same_step is False


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "papre"},
        {"task_types": ["induction"]},
        {"task_types": ["abduction", "abduction"]},
        {"batch_size": 0},
        {"num_inputs": 1},
        {"advantage": "group"},
        {"solve_group_size": 3},
        {"solve_group_size": 2, "variant": "paper"},
        {"composite_start_step": 1, "references": 2},
        {"buffer_capacity": 3},
        {"intrinsic": IntrinsicConfig(combine="average")},
        {"intrinsic": IntrinsicConfig(complexity=-1)},
    ],
)
def test_contradictions_are_refused_by_name(changes):
    with pytest.raises(ConfigError) as error:
        replace(CODE, **changes).validate()
    assert "selfplay." in str(error.value)


def test_the_middle_pays_most_at_one_half():
    assert [learnability(share / 4, "middle") for share in range(5)] == [0.0, 0.75, 1.0, 0.75, 0.0]
    config = SelfPlayConfig(learnability="middle")
    assert propose_reward(True, 0.5, config) == 1.0
    assert propose_reward(True, 0.0, config) == propose_reward(True, 1.0, config) == -0.5


def test_length_costs_near_the_limit_only():
    config = SelfPlayConfig(overlong_tokens=100, overlong_penalty=0.5)
    assert [overlong_penalty(tokens, 1000, config) for tokens in (0, 900, 950, 1000, 1001)] == [
        0.0,
        0.0,
        0.25,
        0.5,
        0.5,
    ]
    assert overlong_penalty(1000, 1000, SelfPlayConfig()) == 0.0


def test_only_a_wrong_answer_pays_for_being_short():
    config = SelfPlayConfig(
        short_wrong_tokens=100, short_wrong_penalty=0.4, overlong_tokens=100, overlong_penalty=0.5
    )

    def paid(score: float, tokens: int, format_ok: bool = True) -> float:
        return solution_reward(format_ok, score, tokens, 1000, config)

    assert [paid(0.0, tokens) for tokens in (0, 50, 100, 900, 1000)] == pytest.approx(
        [-0.9, -0.7, -0.5, -0.5, -1.0]
    )
    assert [paid(1.0, tokens) for tokens in (0, 50, 1000)] == [1.0, 1.0, 0.5]
    assert paid(0.0, 10, format_ok=False) == -1.0
    assert solution_reward(True, 0.0, 10, 1000, SelfPlayConfig()) == -0.5
    assert solution_reward(True, 0.0, 0, 1000, replace(config, short_wrong_penalty=3.0)) == -1.0


@pytest.mark.parametrize(
    "changes",
    [
        {"seed_share": 1.5},
        {"short_wrong_tokens": -1},
        {"overlong_penalty": -0.1},
        {"overlong_tokens": -1},
        {"learnability": "half"},
    ],
)
def test_guards_out_of_range_are_refused_by_name(changes):
    with pytest.raises(ConfigError, match=rf"selfplay\.{next(iter(changes))}"):
        replace(SelfPlayConfig(), **changes).validate()
