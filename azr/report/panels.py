"""The report's panels: which series go into which chart, with which words. Pure; one function a section."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from azr.report.charts import Layer, Line, Mark, heat_map, line_chart
from azr.report.metrics import FloatArray, MetricsTable
from azr.report.panel import BUCKETS, LegendItem, Panel, layers_chart, lines_chart, probe_curve, smoothed
from azr.report.series import Curve, bucket_means, envelope, finite
from azr.report.summary import RunSummary, lookup
from azr.report.tasks import BINS, TaskStats, difficulty_shares
from azr.report.text import number
from azr.run import metric_names as names
from azr.run.records import MachineSample, read_log
from azr.run.rundir import RunDir
from azr.tasks import Role, Stream, TaskType

SHORT_S = 3 * 3600.0
"""A run up to this long has its time axis in minutes."""
PHASE_COLOURS = {
    "plan": 7, "generate": 0, "old_log_prob": 6, "update": 2, "sync": 3, "other": 4, "save": 5, "validate": 7,
}  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """What the panels of a run are drawn from: its numbers, and the vertical lines of all of them."""

    table: MetricsTable
    marks: Sequence[Mark]

    @property
    def steps(self) -> FloatArray:
        return self.table.steps.astype(np.float64)

    def smooth(
        self, title: str, why: str, series: Iterable[tuple[str, str, int]], *, share: bool = False
    ) -> Panel | None:
        """Smoothed lines with bands of those metrics that were logged.

        Args:
            series: (label, metric name, colour).
            share: the values are shares from 0 to 1.
        """
        known = [item for item in series if self.table.has(item[1])]
        if not known:
            return None
        lines = [Line(label, smoothed(self.table, name), colour) for label, name, colour in known]
        top = max((float(np.nanmax(line.curve.y)) for line in lines if len(line.curve.y)), default=0.0)
        ends = {"y_low": 0.0, "y_high": 1.0 if top > 0.6 else None} if share else {}
        return lines_chart(title, why, lines, share=share, marks=self.marks, **ends)

    def raw(self, title: str, why: str, name: str, colour: int) -> Panel | None:
        """One metric as it is; long series as bucket means between their extremes: no spike is hidden."""
        if not self.table.has(name):
            return None
        curve = envelope(self.steps, self.table.column(name), BUCKETS)
        svg = line_chart(title, [Line(title, curve, colour)], marks=self.marks)
        return Panel(title, why, svg, (LegendItem("latest", colour, number(self.table.last(name))),))

    def probes(self, title: str, why: str, lines: Sequence[Line], **ends: float) -> Panel:
        """Shares that were measured now and then, over all steps of the run."""
        steps = self.table.steps
        x_range = float(steps[0]), float(max(steps[-1], steps[0] + 1))
        return lines_chart(title, why, lines, share=True, marks=self.marks, x_range=x_range, **ends)


def panels_of(summary: RunSummary, stats: TaskStats, marks: Sequence[Mark]) -> Mapping[str, Sequence[Panel]]:
    """Section of the page -> its panels; none before the first step."""
    if not len(summary.table):
        return dict.fromkeys(("learning", "tasks", "resources", "health"), ())
    sheet = Sheet(summary.table, marks)
    sections = {
        "learning": _learning_panels(sheet, summary),
        "tasks": _task_panels(sheet, summary, stats),
        "resources": _resource_panels(sheet, summary),
        "health": _health_panels(sheet, summary.mismatch_limit),
    }
    return {name: [panel for panel in panels if panel is not None] for name, panels in sections.items()}


def _learning_panels(sheet: Sheet, summary: RunSummary) -> list[Panel | None]:
    config = summary.config
    made = "self-made tasks. Flat is normal: the tasks get harder with the solver."
    proposals, solutions = ([each for each in sheet.table.streams if each.role is role] for role in Role)

    def by_type(streams: Iterable[Stream], metric: Callable[[str], str]) -> list[tuple[str, str, int]]:
        return [(item.task_type.value, metric(item.name), index) for index, item in enumerate(streams)]

    return [
        _probe_panel(sheet),
        _probe_file_panel(sheet),
        _probe_format_panel(sheet),
        sheet.smooth(
            "Solver: right answers in training",
            f"Share of right answers on {'tasks of the pool, which repeat.' if summary.solves_only else made}",
            by_type(solutions, names.accuracy),
            share=True,
        ),
        sheet.smooth(
            "Proposer: valid proposals",
            "Share of proposals that parse, run, give the same result again and pass every check.",
            [
                (each.task_type.value, names.valid(each.task_type), index)
                for index, each in enumerate(proposals)
            ],
            share=True,
        ),
        replace(sheet, table=_with_format_means(sheet.table)).smooth(
            "Answers in the required format",
            "Mean over the streams of each role. Early gains in accuracy often come from here, not from reasoning.",
            [("proposals", "format/propose", 1), ("solutions", "format/solve", 2)],
            share=True,
        ),
        sheet.smooth(
            "Proposer: reward",
            proposer_reward_in_words(config),
            by_type(proposals, names.reward),
        ),
        sheet.smooth(
            "Solver: reward",
            f"1 right, −0.5 wrong{'' if lookup(config, 'selfplay.format_reward') is False else ', −1 without the format'}.",
            by_type(solutions, names.reward),
        ),
    ]


def proposer_reward_in_words(config: dict[str, Any]) -> str:
    """The rule of ``azr.selfplay.rewards.propose_reward`` for the settings of a run (``config`` as its config.yaml)."""
    how = lookup(config, "selfplay.learnability") or "one_minus"
    extreme = lookup(config, "selfplay.extremes")
    if extreme is None:
        extreme = 0.0 if lookup(config, "selfplay.variant") == "paper" else -0.5
    rule = {"middle": "4 × accuracy × (1 − accuracy)"}.get(how, "1 − accuracy")
    ends = "solved always" if how == "inverse" else "solved always or never"
    return f"{rule} of a valid task; {extreme:g} for one that is {ends}; −1 for an invalid one.".replace(
        "-", "−"
    )


def _with_format_means(table: MetricsTable) -> MetricsTable:
    columns: dict[str, FloatArray] = {}
    for role in Role:
        logged = np.stack([table.column(names.format_ok(s.name)) for s in table.streams if s.role is role])
        counts = np.isfinite(logged).sum(axis=0)
        means = np.nansum(logged, axis=0) / np.maximum(counts, 1)
        columns[f"format/{role.value}"] = np.where(counts > 0, means, np.nan)
    return replace(table, columns=columns)


def _probe_panel(sheet: Sheet) -> Panel | None:
    table = sheet.table
    by_type = [(item.value, names.probe_metric(item)) for item in TaskType]
    lines = [
        Line(label, probe_curve(table, name, band=False), colour)
        for colour, (label, name) in zip((0, 1, 2, 4), by_type, strict=True)  # 3 is that of all
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
    why = f"Greedy answers to {items}, kept out of the pool, always the same. Band: 95 % interval of “all”."
    return sheet.probes("Probe accuracy", why, lines)


def _probe_file_panel(sheet: Sheet) -> Panel | None:
    """Only where there is more than one file: a single one is the score over all."""
    table = sheet.table
    known = [(label, name) for label, name in names.probe_file_metrics(table.columns) if table.has(name)]
    if len(known) < 2:
        return None
    lines = [
        Line(label, probe_curve(table, name, band=False), index % 8, dots=True)
        for index, (label, name) in enumerate(known)
    ]
    why = "The same answers, by the file that the task comes from (data.probe_files)."
    return sheet.probes("Probe accuracy by file", why, lines)


def _probe_format_panel(sheet: Sheet) -> Panel | None:
    table, form_name = sheet.table, names.probe_format("all")
    if not table.has(form_name) or not table.has(names.PROBE_ALL):
        return None
    form, score = table.column(form_name), table.column(names.PROBE_ALL)
    given = np.where(form > 0, score / np.where(form > 0, form, 1.0), np.nan)
    parts = (("in the required format", form, 1), ("right, given the format", given, 2))
    curves = [(label, Curve(*finite(sheet.steps, values)), colour) for label, values, colour in parts]
    lines = [Line(*each, dots=True) for each in curves]
    why = (
        "The same probe answers in two parts: a model that only learns the format moves only the first line."
    )
    return sheet.probes("Format and reasoning", why, lines, y_low=0.0, y_high=1.0)


def _task_panels(sheet: Sheet, summary: RunSummary, stats: TaskStats) -> list[Panel | None]:
    inverse = lookup(summary.config, "selfplay.learnability") == "inverse"
    unpaid = ", which is paid most" if inverse else ": they earn no learnability reward"
    return [
        _difficulty_panel(stats),
        _growth_panel(sheet, summary.solves_only),
        sheet.smooth(
            "Too easy, too hard",
            f"Share of measured proposals that every sample solved, or none did{unpaid}.",
            [("all solved", names.ALL_SOLVED, 2), ("none solved", names.NONE_SOLVED, 5)],
            share=True,
        ),
        sheet.smooth(
            "Novelty",
            "Share of valid proposals that are not copies, renamed copies or near copies of an existing task; and of the latest "
            "programs, those that a new one resembles: a rise means that the game drifts into one kind of exercise. Guessable: "
            "of the abduction tasks, those that a typical input of the latest ones solves.",
            [
                ("novel", names.NOVELTY, 2),
                ("resembled", names.REPETITION, 5),
                ("guessable", names.GUESSABLE, 3),
            ],
            share=True,
        ),
        _rejection_panel(sheet, summary),
    ]


def _difficulty_panel(stats: TaskStats) -> Panel | None:
    columns, shares = difficulty_shares(stats)
    if not columns:
        return None
    title = "Difficulty of accepted tasks"
    why = "How many of the solver's samples got an accepted task right, when it was proposed. Darker: more of that time's tasks."
    return Panel(title, why, heat_map(title, columns, shares, [label for label, _, _ in BINS]))


def _growth_panel(sheet: Sheet, solves_only: bool) -> Panel | None:
    table = sheet.table
    if not table.has(names.ACCEPTED):
        return None
    total = ("accepted in total", np.cumsum(np.nan_to_num(table.column(names.ACCEPTED))), 0)
    sizes: list[tuple[str, FloatArray, int]] = [] if solves_only else [total]
    for index, task_type in enumerate(TaskType):
        name = names.buffer_size(task_type)
        if table.has(name):
            sizes.append((f"{task_type.value} buffer", table.column(name), index + 1))
    lines = [
        Line(label, replace(envelope(sheet.steps, values, BUCKETS), low=None, high=None), colour)
        for label, values, colour in sizes
    ]
    why = "Tasks accepted in self-play so far, and tasks held in the buffers. Merges leave copies and leaks out of the pool."
    if solves_only:
        why = "Tasks held in the buffers; no step asked for new ones."
    return lines_chart("Data growth", why, lines, marks=sheet.marks, y_low=0.0)


def _rejection_panel(sheet: Sheet, summary: RunSummary) -> Panel | None:
    reasons = [reason for reason, _ in summary.rejections()]
    if not reasons:
        return None
    columns, shown = summary.rejection_columns(), reasons[:6]
    x, layers = bucket_means(sheet.steps, [columns[reason] for reason in reasons], BUCKETS // 2)
    drawn = [Layer(*each) for each in zip(shown, layers, range(len(shown)), strict=False)]
    if len(reasons) > len(shown):
        drawn.append(Layer("other", np.sum(layers[len(shown) :], axis=0), 7))
    return layers_chart("Rejections per step", "Rejected proposals, by reason.", x, drawn, sheet.marks)


def _resource_panels(sheet: Sheet, summary: RunSummary) -> list[Panel | None]:
    has_card = summary.vram_gib() is not None
    panels = [_time_panel(sheet)]
    if has_card:  # without one the allocator's figures are all 0
        everyone = "GiB in use on the card, by all processes."
        own = "GiB, the trainer's own peak, without the engine."
        panels += [
            _memory_panel(sheet, "GPU memory by phase", everyone, names.VRAM_SUFFIX),
            _memory_panel(sheet, "GPU memory of the trainer by phase", own, names.TRAINER_PEAK_SUFFIX),
        ]
    return panels + _machine_panels(summary, has_card)


def _memory_panel(sheet: Sheet, title: str, why: str, suffix: str) -> Panel | None:
    logged = list(filter(sheet.table.has, sheet.table.named(names.MEMORY_PREFIX, suffix)))
    phases = [name.removeprefix(names.MEMORY_PREFIX).removesuffix(suffix) for name in logged]
    series = zip(phases, logged, itertools.cycle(range(8)))
    return sheet.smooth(title, why, series)


def _machine_panels(summary: RunSummary, has_card: bool) -> list[Panel | None]:
    """Memory and disk over time, as the driver saw them."""
    samples = list(read_log(MachineSample, RunDir(summary.root).supervision))
    if not samples:
        return []

    def column(name: str) -> FloatArray:
        """NaN where it was not measured."""
        return np.array([getattr(sample, name) for sample in samples], dtype=np.float64)

    # in the order in which they were written; where the clock was set back, no time passes
    seconds = np.cumsum(np.maximum(np.diff(column("unix_s"), prepend=samples[0].unix_s), 0.0))
    unit, time_axis = ("minutes", seconds / 60) if seconds[-1] < SHORT_S else ("hours", seconds / 3600)

    def over_time(title: str, why: str, *series: tuple[str, str, int]) -> Panel | None:
        curves = (
            (label, envelope(time_axis, column(name), BUCKETS), colour) for label, name, colour in series
        )
        lines = [Line(*each) for each in curves if len(each[1].x)]
        return lines_chart(title, why, lines, y_low=0.0, x_label=unit) if lines else None

    return [
        over_time(
            "Memory over time",
            "GiB. A trainer whose memory grows for hours is leaking; it is restarted from a checkpoint before memory runs out."
            + ("" if has_card else " No GPU was used, so there is no GPU memory to show."),
            ("trainer", "trainer_gib", 0),
            ("available on the machine", "host_available_gib", 2),
            ("card", "vram_gib", 1),
        ),
        over_time(
            "Free disk over time",
            "GiB free on the disk of the run directory.",
            ("free", "disk_free_gib", 4),
        ),
    ]


def _time_panel(sheet: Sheet) -> Panel | None:
    table = sheet.table
    if not table.has(names.STEP_SECONDS):
        return None
    real = table.steps > 0
    least = 0.002 * np.nansum(table.column(names.STEP_SECONDS)[real])
    phases = {phase: seconds[real] for phase, seconds in table.seconds_by_phase().items()}
    layers = {phase: seconds for phase, seconds in phases.items() if seconds.sum() > least}
    x, reduced = bucket_means(sheet.steps[real], list(layers.values()), BUCKETS // 2)
    drawn = [
        Layer(names.phase_label(phase), values, PHASE_COLOURS[phase])
        for phase, values in zip(layers, reduced, strict=True)
    ]
    why = (
        "By phase. Programs run in the sandbox while the engine generates, so their time is inside “generate”; "
        "“score again” is the trainer's own log-probabilities of the responses."
    )
    return layers_chart("Seconds per step", why, x, drawn, sheet.marks)


def _health_panels(sheet: Sheet, mismatch_limit: float) -> list[Panel | None]:
    entropy = "Mean over tokens, nats. A fall towards 0 is a collapse; a climb is noise taking over."
    norm = "Before clipping. Repeated spikes or values that are not finite lead to a rollback."
    mismatch = (
        f"Mean difference of token probabilities. Below {mismatch_limit / 2:g} is healthy; above "
        f"{mismatch_limit:g} the engine runs other weights than the trainer."
    )
    return [
        sheet.raw("Entropy", entropy, names.ENTROPY, 0),
        sheet.raw("Gradient norm", norm, names.GRADIENT_NORM, 1),
        sheet.raw("Engine versus trainer", mismatch, names.MISMATCH, 5),
        sheet.raw("Learning rate", "Falls after a rollback.", names.LEARNING_RATE, 6),
    ]
