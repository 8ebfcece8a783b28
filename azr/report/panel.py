"""One panel of the report: a chart with its words, the curves that most of them draw, and the vertical lines in all of
them: where a cycle began, where something went wrong, and where the user stopped or paused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from azr.report.charts import Layer, Line, Mark, line_chart, percent_tick, plain_number, stacked_chart
from azr.report.metrics import FloatArray, MetricsTable
from azr.report.series import Curve, finite, smooth_curve, thinned, wilson_interval
from azr.report.summary import RunSummary
from azr.report.text import number, percent
from azr.run import metric_names as names

BUCKETS = 240
MARK_WORDS = {
    "cycle": "a cycle begins",
    "incident": "an incident: fault or restart",
    "asked": "requested by you: stop, pause ...",
}
"""Kind of line (its CSS class) -> its words in the legend."""


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
        """Legend of the vertical lines that the chart really shows: (CSS class, words). Some lie outside its steps."""
        return tuple(
            (kind, words) for kind, words in MARK_WORDS.items() if f'class="mark {kind}"' in self.svg
        )


def marks_of(summary: RunSummary) -> list[Mark]:
    """In the order of ``MARK_WORDS``; ``x`` is a training step."""
    table = summary.table
    starts = np.flatnonzero(np.diff(table.cycles)) + 1
    begun = zip(table.steps[starts].tolist(), table.cycles[starts].tolist(), strict=True)
    marks = [Mark(float(step), "cycle", f"cycle {cycle} begins") for step, cycle in begun]
    for kind, asked in (("incident", False), ("asked", True)):
        items = (item for item in summary.incidents if item.asked is asked)
        marks += [Mark(float(item.step), kind, f"{item.kind}: {item.cause}") for item in items]
    return marks


def probe_curve(table: MetricsTable, name: str, *, band: bool) -> Curve:
    """Measured scores, with Wilson intervals if requested and if the number of items was logged."""
    x, y = finite(table.steps.astype(np.float64), table.column(name))
    counts = table.column(names.PROBE_COUNT)[np.isfinite(table.column(name))]
    x, y, counts = (values[thinned(len(values), BUCKETS)] for values in (x, y, counts))
    if not band or not np.isfinite(counts).any():
        return Curve(x, y)
    bounds = np.array(
        [wilson_interval(share, count) for share, count in zip(y.tolist(), counts.tolist(), strict=True)]
    )
    return Curve(x, y, bounds[:, 0], bounds[:, 1])


def smoothed(table: MetricsTable, name: str) -> Curve:
    # about 20 independent windows, between 5 and 101 steps
    window = min(max(5, len(table.known(name)) // 20), 101)
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
