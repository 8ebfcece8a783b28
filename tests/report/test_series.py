from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.report.charts import ticks
from azr.report.series import bucket_means, difference_interval, envelope, smooth_curve, wilson_interval
from azr.report.text import duration, number, percent, sparkline


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=500), st.integers(2, 50))
def test_an_envelope_hides_no_extreme(values: list[float], buckets: int) -> None:
    y = np.array(values)
    curve = envelope(np.arange(len(y), dtype=float), y, buckets)
    assert len(curve.x) <= max(buckets, 1)
    low = curve.y if curve.low is None else curve.low
    high = curve.y if curve.high is None else curve.high
    assert low.min() == y.min() and high.max() == y.max()


def test_wilson_agrees_with_known_values() -> None:
    low, high = wilson_interval(0.5, 100)
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)
    assert wilson_interval(0.0, 10)[0] == 0.0 and round(wilson_interval(0.0, 10)[1], 4) == 0.2775


def test_the_difference_interval_agrees_with_newcombe() -> None:
    # Newcombe 1998, table II, method 10, example (a): 56/70 against 48/80 gives 0.0524 to 0.3339; equal
    # counts here.
    interval = difference_interval(0.5, 0.6, 1000)
    assert interval is not None
    assert interval[0] == pytest.approx(0.0564, abs=5e-4) and interval[1] == pytest.approx(0.1431, abs=5e-4)


def test_smoothing_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        curve = smooth_curve(np.arange(201.0), rng.normal(0.3, 1.0, 201), 51)
        assert curve.low is not None and curve.high is not None
        inside += bool(curve.low[100] <= 0.3 <= curve.high[100])
    assert 180 <= inside <= 199


def test_smoothing_leaves_out_missing_values() -> None:
    y = np.array([1.0, np.nan, 1.0, np.inf, 1.0, 1.0])
    curve = smooth_curve(np.arange(6.0), y, 2)
    assert curve.x.tolist() == [0, 2, 4, 5] and np.allclose(curve.y, 1.0) and curve.low is not None
    assert smooth_curve(np.arange(3.0), np.array([1.0, 5.0, 2.0]), 5).y.tolist() == [1, 5, 2], (
        "too short to smooth"
    )


def test_bucket_means_keep_the_total() -> None:
    x, (layer,) = bucket_means(np.arange(100.0), [np.ones(100)], 7)
    assert len(x) == 7 and np.allclose(layer, 1.0)


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 1, 4) == pytest.approx([0, 0.5, 1.0]) or ticks(0, 1, 4) == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1]
    )
    for low, high in ((0.0, 7.3), (-3.0, 12345.0), (1e-7, 2e-7), (5.0, 5.0)):
        values = ticks(low, high)
        assert values and all(low - 1e-9 <= value <= high + 1e-9 for value in values)


def test_words_for_numbers() -> None:
    assert [duration(s) for s in (None, 4.2, 75, 1800, 3 * 3600 + 300, 52 * 3600)] == [
        "–",
        "4.2 s",
        "75 s",
        "30 min",
        "3 h 05 min",
        "2 d 4 h",
    ]
    values = {None: "–", 0: "0", 7063: "7,063", 0.0123: "0.0123", 12.5: "12.5", 100: "100", float("nan"): "–"}
    values |= {1e-6: "1e-6", -2.5e-5: "−2.5e-5", -0.5: "−0.5", -2000: "−2,000"}
    assert {value: number(value) for value in values} == values
    assert percent(0.4312) == "43.1\u00a0%"


def test_sparkline_has_the_asked_width_and_shape() -> None:
    assert sparkline(np.array([0.0, 1.0]), 5, 0, 1) == "▁█   "
    assert len(sparkline(np.arange(1000.0), 12)) == 12 and sparkline(np.arange(1000.0), 3) == "▁▅█"
    assert sparkline(np.full(3, np.nan), 4) == "    "
