"""Series for plotting: smoothing, error bands, and reduction to a bounded number of points without hiding extremes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from azr.report.metrics import FloatArray, IntArray

Z_95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""
Z_99 = 2.575829


@dataclass(frozen=True)
class Curve:
    """A line with an optional band; all arrays have equal length, x ascending, NaN = no value."""

    x: FloatArray
    y: FloatArray
    low: FloatArray | None = None
    high: FloatArray | None = None


def finite(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The points that have a value."""
    keep = np.isfinite(y)
    return np.asarray(x, dtype=np.float64)[keep], y[keep]


def thinned(count: int, most: int) -> IntArray:
    """Indices of at most ``most`` of ``count`` things in order, evenly, the first and the last included."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)


def envelope(x: FloatArray, y: FloatArray, buckets: int) -> Curve:
    """At most ``buckets`` points: mean of each bucket with its minimum and maximum as the band.

    Up to ``buckets`` points the series itself, without a band. Missing values are left out first.
    """
    x, y = finite(x, y)
    if len(x) <= buckets:
        return Curve(x, y)
    starts = _starts(len(x), buckets)
    low, high = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    return Curve(_means(x, starts), _means(y, starts), low, high)


def _starts(count: int, buckets: int) -> IntArray:
    return np.linspace(0, count, buckets + 1).astype(np.int64)[:-1]


def _means(values: FloatArray, starts: IntArray) -> FloatArray:
    return np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))


def smooth_curve(x: FloatArray, y: FloatArray, window: int, buckets: int = 240) -> Curve:
    """Centred rolling mean of ``window`` values with a 95 % band for that mean, reduced to ``buckets`` points.

    The band is 1.96 standard errors from the spread inside the window; it treats steps as independent, so it
    is a little narrow where they are not. At the ends the window is cut, and the band widens. A series of
    fewer than two windows stays as it is.
    """
    x, y = finite(x, y)
    count = len(y)
    if count < 2 * window or window < 2:
        return Curve(x, y)
    half = window // 2
    sums, squares = np.concatenate([[0.0], np.cumsum(y)]), np.concatenate([[0.0], np.cumsum(y * y)])
    index = thinned(count, buckets)
    left, right = np.maximum(index - half, 0), np.minimum(index + half + 1, count)
    n = right - left
    mean = (sums[right] - sums[left]) / n
    variance = np.maximum((squares[right] - squares[left]) / n - mean**2, 0.0) * n / np.maximum(n - 1, 1)
    error = Z_95 * np.sqrt(variance / n)
    return Curve(x[index], mean, mean - error, mean + error)


def wilson_interval(share: float, count: float, z: float = Z_95) -> tuple[float, float]:
    """Wilson interval (95 %) of a share measured on ``count`` items; (0, 1) where the count is unknown."""
    if not count or not math.isfinite(count) or count < 1:
        return 0.0, 1.0
    z2 = z * z
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = z / (1 + z2 / count) * math.sqrt(max(share * (1 - share) / count + z2 / (4 * count * count), 0.0))
    return max(0.0, centre - half), min(1.0, centre + half)


def difference_interval(first: float, second: float, count: float, z: float = Z_95) -> tuple[float, float]:
    """Interval (95 %) of ``second - first``, two shares on ``count`` items each (Newcombe's hybrid of Wilson
    intervals).

    Treats the two as independent; a paired comparison of the same items is at least as sharp for probes that
    correlate.
    """
    low_1, high_1 = wilson_interval(first, count, z)
    low_2, high_2 = wilson_interval(second, count, z)
    difference = second - first
    down = math.sqrt((second - low_2) ** 2 + (high_1 - first) ** 2)
    up = math.sqrt((high_2 - second) ** 2 + (first - low_1) ** 2)
    return difference - down, difference + up


def bucket_means(
    x: FloatArray, layers: list[FloatArray], buckets: int
) -> tuple[FloatArray, list[FloatArray]]:
    """Several series on one x axis, reduced to at most ``buckets`` means; missing values count as 0 (for
    stacked areas)."""
    x = np.asarray(x, dtype=np.float64)
    filled = [np.nan_to_num(layer, nan=0.0, posinf=0.0, neginf=0.0) for layer in layers]
    if len(x) <= buckets:
        return x, filled
    starts = _starts(len(x), buckets)
    return _means(x, starts), [_means(layer, starts) for layer in filled]
