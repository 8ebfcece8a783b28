"""Estimators against brute force, textbook values and their own definitions."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.evaluate.statistics import (
    FEWEST_ITEMS,
    compare,
    mcnemar_exact,
    pass_at_k,
    share_or_mean,
    wilson_estimate,
)


@given(st.integers(1, 9), st.data())
@settings(deadline=None, max_examples=60)
def test_pass_at_k_is_the_share_of_draws_with_a_right_answer(n: int, data: st.DataObject) -> None:
    correct, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(itertools.combinations([True] * correct + [False] * (n - correct), k))
    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_with_many_samples_neither_overflows_nor_cancels() -> None:
    exact = 1 - math.comb(99_990, 100) / math.comb(100_000, 100)
    assert pass_at_k(100_000, 10, 100) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("n", "correct", "k"), [(5, 6, 1), (5, -1, 1), (5, 1, 0), (5, 1, 6)])
def test_pass_at_k_refuses_what_is_not_defined(n: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(n, correct, k)


def test_wilson_has_its_textbook_values() -> None:
    none, some = wilson_estimate(0, 10), wilson_estimate(8, 10)
    assert (none.low, none.high) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert (some.low, some.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    with pytest.raises(ValueError, match="not a share"):
        wilson_estimate(0, 0)


def test_bootstrap_agrees_with_the_normal_interval_on_many_items() -> None:
    values = [index % 4 / 3 for index in range(2000)]
    estimate = share_or_mean(values)
    error = 1.96 * math.sqrt(sum((value - 0.5) ** 2 for value in values) / 2000 / 2000)
    assert estimate.value == pytest.approx(0.5)
    assert (estimate.low, estimate.high) == pytest.approx((0.5 - error, 0.5 + error), abs=0.003)
    assert estimate == share_or_mean(values)  # seeded


def test_the_method_follows_from_the_values() -> None:
    assert share_or_mean([0, 1, 1]).method == "wilson"
    assert share_or_mean([0, 0.5, 1]).method == "bootstrap"


def test_mcnemar_is_a_fair_coin_on_the_discordant_items() -> None:
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(0, 5) == pytest.approx(2 / 2**5)
    assert mcnemar_exact(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)


def test_comparison_counts_direction_and_uses_the_exact_test_for_single_answers() -> None:
    first, second = [1] * 50 + [0] * 50, [1] * 45 + [0] * 5 + [1] * 20 + [0] * 30
    found = compare(first, second)
    assert (found.only_first, found.only_second, found.test) == (5, 20, "exact McNemar")
    assert found.difference == pytest.approx(0.15)
    assert found.low < 0.15 < found.high
    assert found.p_value == pytest.approx(mcnemar_exact(5, 20))


def test_comparison_of_shares_flips_signs() -> None:
    same = compare([0.5, 0.25, 0.0], [0.5, 0.25, 0.0])
    assert (same.p_value, same.difference) == (1.0, 0.0)
    better = compare([0.1] * 30, [0.4] * 30)
    assert better.test == "sign flip"
    assert better.p_value < 0.01


def test_comparison_refuses_unequal_lists() -> None:
    with pytest.raises(ValueError, match="same items"):
        compare([1], [1, 0])


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.5, 0.75)])
@pytest.mark.parametrize("n", [1, 5, 120])
def test_items_that_all_have_the_same_difference_leave_room_for_others(
    first: float, second: float, n: int
) -> None:
    """Their resamples are all alike: one task without a difference gave an interval of +0.0 to +0.0 points."""
    found = compare([first] * n, [second] * n)
    value = second - first
    assert found.low <= value <= found.high and found.high - found.low > 1 / n
    assert found.low >= -1 and found.high <= 1
    # the least share of the items like those that were asked, of which n alike turn up in one of 40 evaluations
    assert found.high == pytest.approx(1 - (1 - value) * 0.025 ** (1 / n))
    share = share_or_mean([0.5] * n)
    assert 0 <= share.low < 0.5 < share.high <= 1


@pytest.mark.parametrize("n", [2, 3, FEWEST_ITEMS - 1])
def test_a_few_items_that_differ_say_nothing_of_the_others(n: int) -> None:
    """Two items with half and three quarters of their answers right gave 50 to 75 %."""
    shares = [0.5, *[0.75] * (n - 1)]
    share, gained = share_or_mean(shares), compare([0.25] * n, shares)
    assert (share.low, share.high, gained.low, gained.high) == (0, 1, -1, 1)
    many = shares + [0.75] * (FEWEST_ITEMS - n)
    assert share_or_mean(many).high < 1 and compare([0.25] * FEWEST_ITEMS, many).low > 0
