"""The vertical lines in the curves: where a cycle began, where something went wrong, and where the user
stopped or paused."""

from __future__ import annotations

import numpy as np

from azr.report.charts import Mark
from azr.report.summary import RunSummary

MARK_WORDS = {
    "cycle": "a cycle begins",
    "incident": "an incident: fault or restart",
    "asked": "requested by you: stop, pause ...",
}
"""Kind of line (its CSS class) -> its words in the legend."""


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


def mark_legend(svg: str) -> tuple[tuple[str, str], ...]:
    """(kind, words) of the lines that a chart really shows: some lie outside its range of steps."""
    return tuple((kind, words) for kind, words in MARK_WORDS.items() if f'class="mark {kind}"' in svg)
