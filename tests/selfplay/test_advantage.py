import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.selfplay.advantage import EPSILON, indices_to_learn_from, task_relative_advantages


def test_appendix_b():
    advantages = task_relative_advantages([1.0, -0.5, -1.0], [100, 50, 50], ["s"] * 3)
    np.testing.assert_allclose(advantages, [0.97774, -0.69839, -1.25710], atol=1e-5)


def test_sequence_mode_ignores_lengths():
    rewards = np.array([1.0, -0.5, -1.0])
    advantages = task_relative_advantages(rewards, [100, 50, 50], ["s"] * 3, mode="sequence")
    np.testing.assert_allclose(advantages, (rewards - rewards.mean()) / rewards.std(ddof=1), rtol=1e-6)


@pytest.mark.parametrize("mode", ["token", "sequence", "group"])
def test_equal_rewards_are_exactly_zero(mode):
    advantages = task_relative_advantages(
        [0.1] * 5, [3, 9, 1, 7, 2], ["s"] * 5, mode=mode, groups=["a", "a", "b", "b", None]
    )
    assert (advantages == 0).all()


def test_streams_do_not_see_each_other():
    alone = task_relative_advantages([1, -1], [5, 7], ["a", "a"])
    together = task_relative_advantages([1, 9, -1, 3], [5, 2, 7, 8], ["a", "b", "a", "b"])
    np.testing.assert_array_equal(alone, together[[0, 2]])


def test_padding_rows_take_no_part():
    padded = task_relative_advantages([1, 100, -1], [5, 0, 7], ["a"] * 3)
    np.testing.assert_array_equal(padded[[0, 2]], task_relative_advantages([1, -1], [5, 7], ["a"] * 2))
    assert padded[1] == 0


def test_groups_compare_answers_to_one_task():
    rewards = [1, -0.5, -0.5, 1, 1, 1, 1, -1]
    groups = ["a", "a", "a", "b", "b", "b", None, None]
    advantages = task_relative_advantages(rewards, [10] * 8, ["s"] * 8, mode="group", groups=groups)
    assert advantages[0] > 0 > advantages[1] == advantages[2]
    assert (advantages[3:6] == 0).all()  # everyone right: nothing to learn
    assert advantages[6] > 0 > advantages[7]


def test_a_single_response_is_zero():
    assert task_relative_advantages([1.0], [1], ["s"]).tolist() == [0.0]
    assert task_relative_advantages([1.0], [50], ["s"]).tolist() == [0.0]


def test_arguments_must_agree():
    with pytest.raises(ValueError):
        task_relative_advantages([1.0], [1, 2], ["s"])
    with pytest.raises(ValueError):
        task_relative_advantages([1.0], [1], ["s"], mode="batch")


rows = st.lists(
    st.tuples(
        st.sampled_from([-1.0, -0.5, 0.125, 0.5, 0.875, 1.0]), st.integers(1, 500), st.sampled_from("abc")
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(rows)
def test_token_weighted_mean_zero_and_unit_variance(batch):
    rewards, lengths, streams = (np.array(column) for column in zip(*batch, strict=True))
    advantages = task_relative_advantages(rewards, lengths, list(streams))
    for stream in set(streams):
        mask = streams == stream
        tokens = np.repeat(advantages[mask], lengths[mask])
        if len(set(rewards[mask])) == 1:
            assert (tokens == 0).all()
        else:
            assert abs(tokens.mean()) < 1e-6
            variance = np.repeat(rewards[mask], lengths[mask]).var(ddof=1)
            unit = np.sqrt(
                variance / (variance + EPSILON)
            )  # far below 1 only where the rewards hardly differ
            assert tokens.std(ddof=1) == pytest.approx(unit, abs=1e-4)
            order = np.argsort(rewards[mask], kind="stable")
            assert (np.diff(advantages[mask][order]) >= 0).all()


@pytest.mark.parametrize(
    ("advantages", "multiple", "rows"),
    [
        ([0.0, 1.0, 0.0, -1.0], 1, [1, 3]),
        ([0.0, 1.0, 0.0, -1.0, 0.5], 2, [0, 1, 3, 4]),
        ([0.0, 1.0, 0.0], 2, [0, 1]),
        ([1.0, 1.0, 1.0], 1, [0, 1, 2]),
        ([0.0, 0.0], 1, [0, 1]),  # nothing to learn: the update goes through all the same
    ],
)
def test_rows_without_an_advantage_can_be_left_out(advantages, multiple, rows):
    assert indices_to_learn_from(np.array(advantages) != 0, multiple) == rows
