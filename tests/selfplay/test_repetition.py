"""How much the proposer repeats itself, and what that costs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selfplay_helpers import task

from azr.config.selfplay import SelfPlayConfig
from azr.selfplay.credit import assign_rewards
from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import Completion, ProposeOutcome
from azr.selfplay.repetition import WINDOW, repetition, tree_paths
from azr.tasks import Prompt, Role, Stream, TaskType

TABLE = """def f(s):
    dp = [[0] * len(s) for _ in range(len(s))]
    for i in range(len(s)):
        dp[i][i] = 1
    for length in range(2, len(s) + 1):
        for start in range(len(s) - length + 1):
            end = start + length - 1
            dp[start][end] = max(dp[start + 1][end], dp[start][end - 1])
    return dp[0][len(s) - 1]"""
ANOTHER_TABLE = """def f(a, b):
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i][j] = max(table[i - 1][j], table[i][j - 1])
    return table[len(a)][len(b)]"""
PLAIN = "def f(words):\n    return ' '.join(word.title() for word in words if word)"


def test_what_makes_two_programs_the_same_exercise():
    renamed = TABLE.replace("dp", "cells").replace("start", "left").replace("1", "3")
    assert tree_paths(renamed) == tree_paths(TABLE)
    assert repetition(ANOTHER_TABLE, [TABLE]) == 1
    assert repetition(PLAIN, [TABLE, PLAIN, TABLE, TABLE]) == 0.25
    assert repetition(PLAIN.replace("title", "upper"), [PLAIN]) == 1
    assert repetition("def f(x):\n    return x + 1", [PLAIN, TABLE]) == 0


def test_what_cannot_be_read_repeats_nothing():
    assert repetition("def f(:", ["def f(:"]) == 0
    assert repetition(PLAIN, []) == 0
    assert repetition("def f(x):\n    return " + "-" * 3000 + "x", [PLAIN]) == 0


@given(
    st.lists(st.sampled_from([TABLE, ANOTHER_TABLE, PLAIN, "x = (", ""]), max_size=8), st.text(max_size=40)
)
def test_it_is_a_share(latest: list[str], program: str):
    assert 0 <= repetition(program, latest) <= 1


def proposal(code: str, row: int, kind: TaskType = TaskType.DEDUCTION) -> ProposeOutcome:
    return ProposeOutcome(
        stream=Stream(Role.PROPOSE, kind),
        row_id=f"{row:03d}",
        prompt=Prompt((("user", ""),), raw=True),
        completion=Completion("", 10, True),
        format_ok=True,
        task=replace(task(code, "'ab'", "'ab'"), task_type=kind),
        rejection=None,
        accuracy=0.5,
        learnability=0.5,
    )


def game_with(codes: list[str], penalty: float) -> SelfPlay:
    game = SelfPlay(SelfPlayConfig(repetition_penalty=penalty), seed=1)
    for step, code in enumerate(codes, start=1):
        game.buffers[TaskType.DEDUCTION].add(task(code, f"'{step}'", "0"), step)
    return game


@pytest.mark.parametrize(("penalty", "expected"), [(0.0, 0.5), (1.0, -0.25), (4.0, -1.0)])
def test_a_proposal_loses_with_the_share_that_it_resembles(penalty: float, expected: float):
    game = game_with([TABLE, TABLE, TABLE, PLAIN], penalty)
    again, other = assign_rewards(
        [proposal(ANOTHER_TABLE, 1), proposal("def f(x):\n    return x", 2)], game, 100
    )
    assert isinstance(again, ProposeOutcome) and isinstance(other, ProposeOutcome)
    assert (again.repetition, again.reward) == (0.75, expected)
    assert (other.repetition, other.reward) == (0.0, 0.5)

    game.accept(5, [again, other])
    assert game.metrics()["data/repetition"] == pytest.approx(0.375)


def test_an_induction_task_has_its_program_from_the_buffer():
    game = game_with([TABLE], 1.0)
    [outcome] = assign_rewards([proposal(TABLE, 1, TaskType.INDUCTION)], game, 100)
    assert isinstance(outcome, ProposeOutcome)
    assert (outcome.repetition, outcome.reward) == (None, 0.5)


def test_only_the_latest_programs_count():
    game = game_with([TABLE] * 5 + [f"def f(x):\n    return x.m{number}()" for number in range(WINDOW)], 1.0)
    assert len(game.latest_programs()) == WINDOW
    assert TABLE not in game.latest_programs()
