"""Charts as inline SVG text: pure functions, no network, no script needed to read them.

Colours are CSS classes (``c0`` ... ``c7``), so that light and dark come from the page. Each chart carries its
points as JSON in ``data-chart``, which the page's script uses to show values under the pointer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from markupsafe import Markup, escape

from azr.report.metrics import FloatArray
from azr.report.series import Curve, thinned
from azr.report.text import number

WIDTH, HEIGHT = 460, 236
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34
MAX_MARKS = 60
"""Marks of one kind beyond this are thinned out evenly; the incidents table lists all."""

MAX_DOTS = 60
"""A line of more points is drawn without dots, which would merge into a rope."""

ValueFormat = Callable[[float], str]
Values = TypeVar("Values", float, FloatArray)


@dataclass(frozen=True)
class Line:
    label: str
    curve: Curve
    colour: int
    """0 to 7: index of the CSS class."""
    dots: bool = False
    """Draw the points; for series with few of them."""
    bold: bool = False


@dataclass(frozen=True)
class Mark:
    """A vertical line at a step: where a cycle began, or something happened (``azr.report.panel``)."""

    x: float
    kind: str
    """CSS class: ``cycle``, ``incident`` or ``asked``."""
    label: str


@dataclass(frozen=True)
class Scale:
    """Linear map from data to picture, with round ticks."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: Values) -> Values:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round values (1, 2 or 5 times a power of ten) from ``low`` to ``high``."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / max(count, 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def plain_number(value: float) -> str:
    return number(value, 3)


def percent_tick(value: float) -> str:
    return f"{100 * value:.0f} %" if abs(100 * value - round(100 * value)) < 1e-6 else f"{100 * value:.1f} %"


def tick_texts(values: Sequence[float], y_format: ValueFormat) -> list[str]:
    """The ticks in words; with more digits where two of them would read the same."""
    texts = [y_format(value) for value in values]
    digits = 3
    while y_format is plain_number and len(set(texts)) < len(texts) and digits < 8:
        digits += 1
        texts = [number(value, digits) for value in values]
    return texts


def _range(arrays: Sequence[FloatArray], fixed: tuple[float | None, float | None]) -> tuple[float, float]:
    values = [array[np.isfinite(array)] for array in arrays]
    values = [array for array in values if len(array)]
    low = min((float(array.min()) for array in values), default=0.0)
    high = max((float(array.max()) for array in values), default=1.0)
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 0.5
    low = low - margin if fixed[0] is None else fixed[0]
    high = high + margin if fixed[1] is None else fixed[1]
    return (low, high) if high > low else (low, low + 1.0)


def _points(xs: FloatArray, ys: FloatArray) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True))


def _between(kind: str, xs: FloatArray, high: FloatArray, low: FloatArray) -> str:
    """The area between two lines."""
    points = _points(np.concatenate([xs, xs[::-1]]), np.concatenate([high, low[::-1]]))
    return f'<polygon class="{kind}" points="{points}"/>'


def _tick(x: float, y: float, anchor: Literal["middle", "end"], text: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _axes(x: Scale, y: Scale, y_format: ValueFormat, x_label: str) -> str:
    ends = f'x1="{LEFT}" x2="{WIDTH - RIGHT}"'
    parts = []
    values = ticks(y.low, y.high, 4)
    for value, text in zip(values, tick_texts(values, y_format), strict=True):
        at = y(value)
        parts.append(f'<line class="grid" {ends} y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(_tick(LEFT - 6, at + 3.5, "end", text))
    for value in ticks(x.low, x.high, 6):
        if abs(value - round(value)) <= 1e-9:
            parts.append(_tick(x(value), HEIGHT - BOTTOM + 15, "middle", f"{value:,.0f}"))
    parts.append(_tick(WIDTH - RIGHT, HEIGHT - 3, "end", x_label))
    parts.append(f'<line class="axis" {ends} y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    return "".join(parts)


def thin_marks(marks: Sequence[Mark]) -> list[Mark]:
    """At most ``MAX_MARKS`` of each kind."""
    kept: list[Mark] = []
    for kind in dict.fromkeys(mark.kind for mark in marks):
        of_kind = [mark for mark in marks if mark.kind == kind]
        kept += [of_kind[index] for index in thinned(len(of_kind), MAX_MARKS)]
    return kept


def _marks(marks: Sequence[Mark], x: Scale) -> str:
    parts = []
    for mark in thin_marks(marks):
        if x.low <= mark.x <= x.high:
            at = f"{x(mark.x):.1f}"
            line = f'<line class="mark {mark.kind}" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
            parts.append(f"{line}<title>{escape(mark.label)}</title></line>")
    return "".join(parts)


def _wrap(body: str, title: str, hover: dict[str, object] | None) -> Markup:
    data = f" data-chart='{escape(json.dumps(hover, separators=(',', ':')))}'" if hover else ""
    label = escape(title)
    # Everything in ``body`` is made of numbers and of texts escaped where they were put in.
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}"{data}>{body}</svg>'
    )


def _rounded(values: FloatArray) -> list[float | None]:
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values.tolist()]


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    marks: Sequence[Mark] = (),
    y_low: float | None = None,
    y_high: float | None = None,
    y_format: ValueFormat = plain_number,
    x_label: str = "step",
    x_range: tuple[float, float] | None = None,
) -> Markup:
    """Lines with bands. Empty lines are left out; without any line an empty frame is drawn.

    With ``y_format=percent_tick`` the values are shares: axis and bands end at 0 and 1, where the normal band
    of a smoothed share does not.
    """
    lines = [line for line in lines if len(line.curve.x)]
    steps = np.concatenate([line.curve.x for line in lines]) if lines else np.array([0.0, 1.0])
    low_x, high_x = x_range or (float(steps.min()), float(steps.max()))
    if high_x <= low_x:
        low_x, high_x = low_x - 1, high_x + 1
    parts = (part for line in lines for part in (line.curve.y, line.curve.low, line.curve.high))
    arrays = [part for part in parts if part is not None]
    x = Scale(low_x, high_x, LEFT, WIDTH - RIGHT)
    low_y, high_y = _range(arrays, (y_low, y_high))
    if y_format is percent_tick:
        low_y, high_y = max(low_y, 0.0), min(high_y, 1.0)
    y = Scale(low_y, high_y, HEIGHT - BOTTOM, TOP)
    body = [_axes(x, y, y_format, x_label), _marks(marks, x)]
    for line in lines:
        curve = line.curve
        if curve.low is not None and curve.high is not None:
            high, low = (y(np.clip(edge, y.low, y.high)) for edge in (curve.high, curve.low))
            body.append(_between(f"band c{line.colour}", x(curve.x), high, low))
    for line in lines:
        xs, ys = x(line.curve.x), y(np.clip(line.curve.y, y.low, y.high))
        body.append(
            f'<polyline class="line c{line.colour}{" bold" if line.bold else ""}" points="{_points(xs, ys)}"/>'
        )
        if len(xs) == 1 or (line.dots and len(xs) <= MAX_DOTS):
            body += [
                f'<circle class="dot c{line.colour}" cx="{at_x:.1f}" cy="{at_y:.1f}" r="2.6"/>'
                for at_x, at_y in zip(xs.tolist(), ys.tolist(), strict=True)
            ]
    points = [(line.label, line.colour, line.curve.x, line.curve.y) for line in lines]
    return _wrap("".join(body), title, _hover(x, y_format, x_label, points) if lines else None)


def _hover(
    x: Scale, y_format: ValueFormat, unit: str, series: Sequence[tuple[str, int, FloatArray, FloatArray]]
) -> dict[str, object]:
    """What the page's script shows under the pointer; ``series`` are label, colour, x and y of each line."""
    return {
        "box": [LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM],
        "range": [x.low, x.high],
        "percent": y_format is percent_tick,
        "unit": unit,
        "series": [
            {"label": label, "c": colour, "x": _rounded(xs), "y": _rounded(ys)}
            for label, colour, xs, ys in series
        ],
    }


@dataclass(frozen=True)
class Layer:
    label: str
    values: FloatArray
    colour: int


def stacked_chart(
    title: str,
    x_values: FloatArray,
    layers: Sequence[Layer],
    *,
    marks: Sequence[Mark] = (),
) -> Markup:
    """Stacked areas from 0, first layer at the bottom. ``x_values`` ascending, one value of each layer per x."""
    if not len(x_values) or not layers:
        return _wrap("", title, None)
    if len(x_values) == 1:
        x_values = x_values[0] + np.array([-0.5, 0.5])
        layers = [Layer(layer.label, np.repeat(layer.values, 2), layer.colour) for layer in layers]
    total = np.sum([layer.values for layer in layers], axis=0)
    x = Scale(float(x_values[0]), float(x_values[-1]), LEFT, WIDTH - RIGHT)
    high = float(total.max()) * 1.06 or 1.0
    y = Scale(0.0, high, HEIGHT - BOTTOM, TOP)
    xs = x(x_values)
    below = np.zeros_like(total)
    body = []
    for layer in layers:
        above = below + layer.values
        edges = (y(np.clip(edge, 0, high)) for edge in (above, below))
        body.append(_between(f"area c{layer.colour}", xs, *edges))
        below = above
    points = [(layer.label, layer.colour, x_values, layer.values) for layer in layers]
    hover = _hover(x, plain_number, "step", points)
    return _wrap("".join(body) + _axes(x, y, plain_number, "step") + _marks(marks, x), title, hover)


def heat_map(
    title: str,
    columns: Sequence[tuple[float, float]],
    shares: Sequence[Sequence[float]],
    row_labels: Sequence[str],
) -> Markup:
    """A column per range of steps, a row per class (first at the bottom), darker = larger share of the column.

    Args:
        columns: (first, last) step of each column.
        shares: per column, one share per row, 0 to 1; a column without data has only zeros.
    """
    if not columns or not row_labels:
        return _wrap("", title, None)
    left = LEFT + 40
    x = Scale(0, len(columns), left, WIDTH - RIGHT)
    row_height = (HEIGHT - BOTTOM - TOP) / len(row_labels)
    peak = max((max(column, default=0.0) for column in shares), default=0.0) or 1.0
    body = []
    for row, label in enumerate(row_labels):
        top = HEIGHT - BOTTOM - (row + 1) * row_height
        body.append(_tick(left - 6, top + row_height / 2 + 3.5, "end", label))
        for index, column in enumerate(shares):
            share = column[row]
            if share <= 0:
                continue
            first, last = columns[index]
            span = f"step {first:,.0f}" if first == last else f"steps {first:,.0f} to {last:,.0f}"
            place = f'x="{x(index):.1f}" y="{top:.1f}" width="{x(index + 1) - x(index) - 0.5:.1f}" height="{row_height - 1:.1f}"'
            tip = f"<title>{escape(label)}: {100 * share:.0f} % of {span}</title>"
            body.append(
                f'<rect class="cell c0" {place} fill-opacity="{0.08 + 0.92 * share / peak:.2f}">{tip}</rect>'
            )
    for value in ticks(columns[0][0], columns[-1][1], 5):
        index = next((index for index, (first, last) in enumerate(columns) if first <= value <= last), None)
        if index is not None and value == round(value):
            body.append(_tick(x(index + 0.5), HEIGHT - BOTTOM + 15, "middle", f"{value:,.0f}"))
    body.append(_tick(WIDTH - RIGHT, HEIGHT - 3, "end", "step"))
    return _wrap("".join(body), title, None)


def spark_svg(values: FloatArray, colour: int) -> Markup:
    """A small line without axes for tables."""
    width, height = 120, 26
    keep = np.isfinite(values)
    xs, ys = np.flatnonzero(keep).astype(np.float64), values[keep]
    if len(ys) < 2:
        return Markup("")
    span = float(ys.max() - ys.min())
    x = Scale(0, max(len(values) - 1, 1), 1, width - 1)
    y = Scale(float(ys.min()), float(ys.min()) + (span or 1.0), height - 3, 3)
    points = _points(x(xs), y(ys) if span else np.full(len(ys), height / 2))
    line = f'<polyline class="line c{colour}" points="{points}"/>'
    return Markup(f'<svg class="spark" viewBox="0 0 {width} {height}" aria-hidden="true">{line}</svg>')
