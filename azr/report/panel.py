"""One panel of the report: a chart with its words, and the curves that most of them draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from azr.report.charts import Layer, Line, Mark, line_chart, percent_tick, plain_number, stacked_chart
from azr.report.marks import mark_legend
from azr.report.metrics import FloatArray, MetricsTable
from azr.report.series import Curve, finite, smooth_curve, wilson_interval, window_for
from azr.report.text import number, percent
from azr.run import metric_names as names

BUCKETS = 240


@dataclass(frozen=True)
class LegendItem:
    label: str
    colour: int
    value: str = ""


@dataclass(frozen=True)
class Panel:
    title: str
    why: str
    """What the chart shows and how to read it, in a sentence or two."""
    svg: Markup
    legend: tuple[LegendItem, ...] = ()

    @property
    def marks(self) -> tuple[tuple[str, str], ...]:
        """Legend of the vertical lines: (CSS class, words)."""
        return mark_legend(self.svg)


def probe_curve(table: MetricsTable, name: str, *, band: bool) -> Curve:
    """Measured scores, with Wilson intervals if requested and if the number of items was logged."""
    x, y = finite(table.steps.astype(np.float64), table.column(name))
    counts = table.column(names.PROBE_COUNT)[np.isfinite(table.column(name))]
    if len(x) > BUCKETS:
        index = np.unique(np.linspace(0, len(x) - 1, BUCKETS).astype(int))
        x, y, counts = x[index], y[index], counts[index]
    if not band or not np.isfinite(counts).any():
        return Curve(x, y)
    bounds = np.array(
        [wilson_interval(share, count) for share, count in zip(y.tolist(), counts.tolist(), strict=True)]
    )
    return Curve(x, y, bounds[:, 0], bounds[:, 1])


def smoothed(table: MetricsTable, name: str) -> Curve:
    window = window_for(len(table.known(name)))
    return smooth_curve(table.steps.astype(np.float64), table.column(name), window, BUCKETS)


def lines_chart(title: str, why: str, lines: Sequence[Line], *, share: bool = False, **chart: Any) -> Panel:
    """Lines with their latest values in the legend; ``chart`` goes to ``line_chart``."""
    svg = line_chart(title, lines, y_format=percent_tick if share else plain_number, **chart)
    shown = percent if share else number
    latest = [float(line.curve.y[-1]) if len(line.curve.y) else None for line in lines]
    legend = (LegendItem(line.label, line.colour, shown(y)) for line, y in zip(lines, latest, strict=True))
    return Panel(title, why, svg, tuple(legend))


def layers_chart(
    title: str, why: str, x: FloatArray, layers: Sequence[Layer], marks: Sequence[Mark]
) -> Panel:
    svg = stacked_chart(title, x, layers, marks=marks)
    return Panel(title, why, svg, tuple(LegendItem(layer.label, layer.colour) for layer in layers))
