"""Is a noisy series still rising? Smoothing, an autocorrelation-corrected trend test, and a decision with
patience.

Pure functions of numbers; docs/stagnation.md derives them and ``scripts/dev/bench_stagnation.py`` measures
how often they err.

A plateau is not "no significant trend": that also describes too little data. It is declared when the data
*exclude* a gain that matters, that is when the upper confidence limit of the gain over a window is below
``min_delta`` (an equivalence test).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import ndtri

from azr.config.monitor import MonitorConfig

FloatArray = NDArray[np.float64]
MAX_AUTOCORRELATION = 0.95
FALL_WIDTH = 3
"""Evaluations whose median is a level."""
SHRINK_WIDTHS = (5, 10)
"""Steps whose median is the length of the answers: few see a collapse soon, more see it through noise."""
SHRINK_ERRORS = 6.25
"""Standard errors by which answers must have shrunk more than in a slow decline; docs/stagnation.md says why so many."""


def _series(values: ArrayLike) -> pd.Series:
    return pd.Series(np.asarray(values, dtype=np.float64))


def rolling_median(values: ArrayLike, width: int) -> FloatArray:
    """Median of the last ``width`` values at each point (fewer at the start), [n] -> [n]."""
    return _series(values).rolling(width, min_periods=1).median().to_numpy()


def ema(values: ArrayLike, half_life: float) -> FloatArray:
    """Exponential moving average whose weights halve every ``half_life`` points, without bias to the start,
    [n] -> [n]."""
    return _series(values).ewm(halflife=half_life).mean().to_numpy()


def robust_smooth(values: ArrayLike, half_life: float) -> FloatArray:
    """Rolling median of five against outliers, then EMA against noise: for levels that are shown or compared with a limit."""
    return ema(rolling_median(values, 5), half_life)


@dataclass(frozen=True)
class Trend:
    """Theil-Sen slope with confidence limits, and the Mann-Kendall test, both corrected for autocorrelation."""

    n: int
    slope: float
    """Per unit of x."""
    low: float
    high: float
    p: float
    """Two-sided p-value of "no trend"."""
    autocorrelation: float
    """Lag-1 autocorrelation of the residuals, corrected for its bias, 0 to 0.95."""
    inflation: float
    """Factor on the variance of Mann-Kendall's S, at least 1."""


def fit_trend(x: ArrayLike, y: ArrayLike, confidence: float = 0.9) -> Trend:
    """
    Args:
        x: positions, ascending, [n].
        y: values, [n], n >= 5.
        confidence: of the two-sided interval [low, high]; each limit alone has (1 + confidence) / 2.

    Mann-Kendall's S has variance V0 = (n (n-1) (2n+5) - ties) / 18 for independent values. Hamed and Rao
    (1998) multiply it by 1 + 2 / (n (n-1) (n-2)) sum_i (n-i) (n-i-1) (n-i-2) rho_i. We take rho_i = phi^i
    with phi from the residuals, because at n = 40 single autocorrelations are too noisy to sum. The limits of
    the Theil-Sen slope come from the same corrected variance.
    """
    positions, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    n = len(values)
    if n < 5:
        raise ValueError(f"a trend needs at least 5 values, not {n}")

    above = np.triu_indices(n, 1)  # all pairs i < j
    rises = values[None, :] - values[:, None]
    slope = float(np.median(rises[above] / (positions[None, :] - positions[:, None])[above]))
    residuals = values - slope * positions

    phi = residual_autocorrelation(residuals - np.median(residuals))
    inflation = variance_inflation(n, phi)
    score = float(np.sign(rises[above]).sum())
    _, ties = np.unique(values, return_counts=True)
    tied = float((ties * (ties - 1) * (2 * ties + 5)).sum())
    variance = (n * (n - 1) * (2 * n + 5) - tied) / 18 * inflation
    z = (score - np.sign(score)) / np.sqrt(variance) if variance > 0 else 0.0

    # a wider interval of independent values is the corrected interval of correlated ones
    wider = ndtri((1 + confidence) / 2) * np.sqrt(inflation)
    slope, _, low, high = map(float, stats.theilslopes(values, positions, alpha=1 - _tails(wider)))
    return Trend(n, slope, low, high, _tails(abs(z)), phi, inflation)


def _tails(z: float) -> float:
    """Probability that a standard normal value is farther from 0 than z."""
    return math.erfc(z / math.sqrt(2))


def residual_autocorrelation(residuals: FloatArray) -> float:
    """Lag-1 autocorrelation phi, at least 0. After a line is taken out, E[r1] is about phi - (2 + 4 phi) / n;
    that is undone."""
    n = len(residuals)
    centred = residuals - residuals.mean()
    power = float(centred @ centred)
    if power <= 1e-12 * n or n < 6:  # constant: nothing to correct
        return 0.0
    r1 = float(centred[1:] @ centred[:-1]) / power
    return float(np.clip((r1 * n + 2) / (n - 4), 0.0, MAX_AUTOCORRELATION))


def variance_inflation(n: int, phi: float) -> float:
    lag = np.arange(1, n - 2)
    weights = (n - lag) * (n - lag - 1) * (n - lag - 2)
    return float(1 + 2 / (n * (n - 1) * (n - 2)) * (weights * phi**lag).sum())


class Course(str, Enum):
    """What a window of a series says."""

    RISING = "rising"
    """Significantly up."""
    FLAT = "flat"
    """A gain of ``min_delta`` over the window is excluded."""
    UNSURE = "unsure"
    """Neither: not enough data for the noise."""


@dataclass(frozen=True)
class Window:
    """One look at the last ``window_evaluations`` evaluations."""

    state: Course
    gain: float
    """Theil-Sen slope times window: rise over the window."""
    low: float
    high: float
    """Confidence limits of ``gain``."""
    trend: Trend

    @property
    def sentence(self) -> str:
        """For a series of shares, none of which rises or falls by more than 1, as few and noisy ones would have it."""
        trend = self.trend
        gain, low, high = (min(max(value, -1.0), 1.0) for value in (self.gain, self.low, self.high))
        return (
            f"gain {gain:+.4f} over {trend.n} evaluations, limits [{low:+.4f}, {high:+.4f}], "
            f"Mann-Kendall p {trend.p:.3f}, autocorrelation {trend.autocorrelation:.2f}"
        )


def look(x: Sequence[float], y: Sequence[float], rules: MonitorConfig) -> Window | None:
    """The last window; None before warm-up + window evaluations, so that it never holds the warm-up."""
    length = rules.window_evaluations
    if len(y) < rules.warmup_evaluations + length:
        return None
    positions, values = np.asarray(x[-length:], dtype=np.float64), y[-length:]
    trend = fit_trend(positions, values, confidence=2 * rules.confidence - 1)
    span = float(positions[-1] - positions[0]) * length / (length - 1)
    gain, low, high = trend.slope * span, trend.low * span, trend.high * span
    if high < rules.min_delta:
        state = Course.FLAT
    elif low > 0 and trend.p < 2 * (1 - rules.confidence):
        state = Course.RISING
    else:
        state = Course.UNSURE
    return Window(state, gain, low, high, trend)


@dataclass(frozen=True)
class Plateau:
    """The state with patience applied."""

    stopped: bool
    flat_windows: int
    """Flat windows since the last rising one, counted up to ``patience_evaluations``."""
    window: Window


def plateau(x: Sequence[float], y: Sequence[float], rules: MonitorConfig) -> Plateau | None:
    """Whether the series has stopped rising as of its last evaluation; None while nothing can be said.

    Hysteresis: windows that are neither flat nor rising do not end a spell of flat ones, only a rising one
    does; and the plateau is declared at a flat window only.
    """
    last = window = look(x, y, rules)
    if last is None:
        return None
    flat = back = 0
    while window is not None and window.state is not Course.RISING and back < rules.window_evaluations:
        flat += window.state is Course.FLAT
        if flat >= rules.patience_evaluations:
            break
        back += 1
        window = look(x[: len(x) - back], y[: len(y) - back], rules)
    return Plateau(last.state is Course.FLAT and flat >= rules.patience_evaluations, flat, last)


@dataclass(frozen=True)
class Fall:
    """A series that lost what it had."""

    best: float
    now: float
    onset: int
    """Index of the first evaluation that belongs to the fall."""


def fall(y: Sequence[float], drop: float) -> Fall | None:
    """A fall of more than ``drop`` below the best level so far; None if there is none.

    Levels are medians of ``FALL_WIDTH`` evaluations, so a single bad one is no fall.
    """
    if len(y) < 2 * FALL_WIDTH:
        return None
    levels = rolling_median(y, FALL_WIDTH)[FALL_WIDTH - 1 :]
    best, now = float(levels.max()), float(levels[-1])
    if now >= best - drop:
        return None
    onset = len(y)
    while onset and y[onset - 1] < best - drop / 2:
        onset -= 1
    return Fall(best, now, min(onset, len(y) - 1))


@dataclass(frozen=True)
class Shrinkage:
    """Answers that suddenly became short."""

    before: float
    now: float
    """Tokens of an answer."""
    onset: int
    """Index of the first step with short ones."""


def step_noise(values: ArrayLike) -> float:
    """Standard deviation of one value of a series, [n], from the changes between neighbours: their mean size is
    2 / sqrt(pi) of it, and a level that moves hardly touches them."""
    return float(np.abs(np.diff(values)).mean()) * math.sqrt(math.pi) / 2


def shrinkage(tokens: Sequence[float], accuracy: Sequence[float], rules: MonitorConfig) -> Shrinkage | None:
    """Whether the answers of a solve stream collapsed as of its last step; None if not.

    With few answers a step, medians of lengths halve by chance: the mean logarithm must have fallen, too, by a third
    of what a collapse is and ``SHRINK_ERRORS`` standard errors, which come from the same steps.

    Long answers that were right less than half as often are no loss: a model that learns the required form writes
    less and is right more often.

    Args:
        tokens, accuracy: means of each step, [n] each.
    """
    return next(filter(None, (_shrinkage(tokens, accuracy, rules, width) for width in SHRINK_WIDTHS)), None)


def _shrinkage(
    tokens: Sequence[float], accuracy: Sequence[float], rules: MonitorConfig, width: int
) -> Shrinkage | None:
    window = rules.thoughts_window_steps
    if len(tokens) < rules.thoughts_warmup_steps + window + width:
        return None
    then, lately = slice(-window - width, -width), slice(-width, None)
    before, now = float(np.median(tokens[then])), float(np.median(tokens[lately]))
    if now >= rules.thoughts_share * before:
        return None
    logs = np.log(np.maximum(tokens[-window - width :], 1))
    error = step_noise(logs) * math.sqrt(1 / window + 1 / width)
    fell = logs[:-width].mean() - logs[-width:].mean()
    if fell < -math.log(rules.thoughts_share) / 3 + SHRINK_ERRORS * error:
        return None
    between = (before + now) / 2
    of_long = [right for length, right in zip(tokens[then], accuracy[then], strict=True) if length >= between]
    if 2 * np.mean(of_long) < np.mean(accuracy[lately]):
        return None
    onset = len(tokens) - width // 2 - 1  # most of the last ones are short
    while onset and tokens[onset - 1] < between:
        onset -= 1
    return Shrinkage(before, now, onset)
