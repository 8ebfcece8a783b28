"""The report's panels: which series go into which chart, with which words. Pure; one function a section."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from azr import metric_names as names
from azr.records import MachineSample, read_log
from azr.report.charts import Layer, Line, Mark, heat_map, line_chart
from azr.report.metrics import FloatArray, MetricsTable
from azr.report.panel import (
    BUCKETS,
    LegendItem,
    Panel,
    layers_chart,
    lines_chart,
    lines_panel,
    probe_curve,
)
from azr.report.series import Curve, bucket_means, envelope, finite
from azr.report.summary import RunSummary
from azr.report.tasks import BINS, TaskStats, difficulty_shares
from azr.report.text import number
from azr.rundir import RunDir
from azr.tasks import CORE_TASK_TYPES, STREAMS, Role, Stream

SHORT_S = 3 * 3600.0
"""A run up to this long has its time axis in minutes."""
PHASE_COLOURS = {
    "plan": 7,
    "generate": 0,
    "old_log_prob": 6,
    "update": 2,
    "sync": 3,
    "other": 4,
    "save": 5,
    "validate": 7,
}


def learning_panels(summary: RunSummary, marks: Sequence[Mark]) -> list[Panel]:
    table = summary.table

    def by_type(metric: Callable[[Stream], str], role: Role) -> list[tuple[str, str, int]]:
        streams = [stream for stream in STREAMS if stream.role is role]
        return [(stream.task_type.value, metric(stream), index) for index, stream in enumerate(streams)]

    panels = [
        _probe_panel(table, marks),
        _probe_file_panel(table, marks),
        _probe_format_panel(table, marks),
        lines_panel(
            "Solver: right answers in training",
            "Share of right answers on self-made tasks. Flat is normal: the tasks get harder with the solver.",
            table,
            by_type(lambda stream: names.accuracy(stream.name), Role.SOLVE),
            marks,
            share=True,
        ),
        lines_panel(
            "Proposer: valid proposals",
            "Share of proposals that parse, run, give the same result again and pass every check.",
            table,
            by_type(lambda stream: names.valid(stream.task_type), Role.PROPOSE),
            marks,
            share=True,
        ),
        lines_panel(
            "Answers in the required format",
            "Mean over the streams of each role. Early gains in accuracy often come from here, not from reasoning.",
            _with_format_means(table),
            [("proposals", "format/propose", 1), ("solutions", "format/solve", 2)],
            marks,
            share=True,
        ),
        lines_panel(
            "Proposer: reward",
            "1 − accuracy for tasks of middling difficulty, −0.5 at the extremes, −1 for invalid.",
            table,
            by_type(lambda stream: names.reward(stream.name), Role.PROPOSE),
            marks,
        ),
        lines_panel(
            "Solver: reward",
            "1 right, −0.5 wrong, −1 without the format (published rewards).",
            table,
            by_type(lambda stream: names.reward(stream.name), Role.SOLVE),
            marks,
        ),
    ]
    return [panel for panel in panels if panel is not None]


def _with_format_means(table: MetricsTable) -> MetricsTable:
    columns: dict[str, FloatArray] = {}
    for role in Role:
        logged = np.stack([table.column(names.format_ok(s.name)) for s in STREAMS if s.role is role])
        counts = np.isfinite(logged).sum(axis=0)
        means = np.nansum(logged, axis=0) / np.maximum(counts, 1)
        columns[f"format/{role.value}"] = np.where(counts > 0, means, np.nan)
    return replace(table, columns=columns)


def _probe_panel(table: MetricsTable, marks: Sequence[Mark]) -> Panel | None:
    series = [
        (task_type.value, names.probe_metric(task_type), index)
        for index, task_type in enumerate(CORE_TASK_TYPES)
    ]
    lines = [
        Line(label, probe_curve(table, name, band=False), colour)
        for label, name, colour in series
        if table.has(name)
    ]
    if table.has(names.PROBE_ALL):
        types = lines if len(lines) > 1 else []  # a single type is the same line as "all"
        label = "all" if types or not lines else f"all ({lines[0].label})"
        lines = [*types, Line(label, probe_curve(table, names.PROBE_ALL, band=True), 3, dots=True, bold=True)]
    if not lines:
        return None
    counts = table.last(names.PROBE_COUNT)
    items = f"{counts:,.0f} frozen tasks" if counts else "frozen tasks"
    why = f"Greedy answers to {items}, never trained on, the same every time. Band: 95 % interval of “all”."
    return lines_chart("Probe accuracy", why, lines, share=True, marks=marks, x_range=_step_range(table))


def _probe_file_panel(table: MetricsTable, marks: Sequence[Mark]) -> Panel | None:
    """Only where there is more than one file: a single one is the score over all."""
    known = [(label, name) for label, name in names.probe_file_metrics(table.columns) if table.has(name)]
    if len(known) < 2:
        return None
    lines = [
        Line(label, probe_curve(table, name, band=False), index % 8, dots=True)
        for index, (label, name) in enumerate(known)
    ]
    why = "The same answers, by the file that the task comes from (data.probe_files)."
    return lines_chart(
        "Probe accuracy by file", why, lines, share=True, marks=marks, x_range=_step_range(table)
    )


def _probe_format_panel(table: MetricsTable, marks: Sequence[Mark]) -> Panel | None:
    form_name = names.probe_format("all")
    if not table.has(form_name) or not table.has(names.PROBE_ALL):
        return None
    x = table.steps.astype(np.float64)
    form, score = table.column(form_name), table.column(names.PROBE_ALL)
    given = np.where(form > 0, score / np.where(form > 0, form, 1.0), np.nan)
    parts = (("in the required format", form, 1), ("right, given the format", given, 2))
    lines = [Line(label, Curve(*finite(x, values)), colour, dots=True) for label, values, colour in parts]
    why = (
        "The same probe answers in two parts: a model that only learns the format moves only the first line."
    )
    ends = {"y_low": 0.0, "y_high": 1.0, "x_range": _step_range(table)}
    return lines_chart("Format and reasoning", why, lines, share=True, marks=marks, **ends)


def _step_range(table: MetricsTable) -> tuple[float, float]:
    return float(table.steps[0]), float(max(table.steps[-1], table.steps[0] + 1))


def task_panels(summary: RunSummary, stats: TaskStats, marks: Sequence[Mark]) -> list[Panel]:
    table = summary.table
    panels: list[Panel | None] = []
    columns, shares = difficulty_shares(stats)
    if columns:
        svg = heat_map("Difficulty of accepted tasks", columns, shares, [label for label, _, _ in BINS])
        why = "How many of the solver's samples got an accepted task right, when it was proposed. Darker: more of that time's tasks."
        panels.append(Panel("Difficulty of accepted tasks", why, svg))
    panels += [
        _growth_panel(table, marks),
        lines_panel(
            "Too easy, too hard",
            "Share of measured proposals that every sample solved, or none did: they earn no learnability reward.",
            table,
            [("all solved", names.ALL_SOLVED, 2), ("none solved", names.NONE_SOLVED, 5)],
            marks,
            share=True,
        ),
        lines_panel(
            "Novelty",
            "Share of valid proposals that are not copies, renamed copies or near copies of an existing task.",
            table,
            [("novel", names.NOVELTY, 2)],
            marks,
            share=True,
        ),
        _rejection_panel(summary, marks),
    ]
    return [panel for panel in panels if panel is not None]


def _growth_panel(table: MetricsTable, marks: Sequence[Mark]) -> Panel | None:
    if not table.has(names.ACCEPTED):
        return None
    gained = np.cumsum(np.nan_to_num(table.column(names.ACCEPTED)))
    x = table.steps.astype(np.float64)
    curve = envelope(x, gained, BUCKETS)
    lines = [Line("accepted in total", Curve(curve.x, curve.y), 0)]
    for index, task_type in enumerate(CORE_TASK_TYPES):
        name = names.buffer_size(task_type)
        if table.has(name):
            size = envelope(x, table.column(name), BUCKETS)
            lines.append(Line(f"{task_type.value} buffer", Curve(size.x, size.y), index + 1))
    why = "Tasks accepted in self-play so far, and tasks held in the buffers. Merges leave copies and leaks out of the pool."
    return lines_chart("Data growth", why, lines, marks=marks, y_low=0.0)


def _rejection_panel(summary: RunSummary, marks: Sequence[Mark]) -> Panel | None:
    reasons = [reason for reason, _ in summary.rejections()]
    if not reasons:
        return None
    table, shown = summary.table, reasons[:6]
    columns = summary.rejection_columns()
    x, layers = bucket_means(
        table.steps.astype(np.float64), [columns[reason] for reason in reasons], BUCKETS // 2
    )
    drawn = [
        Layer(reason, layer, index) for index, (reason, layer) in enumerate(zip(shown, layers, strict=False))
    ]
    if len(reasons) > len(shown):
        drawn.append(Layer("other", np.sum(layers[len(shown) :], axis=0), 7))
    return layers_chart("Rejections per step", "Rejected proposals, by reason.", x, drawn, marks)


def resource_panels(summary: RunSummary, marks: Sequence[Mark]) -> list[Panel]:
    table = summary.table
    panels: list[Panel | None] = [_time_panel(table, marks)]
    phases = (
        ("GPU memory by phase", "GiB in use on the card, by all processes.", names.VRAM_SUFFIX),
        (
            "GPU memory of the trainer by phase",
            "GiB, the trainer's own peak, without the engine.",
            names.TRAINER_PEAK_SUFFIX,
        ),
    )
    has_card = summary.vram_gib() is not None
    for title, why, suffix in phases if has_card else ():  # without a card the allocator's figures are all 0
        members = [
            name
            for name in table.with_prefix(names.MEMORY_PREFIX)
            if table.has(name) and name.endswith(suffix)
        ]
        series = [
            (name.removeprefix(names.MEMORY_PREFIX).removesuffix(suffix), name, index % 8)
            for index, name in enumerate(members)
        ]
        panels.append(lines_panel(title, why, table, series, marks))
    panels += _machine_panels(summary, has_card)
    return [panel for panel in panels if panel is not None]


def _machine_panels(summary: RunSummary, has_card: bool) -> list[Panel]:
    """Memory and disk over time, as the driver saw them."""
    log = read_log(MachineSample, RunDir(summary.root).supervision)
    samples = sorted(log, key=lambda sample: sample.unix_s)
    if not samples:
        return []

    def column(name: str) -> FloatArray:
        """NaN where it was not measured."""
        return np.array([getattr(sample, name) for sample in samples], dtype=np.float64)

    seconds = column("unix_s") - samples[0].unix_s
    unit, time_axis = ("minutes", seconds / 60) if seconds[-1] < SHORT_S else ("hours", seconds / 3600)
    wanted = (
        (
            "Memory over time",
            "GiB. A trainer whose memory grows for hours is leaking; it is restarted from a checkpoint before memory runs out."
            + ("" if has_card else " No GPU was used, so there is no GPU memory to show."),
            (
                ("trainer", "trainer_gib", 0),
                ("available on the machine", "host_available_gib", 2),
                ("card", "vram_gib", 1),
            ),
        ),
        (
            "Free disk over time",
            "GiB free on the disk of the run directory.",
            (("free", "disk_free_gib", 4),),
        ),
    )
    panels = []
    for title, why, series in wanted:
        curves = [
            Line(label, envelope(time_axis, column(name), BUCKETS), colour) for label, name, colour in series
        ]
        lines = [line for line in curves if len(line.curve.x)]
        if lines:
            panels.append(lines_chart(title, why, lines, y_low=0.0, x_label=unit))
    return panels


def _time_panel(table: MetricsTable, marks: Sequence[Mark]) -> Panel | None:
    if not table.has(names.STEP_SECONDS):
        return None
    real = table.steps > 0
    x = table.steps[real].astype(np.float64)
    inside = {phase: np.nan_to_num(table.column(names.seconds(phase))[real]) for phase in names.PHASES}
    between = {
        phase: np.nan_to_num(table.column(names.seconds(phase))[real]) for phase in names.PHASES_BETWEEN
    }
    step = np.nan_to_num(table.column(names.STEP_SECONDS)[real])
    other = np.maximum(step - np.sum(list(inside.values()), axis=0), 0.0)
    layers = {
        phase: values
        for phase, values in (inside | {"other": other} | between).items()
        if values.sum() > 0.002 * step.sum()
    }
    reduced_x, reduced = bucket_means(x, list(layers.values()), BUCKETS // 2)
    drawn = [
        Layer(names.phase_label(phase), values, PHASE_COLOURS[phase])
        for phase, values in zip(layers, reduced, strict=True)
    ]
    why = (
        "By phase. Programs run in the sandbox while the engine generates, so their time is inside “generate”; "
        "“score again” is the trainer's own log-probabilities of the responses."
    )
    return layers_chart("Seconds per step", why, reduced_x, drawn, marks)


def health_panels(summary: RunSummary, marks: Sequence[Mark]) -> list[Panel]:
    table = summary.table
    wanted = (
        (
            "Entropy",
            "Mean over tokens, nats. A fall towards 0 is a collapse; a climb is noise taking over.",
            names.ENTROPY,
            0,
        ),
        (
            "Gradient norm",
            "Before clipping. Repeated spikes or values that are not finite lead to a rollback.",
            names.GRADIENT_NORM,
            1,
        ),
        (
            "Engine versus trainer",
            f"Mean difference of token probabilities. Below {summary.mismatch_limit / 2:g} is healthy; above "
            f"{summary.mismatch_limit:g} the engine runs other weights than the trainer.",
            names.MISMATCH,
            5,
        ),
        ("Learning rate", "Falls after a rollback.", names.LEARNING_RATE, 6),
    )
    panels = [_raw_panel(title, why, table, name, colour, marks) for title, why, name, colour in wanted]
    return [panel for panel in panels if panel is not None]


def _raw_panel(
    title: str, why: str, table: MetricsTable, name: str, colour: int, marks: Sequence[Mark]
) -> Panel | None:
    """One metric as it is; long series as bucket means with their extremes as the band, so that no spike is hidden."""
    if not table.has(name):
        return None
    curve = envelope(table.steps.astype(np.float64), table.column(name), BUCKETS)
    svg = line_chart(title, [Line(title, curve, colour)], marks=marks)
    return Panel(title, why, svg, (LegendItem("latest", colour, number(table.last(name))),))
