"""The trend test against scipy and simulation, the plateau rule on series of every kind."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from azr.campaign.stagnation import (
    Course,
    ema,
    fall,
    fit_trend,
    look,
    plateau,
    residual_autocorrelation,
    robust_smooth,
    rolling_median,
    variance_inflation,
)
from azr.config.monitor import MonitorConfig

RULES = MonitorConfig(
    warmup_evaluations=5, window_evaluations=30, min_delta=0.05, confidence=0.9, patience_evaluations=6
)
DELTA = RULES.min_delta / RULES.window_evaluations
"""min_delta a window, per evaluation."""


def ar1(rng: np.random.Generator, n: int, phi: float, deviation: float) -> np.ndarray:
    noise = rng.normal(0, deviation, n)
    for index in range(1, n):
        noise[index] = phi * noise[index - 1] + np.sqrt(1 - phi**2) * noise[index]
    return noise


def first_plateau(series: np.ndarray, rules: MonitorConfig = RULES) -> int | None:
    values = series.tolist()
    for count in range(1, len(values) + 1):
        found = plateau(range(count), values[:count], rules)
        if found is not None and found.stopped:
            return count
    return None


def test_smoothing() -> None:
    assert rolling_median([1, 9, 1, 1, 1], 3).tolist() == [1, 5, 1, 1, 1]
    assert ema([2, 2, 2], 10).tolist() == [2, 2, 2]
    assert ema([0, 1], 1)[1] == pytest.approx(1 / 1.5)
    assert robust_smooth([0] * 10 + [100] + [0] * 10, 3).max() == 0


def test_uncorrelated_values_give_scipy_s_numbers() -> None:
    x = np.arange(40.0)
    # residuals alternate: nothing to correct
    y = 0.02 * x + (-1) ** x * np.random.default_rng(0).uniform(0.5, 1, 40)
    trend = fit_trend(x, y, confidence=0.9)
    slope, _, low, high = stats.theilslopes(y, x, alpha=0.9)
    assert (trend.autocorrelation, trend.inflation) == (0, 1)
    assert (trend.slope, trend.low, trend.high) == pytest.approx((slope, low, high))
    assert trend.p == pytest.approx(stats.kendalltau(x, y, method="asymptotic").pvalue, abs=0.01)


def test_the_inflation_is_hamed_and_rao_s_with_geometric_autocorrelation() -> None:
    n, phi = 25, 0.6
    expected = 1 + 2 / (n * (n - 1) * (n - 2)) * sum(
        (n - i) * (n - i - 1) * (n - i - 2) * phi**i for i in range(1, n)
    )
    assert variance_inflation(n, phi) == pytest.approx(expected)
    assert variance_inflation(n, 0) == 1


def test_autocorrelation_is_estimated_without_much_bias() -> None:
    rng = np.random.default_rng(1)
    x = np.arange(40.0)
    for phi in (0.3, 0.6):
        found = []
        for _ in range(300):
            y = ar1(rng, 40, phi, 1)
            found.append(residual_autocorrelation(y - np.polyval(np.polyfit(x, y, 1), x)))
        assert np.mean(found) == pytest.approx(phi, abs=0.08)


def test_correlated_noise_is_seldom_called_a_trend() -> None:
    """Of 5 % wanted, the uncorrected test calls about 25 %."""
    rng = np.random.default_rng(2)
    x = np.arange(40.0)
    series = [ar1(rng, 40, 0.6, 1) for _ in range(300)]
    corrected = np.mean([fit_trend(x, y).p < 0.05 for y in series])
    plain = np.mean([stats.kendalltau(x, y).pvalue < 0.05 for y in series])
    assert corrected < 0.11 < plain


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=5, max_size=40), st.floats(0.1, 10), st.floats(-5, 5))
def test_trend_keeps_order_and_scale(values: list[float], scale: float, shift: float) -> None:
    x = list(range(len(values)))
    trend = fit_trend(x, values)
    assert trend.low <= trend.slope <= trend.high
    assert 0 <= trend.p <= 1 and trend.inflation >= 1 and 0 <= trend.autocorrelation <= 0.95
    rounded = np.round(values, 6)
    plain, changed = fit_trend(x, rounded), fit_trend(x, rounded * scale + shift)
    assert changed.slope == pytest.approx(plain.slope * scale, abs=1e-6)


def test_constant_and_short_series() -> None:
    trend = fit_trend(range(10), [0.5] * 10)
    assert (trend.slope, trend.low, trend.high, trend.p) == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="at least 5"):
        fit_trend(range(4), [1, 2, 3, 4])
    assert look(range(34), [0.5] * 34, RULES) is None
    window = look(range(35), [0.5] * 35, RULES)
    assert window is not None and window.state is Course.FLAT and "gain +0.0000" in window.sentence


def test_the_gain_of_a_share_is_told_within_its_range() -> None:
    """Few and noisy evaluations gave limits of [-1.8, +1.8], a gain of 180 %."""
    window = look(range(10), [number % 2 for number in range(10)], replace(RULES, window_evaluations=5))
    assert window is not None and window.low < -1 and window.high > 1
    told = [float(number) for number in re.findall(r"[-+]\d+\.\d+", window.sentence)]
    assert len(told) == 3 and all(abs(number) <= 1 for number in told)


def test_the_gain_does_not_depend_on_the_spacing_of_steps() -> None:
    y = (0.001 * np.arange(40)).tolist()
    gains = []
    for spacing in (1, 5):
        window = look([spacing * index for index in range(40)], y, RULES)
        assert window is not None
        gains.append(window.gain)
    assert gains[0] == pytest.approx(gains[1]) == pytest.approx(0.03)


@pytest.mark.parametrize("gain", [2, 3])
def test_rising_series_are_not_stopped(gain: float) -> None:
    rng = np.random.default_rng(3)
    series = [0.2 + gain * DELTA * np.arange(110) + ar1(rng, 110, 0.5, 0.02) for _ in range(8)]
    assert [first_plateau(item) for item in series] == [None] * 8


def test_a_late_take_off_is_not_stopped() -> None:
    rng = np.random.default_rng(4)
    start = RULES.warmup_evaluations + RULES.patience_evaluations
    series = [
        0.2 + 2 * DELTA * np.maximum(np.arange(110) - start, 0) + ar1(rng, 110, 0.5, 0.02) for _ in range(8)
    ]
    assert [first_plateau(item) for item in series] == [None] * 8


def test_plateaus_are_found_in_time_and_not_before() -> None:
    rng = np.random.default_rng(5)
    for _ in range(8):
        stop = first_plateau(0.2 + 4 * DELTA * np.minimum(np.arange(140), 40) + ar1(rng, 140, 0.5, 0.02))
        assert stop is not None and 40 < stop <= 40 + 2.5 * RULES.window_evaluations


def test_too_much_noise_is_no_plateau() -> None:
    """Absence of significance alone is not an evidence: the rule says "unsure" where the data cannot exclude a
    gain."""
    rng = np.random.default_rng(6)
    y = (0.5 + rng.normal(0, 0.3, 60)).tolist()
    window = look(range(60), y, RULES)
    assert window is not None and window.state is Course.UNSURE


def test_a_rising_window_ends_a_flat_spell() -> None:
    flat, rise = [0.5] * 36, [0.5 + 0.01 * index for index in range(1, 20)]
    found = plateau(range(36), flat, RULES)
    assert found is not None and found.flat_windows == 2 and not found.stopped
    values = flat + rise
    found = plateau(range(len(values)), values, RULES)
    assert found is not None and found.window.state is Course.RISING and found.flat_windows == 0


def test_falls_are_seen_with_their_onset() -> None:
    values = [0.3, 0.4, 0.5, 0.5, 0.5, 0.1, 0.5, 0.5]  # one bad evaluation is no fall
    assert fall(values, 0.15) is None
    found = fall([*values, 0.3, 0.2, 0.2], 0.15)
    assert found is not None and (found.best, found.now, found.onset) == (0.5, 0.2, 8)
    assert fall([0.5, 0.1], 0.15) is None
