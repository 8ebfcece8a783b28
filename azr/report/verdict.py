"""The report's first words: did it learn, and on what evidence (``azr.report.advice`` says what to do next). Pure; every
sentence carries its numbers.

Self-play reward is not evidence: the proposer is paid for tasks that the solver sometimes fails, so its
training accuracy stays near a set-point while both get better. Only the frozen probes can say that a model
learned. One comparison decides, fixed by the configuration before the run: the first measurement against the
last, two-sided, at 1 % (docs/report.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from azr.errors import DataError
from azr.report.advice import advice
from azr.report.series import Z_99, difference_interval
from azr.report.summary import RunStatus, RunSummary, lookup
from azr.report.tasks import TaskStats
from azr.report.text import duration, interval_points, percent, points
from azr.run import metric_names as names
from azr.run.asked_otherwise import (
    Place,
    asked_otherwise,
    control_words,
    solver_alone_words,
    trained_under,
)
from azr.run.records import KNOWN_PROBES
from azr.run.rundir import RunDir
from azr.system.files import read_json
from azr.tasks import TaskType
from azr.wording import counted


class Tone(str, Enum):
    GOOD = "good"
    NEUTRAL = "neutral"
    BAD = "bad"


@dataclass(frozen=True)
class ProbeChange:
    """First and latest score on the frozen probes."""

    first: float
    last: float
    first_step: int
    last_step: int
    count: float | None
    """Items measured each time, if it was logged."""
    interval: tuple[float, float] | None
    """99 % interval of the change: paired by task where the run kept the tasks' scores, else as of two
    independent samples."""
    p: float | None = None
    """Two-sided, of the paired comparison."""
    probes: str = "the frozen probes"
    """What was asked, in words."""
    sampled: str = ""
    """The probe files whose sampled answers these are, or ``all``; empty for greedy answers."""
    otherwise: str = ""
    """What was changed in between that changes the score of the same weights: ``KEY BEFORE -> NOW``."""

    @property
    def change(self) -> float:
        return self.last - self.first

    @property
    def shown(self) -> str:
        """The change in points; words where it is none of the weights."""
        return "not comparable" if self.otherwise else points(self.change)

    @property
    def word(self) -> str:
        """``learning``, ``worse`` or ``no clear change``: where 0 lies to the interval; empty without an interval;
        ``not comparable`` where the same weights would have answered otherwise."""
        if self.interval is None or self.otherwise:
            return "not comparable" if self.otherwise else ""
        return "learning" if self.interval[0] > 0 else "worse" if self.interval[1] < 0 else "no clear change"


@dataclass(frozen=True)
class Verdict:
    headline: str
    tone: Tone
    evidence: tuple[str, ...]
    advice: tuple[str, ...]
    """Commands and keys stand between backquotes."""


def deciding_change(summary: RunSummary) -> ProbeChange | None:
    """The comparison that decides the verdict: of sampled answers before and after where the run took them,
    else of greedy ones."""
    return verdict_change(summary, deciding_probes(summary)) or probe_change(summary)


def _otherwise(summary: RunSummary, first_step: int, last_step: int) -> str:
    first, last = (_place(summary, step) for step in (first_step, last_step))
    changes = asked_otherwise(summary.incidents).items()
    return ", ".join(told for place, told in changes if first <= place < last)


def _place(summary: RunSummary, step: int) -> Place:
    table = summary.table
    found = np.flatnonzero(table.steps == step)
    return (int(table.cycles[found[0]]), int(table.attempts[found[0]])) if len(found) else (0, 0)


def deciding_probes(summary: RunSummary) -> str:
    """The probe file that ``train.verdict_probes`` names, or ``all`` where that was not measured."""
    named = lookup(summary.config, "train.verdict_probes")
    return named if isinstance(named, str) and named in dict(verdict_files(summary)) else "all"


def verdict_files(summary: RunSummary) -> list[tuple[str, str]]:
    """(file, metric) of the probe files that were sampled before and after; none where there is only one."""
    return names.measured_files(summary.table.columns, names.VERDICT_PREFIX)


def verdict_change(summary: RunSummary, probes: str) -> ProbeChange | None:
    """None unless sampled answers were taken before and after training."""
    table = summary.table
    changes = table.column(names.verdict(probes, "change"))
    measured = np.flatnonzero(np.isfinite(changes))
    if not len(measured):
        return None
    last = measured[-1]
    change, error = float(changes[last]), float(table.column(names.verdict(probes, "change_error"))[last])
    after, count = (float(table.column(names.verdict(probes, of))[last]) for of in ("accuracy", "tasks"))
    samples = lookup(summary.config, "train.verdict_samples")
    several = isinstance(samples, int) and samples > 1 and _first_samples(summary) in (samples, None)
    each = f"{samples} sampled answers each" if several else "sampled answers"
    words = f"{count:,.0f} frozen tasks{'' if probes == 'all' else f' of {probes}'}, {each}"
    step = int(table.steps[last])
    otherwise = _otherwise(summary, 0, step)
    return ProbeChange(
        after - change, after, 0, step, count, *_paired(change, error), words, probes, otherwise
    )


def _first_samples(summary: RunSummary) -> int | None:
    """How many answers each task was asked for before training; a run that goes on may ask for another number."""
    try:
        return read_json(RunDir(summary.root).first_verdict_scores)["samples"]
    except (DataError, KeyError, TypeError):
        return None


def _paired(change: float, error: float) -> tuple[tuple[float, float], float]:
    """99 % interval and two-sided p of a mean change with its standard error; no change is beyond -1 or 1, which a few
    tasks' error does not know."""
    interval = max(change - Z_99 * error, -1.0), min(change + Z_99 * error, 1.0)
    return interval, math.erfc(abs(change) / error / math.sqrt(2))


def probe_change(summary: RunSummary, name: str = names.PROBE_ALL) -> ProbeChange | None:
    """None with fewer than two measurements. An interval is given for the score over all types only, whose
    number of items is known."""
    values = summary.table.column(name)
    measured = np.flatnonzero(np.isfinite(values))
    if not len(measured):
        return None
    counts = summary.table.column(names.PROBE_COUNT)[measured]
    measured = measured[~(np.abs(counts - counts[-1]) > 0)]  # of another number of tasks: other tasks
    if len(measured) < 2:
        return None
    first, last = float(values[measured[0]]), float(values[measured[-1]])
    of_all = name == names.PROBE_ALL
    count = summary.table.last(names.PROBE_COUNT) if of_all else None
    error = float(summary.table.column(names.PROBE_CHANGE_ERROR)[measured[-1]]) if of_all else math.nan
    paired = float(summary.table.column(names.PROBE_CHANGE)[measured[-1]])
    p = None
    if math.isfinite(error) and abs(paired - (last - first)) < 1e-6:  # since the same first evaluation
        interval, p = _paired(last - first, error)
    else:
        interval = difference_interval(first, last, count, Z_99) if count else None
    first_step, last_step = (int(summary.table.steps[measured[place]]) for place in (0, -1))
    otherwise = _otherwise(summary, first_step, last_step)
    return ProbeChange(first, last, first_step, last_step, count, interval, p, otherwise=otherwise)


def judge_run(summary: RunSummary, stats: TaskStats) -> Verdict:
    words, tone = headline(summary)
    change = deciding_change(summary)
    next_steps = advice(summary, stats, is_unclear=change is not None and change.word == "no clear change")
    return Verdict(words, tone, tuple(_evidence(summary, stats)), tuple(next_steps))


def headline(summary: RunSummary) -> tuple[str, Tone]:
    """Did it learn? The answer of one sentence, with what has to be known beside it, and whether it is good news."""
    words, tone = _learned(summary)
    return f"{words} {caveats_of(summary)}".strip(), tone


def caveats_of(summary: RunSummary) -> str:
    """In sentences: which steps were trained under a control, or as solver alone, and whether the model knew some of the
    probes before the run; empty where nothing of this is so."""
    table, now = summary.table, lookup(summary.config, "train.control")
    trained = table.steps > 0
    places = zip(table.cycles[trained].tolist(), table.attempts[trained].tolist(), strict=True)
    asked = table.column(names.PROPOSED)[trained]
    told = [
        control_words(trained_under(places, summary.incidents, str(now or "none"))),
        solver_alone_words(int((asked == 0).sum()), int(np.isfinite(asked).sum())),
        *(item.cause for item in summary.incidents if item.kind == KNOWN_PROBES),
    ]
    return " ".join(filter(None, told))


def _learned(summary: RunSummary) -> tuple[str, Tone]:
    if summary.status is RunStatus.EMPTY:
        return "Nothing has run here yet.", Tone.NEUTRAL
    if summary.status is RunStatus.FAILED:
        return f"The run failed. {summary.sentence}".strip(), Tone.BAD
    if not summary.table.trained:
        return "No training step has finished yet, so there is nothing to judge.", Tone.NEUTRAL
    change = deciding_change(summary)
    if change is None:
        missing = (
            "Not known: this run has no frozen probes"
            if RunDir(summary.root).lacks_probes
            else "Not known yet: the frozen probes were measured fewer than twice"
        )
        return f"{missing}, and the reward in training cannot tell.", Tone.NEUTRAL
    at = f" at step {change.last_step}" if change.last_step < summary.step else ""
    since = f" at step {change.first_step}" if change.first_step else ""
    numbers = f"from {percent(change.first)}{since} to {percent(change.last)}{at} on {change.probes}"
    if percent(change.first) == percent(change.last):
        numbers = f"{percent(change.last)} on {change.probes} at first and {at.strip() or 'now'}"
    if change.otherwise:
        told = f"{change.otherwise}, which changes the score of the same weights too"
        return (
            f"Not comparable: {numbers}, but in between {told}; azr evaluate asks both alike.",
            Tone.NEUTRAL,
        )
    if change.interval is None:
        return f"Probe accuracy: {numbers}; without the number of items its error is not known.", Tone.NEUTRAL
    low, high = change.interval
    p = "" if change.p is None else ", p below 0.0001" if change.p < 1e-4 else f", p {change.p:.2g}"
    band = f"{points(change.change)}, 99\u00a0% interval {interval_points(change.interval)}{p}"
    now = " so far" if summary.status is RunStatus.RUNNING else ""
    if low > 0:
        return f"It learned{now}: {numbers} ({band}).", Tone.GOOD
    if high < 0:
        return f"It got worse{now}: {numbers} ({band}).", Tone.BAD
    return f"No clear change{now}: {numbers} ({band}).", Tone.NEUTRAL


def _evidence(summary: RunSummary, stats: TaskStats) -> list[str]:
    table = summary.table
    lines = _sampled(summary)
    for task_type in TaskType:
        if (change := probe_change(summary, names.probe_metric(task_type))) is not None:
            steps = f"at step {change.first_step} → {percent(change.last)} at step {change.last_step}"
            lines.append(
                f"{task_type.value.capitalize()} probes, greedy: {percent(change.first)} {steps} ({change.shown})."
            )
    for label, name in names.probe_file_metrics(table.columns):
        if (change := probe_change(summary, name)) is not None:
            lines.append(
                f"Probes of {label}, greedy: {percent(change.first)} → {percent(change.last)} ({change.shown})."
            )
    overall = deciding_change(summary)
    if overall is not None and overall.interval is not None and overall.word == "no clear change":
        low, high = overall.interval
        width = 100 * min(max(overall.change - low, high - overall.change), 1.0)
        lines.append(
            f"With {counted(round(overall.count or 0), 'task')} a change of less than about {width:.0f} points cannot be told from chance."
        )
    if (judged := summary.learning_verdict) is not None:
        lines.append(f"The campaign's judge at step {judged.step}: {judged.verdict}. {judged.sentence}")
    if formats := _format_change(summary):
        lines.append(formats)
    if stats.count:
        grown = f", in addition to the {stats.seeds:,} it started with" if stats.seeds else ""
        types = ", ".join(f"{count:,} {name}" for name, count in sorted(stats.by_type.items()))
        lines.append(
            f"{counted(stats.count, 'task')} ({types}) {'was' if stats.count == 1 else 'were'} proposed, verified and accepted{grown}."
        )
        if summary.pool.through_shard:
            lines[-1] += (
                f" After the merges, which leave out copies and leaks, the pool holds {summary.pool.tasks:,}."
            )
    accepted = int(np.nansum(table.column(names.ACCEPTED)))
    if stats.count < accepted:  # a shard that was edited, damaged or removed
        lines.append(
            f"{accepted - stats.count:,} of the {accepted:,} tasks that the steps accepted stand in no shard any more (removed "
            "or damaged), so no figure of proposed tasks counts them; the pool keeps those that it had taken."
        )
    if summary.trained_s:
        starts = f"; starting the trainer and the engine took {duration(summary.starting_s)}"
        lines.append(
            f"{counted(table.trained, 'step')} took {duration(summary.trained_s)} of training, "
            f"{duration(summary.step_seconds)} per step lately{starts if summary.starting_s else ''}."
        )
    if table.undone:
        lines.append(f"{counted(table.undone, 'step')} undone by a crash or a rollback, and trained again.")
    return lines


def _sampled(summary: RunSummary) -> list[str]:
    """What was measured beside the probes that decide, in the same way."""
    decides, lines = deciding_probes(summary), []
    groups = [*(file for file, _ in verdict_files(summary)), "all"]
    for probes in groups:
        change = verdict_change(summary, probes)
        if change is not None and probes != decides and change.interval is not None:
            numbers = f"{percent(change.first)} → {percent(change.last)}"
            if not change.otherwise:
                numbers += f" ({points(change.change)}, {interval_points(change.interval)})"
            lines.append(f"Not part of the verdict, on {change.probes}: {numbers}; {change.word}.")
    return lines


def _format_change(summary: RunSummary) -> str:
    """Whether answers became right, or only readable: both are reported."""
    table = summary.table
    score, form = table.column(names.PROBE_ALL), table.column(names.probe_format("all"))
    measured = np.flatnonzero(np.isfinite(score) & np.isfinite(form) & (form > 0))
    if len(measured) < 2:
        return ""
    first, last = measured[0], measured[-1]
    formats = f"{percent(float(form[first]))} → {percent(float(form[last]))} of the probe answers were in the required format"
    given = f"{percent(float(score[first] / form[first]))} → {percent(float(score[last] / form[last]))} of those in the format were right"
    if _otherwise(summary, int(table.steps[first]), int(table.steps[last])):
        return f"{formats}; {given} (not comparable)."
    return f"{formats}; {given}. Only the second is a gain in reasoning."
