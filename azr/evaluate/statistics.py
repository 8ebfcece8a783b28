"""How sure a score is: pass@k, intervals, paired comparison. Pure functions of numbers.

Intervals are two-sided with 95 % confidence. Items are the unit of everything: samples of one item are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
RESAMPLES = 10_000
FEWEST_ITEMS = 10
"""Of fewer, resamples are nearly all alike: their interval holds the true mean far less often than it says."""
_CHUNK = 500
"""Resamples drawn at once: bounds the memory of a bootstrap at 500 x items indices."""


@dataclass(frozen=True)
class ScoreEstimate:
    """A score between 0 and 1 with its interval."""

    value: float
    low: float
    high: float
    n: int
    """Items it was measured on."""
    method: str
    """``wilson`` or ``bootstrap``."""


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Chance that at least one of ``k`` samples is right, estimated without bias from ``correct`` of ``n``
    (arXiv 2107.03374, eq. 1).

    Raises:
        ValueError: not 0 <= correct <= n, or not 1 <= k <= n.
    """
    if not 0 <= correct <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {correct} right among {n} samples is not defined")
    if n - correct < k:
        return 1.0
    # 1 - C(n-c, k) / C(n, k), as a product that neither overflows nor cancels
    return 1.0 - math.prod(1.0 - k / i for i in range(n - correct + 1, n + 1))


def wilson_estimate(right: int, n: int) -> ScoreEstimate:
    """A share with its Wilson score interval.

    Raises:
        ValueError: n is 0, or right is not between 0 and n.
    """
    if n < 1 or not 0 <= right <= n:
        raise ValueError(f"{right} right of {n} items is not a share")
    interval = stats.binomtest(right, n).proportion_ci(CONFIDENCE, method="wilson")
    return ScoreEstimate(right / n, float(interval.low), float(interval.high), n, "wilson")


def share_or_mean(values: Sequence[float]) -> ScoreEstimate:
    """The mean over items with a 95 % interval: Wilson's where every value is 0 or 1, else a percentile bootstrap
    (shares of several samples, pass@k).

    Raises:
        ValueError: there are no values.
    """
    if all(value in (0, 1) for value in values):
        return wilson_estimate(int(sum(values)), len(values))
    low, high = _interval(np.asarray(values, dtype=np.float64), lowest=0)
    return ScoreEstimate(float(np.mean(values)), low, high, len(values), "bootstrap")


@dataclass(frozen=True)
class Comparison:
    """Two models on the same items; positive differences favour the second."""

    n: int
    difference: float
    low: float
    high: float
    """Paired bootstrap interval of the difference (``_interval``)."""
    only_first: int
    """Items that only the first model got right (more right than the second, with several samples)."""
    only_second: int
    p_value: float
    """Two-sided: exact McNemar for one answer an item, else the sign-flip test of the mean difference."""
    test: str


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Paired comparison of per-item scores in the same order.

    Raises:
        ValueError: the lengths differ, or there are no items.
    """
    if len(first) != len(second) or not first:
        raise ValueError(
            f"a paired comparison needs the same items twice, got {len(first)} and {len(second)}"
        )
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    low, high = _interval(differences, lowest=-1)
    only_first, only_second = int((differences < 0).sum()), int((differences > 0).sum())
    if all(value in (0, 1) for value in (*first, *second)):
        p_value, test = mcnemar_exact(only_first, only_second), "exact McNemar"
    else:
        p_value, test = _sign_flip(differences), "sign flip"
    return Comparison(
        len(first), float(differences.mean()), low, high, only_first, only_second, p_value, test
    )


def _interval(values: np.ndarray, *, lowest: float) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of values from ``lowest`` to 1; the whole range of fewer than
    ``FEWEST_ITEMS``, unless they are all alike.

    Resamples of equal values are all alike, which says nothing of the items that were not asked. So many equal ones in a row
    mean with the same confidence that at least the share ``_TAILS[0] ** (1 / n)`` of all items is like them; the others may
    have any value.
    """
    value = float(values[0])
    if (values != value).any():
        if len(values) < FEWEST_ITEMS:
            return lowest, 1.0
        low, high = np.quantile(_resampled_means(values), _TAILS)
        return float(low), float(high)
    alike = _TAILS[0] ** (1 / len(values))
    return alike * value + (1 - alike) * lowest, alike * value + (1 - alike)


def widened(comparison: Comparison, factor: float) -> Comparison:
    """The comparison for an error that is ``factor`` times (>= 1) what its items alone say."""
    if factor == 1:
        return comparison
    value = comparison.difference
    return replace(
        comparison,
        low=max(value - factor * (value - comparison.low), -1.0),
        high=min(value + factor * (comparison.high - value), 1.0),
        p_value=float(2 * stats.norm.sf(stats.norm.isf(comparison.p_value / 2) / factor)),
        test=f"{comparison.test} (widened for the choice of style)",
    )


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p-value of the exact McNemar test: discordant items fall on either side like a fair coin."""
    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def _resampled_means(values: np.ndarray) -> np.ndarray:
    """[RESAMPLES] means of resamples with replacement."""
    random = np.random.default_rng(0)
    n = len(values)
    return np.concatenate(
        [values[random.integers(0, n, (_CHUNK, n))].mean(axis=1) for _ in range(RESAMPLES // _CHUNK)]
    )


def _sign_flip(differences: np.ndarray) -> float:
    """Two-sided Monte Carlo p-value of the mean when each item's difference may have either sign."""
    random = np.random.default_rng(0)
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    observed = abs(nonzero.sum()) - 1e-12
    extreme = 0
    for _ in range(RESAMPLES // _CHUNK):
        signs = random.integers(0, 2, (_CHUNK, len(nonzero))) * 2 - 1
        extreme += int((np.abs((signs * nonzero).sum(axis=1)) >= observed).sum())
    return (extreme + 1) / (RESAMPLES + 1)
