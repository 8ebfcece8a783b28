"""Control arms: what they change, and that they change nothing else."""

import pytest

from azr.selfplay.advantage import task_relative_advantages
from azr.selfplay.control_experiments import controlled_rewards

STREAMS = ["propose-deduction"] * 6 + ["solve-deduction"] * 8 + ["solve-abduction"] * 2
REWARDS = [float(i) for i in range(16)]
FORMATS = [i % 3 > 0 for i in range(16)]


def test_none_changes_nothing():
    assert controlled_rewards("none", REWARDS, STREAMS, FORMATS, 1, 1) == REWARDS


def test_frozen_proposer_has_no_advantage_and_solvers_keep_theirs():
    rewards = controlled_rewards("proposer_frozen", REWARDS, STREAMS, FORMATS, 1, 1)
    advantages = task_relative_advantages(rewards, [5] * 16, STREAMS)
    plain = task_relative_advantages(REWARDS, [5] * 16, STREAMS)
    assert not advantages[:6].any()
    assert (advantages[6:] == plain[6:]).all() and plain[6:].any()


def test_shuffle_stays_inside_each_stream_and_is_seeded():
    first = controlled_rewards("shuffled_rewards", REWARDS, STREAMS, FORMATS, 1, 1)
    assert first == controlled_rewards("shuffled_rewards", REWARDS, STREAMS, FORMATS, 1, 1)
    assert first != REWARDS
    assert first != controlled_rewards("shuffled_rewards", REWARDS, STREAMS, FORMATS, 1, 2)
    for stream in set(STREAMS):
        rows = [row for row, name in enumerate(STREAMS) if name == stream]
        assert sorted(first[row] for row in rows) == [REWARDS[row] for row in rows]


def test_unknown_control_and_uneven_lists_are_refused():
    with pytest.raises(ValueError, match="one of"):
        controlled_rewards("off", [1.0], ["solve-deduction"], [True], 1, 1)
    with pytest.raises(ValueError, match="agree"):
        controlled_rewards("none", [1.0], ["solve-deduction"], [], 1, 1)


def test_format_only_pays_form_whatever_the_answer_is_worth():
    rewards = controlled_rewards("format_only", REWARDS, STREAMS, FORMATS, 1, 1)
    assert set(rewards) == {1.0, -1.0} and [reward > 0 for reward in rewards] == FORMATS
    assert rewards == controlled_rewards("format_only", REWARDS[::-1], STREAMS, FORMATS, 1, 1)
