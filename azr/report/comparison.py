"""Two or more runs on one page: key numbers side by side, curves over each other, configuration where it differs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence

from azr.config import flat
from azr.report.charts import Line
from azr.report.metrics import MetricsTable
from azr.report.pages import render_page
from azr.report.panel import Panel, lines_chart, probe_curve, smoothed
from azr.report.series import difference_interval
from azr.report.summary import RunSummary
from azr.report.tasks import TaskStats
from azr.report.text import duration, interval_points, number, percent, signed, when
from azr.report.verdict import ProbeChange, caveats_of, deciding_change
from azr.report.versions import read_versions
from azr.run import metric_names as names
from azr.run.asked_otherwise import ASKED_BY
from azr.run.rundir import RunDir, told_apart
from azr.system.files import file_hash
from azr.tasks import ALL_STREAMS, TaskType

MAX_RUNS = 8


def render_comparison(summaries: Sequence[RunSummary], stats: Sequence[TaskStats]) -> str:
    """At most ``MAX_RUNS`` runs get a colour of their own; more repeat colours."""
    labels = told_apart([summary.root for summary in summaries])
    colours = itertools.cycle(range(MAX_RUNS))
    named = list(zip(labels, summaries, colours, strict=False))
    tables = [(label, summary.table, colour) for label, summary, colour in named]
    probes = [("all", names.PROBE_ALL), *((t.value, names.probe_metric(t)) for t in TaskType)]
    learning = [_panel(tables, f"Probe accuracy: {label}", name, probe=True) for label, name in probes]
    streams = [_panel(tables, f"{s.name}: right", names.accuracy(s.name), share=True) for s in ALL_STREAMS]
    valid = [(f"{t.value}: valid proposals", names.valid(t)) for t in TaskType]
    tasks = [_panel(tables, label, name, share=True) for label, name in valid]
    tasks.append(_panel(tables, "Tasks accepted per step", names.ACCEPTED))
    tasks.append(_panel(tables, "Novelty", names.NOVELTY, share=True))
    costs = {"Seconds per step": names.STEP_SECONDS, "Entropy": names.ENTROPY}
    costs |= {"Gradient norm": names.GRADIENT_NORM, "Engine versus trainer": names.MISMATCH}
    cost = [_panel(tables, label, name) for label, name in costs.items()]
    sections = [("Probes", learning), ("Streams", streams), ("Tasks", tasks), ("Cost and health", cost)]
    # hashes of each run's frozen tasks, whatever the names of their files
    probes = [sorted(map(file_hash, RunDir(each.root).probes.glob("*.jsonl"))) for each in summaries]
    others = "These runs have different probe tasks, so their scores do not compare with each other."
    changes = [deciding_change(summary) for summary in summaries]
    known = {label: change for label, change in zip(labels, changes, strict=True) if change is not None}
    lengths = _lengths({label: summary.step for label, summary, _ in named})
    warnings = [lengths, "" if all(each == probes[0] for each in probes) else others]
    unlike = [_unlike(_asked_by(summaries[0]), _asked_by(each)) for each in summaries]
    if keys := ", ".join(dict.fromkeys(key for each in unlike for key in each)):
        warnings.append(
            f"These runs were asked or graded in other ways ({keys}), so their scores do not compare with each other."
        )
    warnings.append(_measured(known))
    warnings += [f"{label}: {told}" for label, each, _ in named if (told := caveats_of(each))]
    page = {
        "names": labels,
        "headline": _headline(known),
        "warning": " ".join(filter(None, warnings)),
        "runs": [
            {"name": label, "status": summary.status.value, "colour": colour}
            for label, summary, colour in named
        ],
        "rows": _rows(summaries, stats, changes, probes, unlike),
        "sections": [(title, shown) for title, items in sections if (shown := list(filter(None, items)))],
        "differences": config_differences(summaries),
        "written": when(time.time()),
    }
    return render_page("comparison.html.j2", "azr: runs compared", "charts.js", page=page)


def _headline(known: Mapping[str, ProbeChange]) -> str:
    if len(known) < 2:
        return (
            "Fewer than two of these runs measured their probes twice, so their learning cannot be compared."
        )
    parts = (f"{label} {_changed(change)} (to {percent(change.last)})" for label, change in known.items())
    return f"Change on the frozen probes: {', '.join(parts)}."


def _changed(change: ProbeChange) -> str:
    return f"not comparable, since {change.otherwise}" if change.otherwise else change.shown


def _measured(known: Mapping[str, ProbeChange]) -> str:
    """A warning where not all runs count sampled answers to the same files, or greedy ones; empty where they do."""
    if len({change.sampled for change in known.values()}) < 2:
        return ""
    ways = (f"{label}: {f'sampled ({c.sampled})' if c.sampled else 'greedy'}" for label, c in known.items())
    return f"The scores of these runs are of other answers ({', '.join(ways)}), so they do not compare with each other."


def _lengths(steps: Mapping[str, int]) -> str:
    """A warning where the runs are not equally long; empty where they are."""
    if len(set(steps.values())) == 1:
        return ""
    told = ", ".join(f"{label} {step:,}" for label, step in steps.items())
    return f"These runs are of different lengths (steps: {told}), so their latest values belong to different amounts of training."


def _asked_by(summary: RunSummary) -> dict[str, object]:
    """What decides how the run is asked and graded, as far as it was recorded."""
    known = flat(summary.config) | {
        key.partition(" ")[0]: of for key, of in read_versions(summary.root).items()
    }
    return {key: known[key] for key in ASKED_BY if key in known}


def _unlike(first: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return [key for key in first if other.get(key, first[key]) != first[key]]


def _against(
    first: ProbeChange | None, other: ProbeChange | None, *, same_probes: bool, asked_alike: bool
) -> str:
    """The difference of two latest scores with its 95 % interval; only where both answered the same tasks."""
    if first is None or other is None:
        return "–"
    if not same_probes or not first.count or first.count != other.count:
        return "other probes"
    if first.sampled != other.sampled:
        return "other answers"
    if not asked_alike:
        return "asked otherwise"
    interval = difference_interval(first.last, other.last, first.count)
    return f"{signed(100 * (other.last - first.last), 1)} ({interval_points(interval)})"


def _rows(
    summaries: Sequence[RunSummary],
    stats: Sequence[TaskStats],
    changes: Sequence[ProbeChange | None],
    probes: Sequence[list[str]],
    unlike: Sequence[list[str]],
) -> list[tuple[str, list[str]]]:
    intervals = [
        interval_points(c.interval) if c and c.interval and not c.otherwise else "–" for c in changes
    ]
    against = [
        _against(changes[0], change, same_probes=files == probes[0], asked_alike=not keys)
        for change, files, keys in zip(changes, probes, unlike, strict=True)
    ]
    rates = [number(stat.count / max(s.table.trained, 1)) for s, stat in zip(summaries, stats, strict=True)]
    return [
        ("Steps", [f"{summary.step:,}" for summary in summaries]),
        ("Time in steps", [duration(summary.trained_s) for summary in summaries]),
        ("Recent seconds per step", [duration(summary.step_seconds) for summary in summaries]),
        ("Probe accuracy, first", [percent(c.first) if c else "–" for c in changes]),
        ("Probe accuracy, latest", [percent(c.last) if c else "–" for c in changes]),
        ("Change", [_changed(c) if c else "–" for c in changes]),
        ("99 % interval of the change, points", intervals),
        ("Latest score relative to the first run, points", ["–", *against[1:]]),
        ("Tasks accepted", [f"{stat.count:,}" for stat in stats]),
        ("Tasks accepted per step", rates),
        ("Incidents", [f"{len(summary.faults):,}" for summary in summaries]),
    ]


def _panel(
    tables: Sequence[tuple[str, MetricsTable, int]],
    title: str,
    name: str,
    *,
    share: bool = False,
    probe: bool = False,
) -> Panel | None:
    """One metric of all runs that logged it: a share, a score of the frozen probes, or any other number."""
    known = [item for item in tables if item[1].has(name)]
    if not known:
        return None
    if probe:
        lines = [
            Line(run, probe_curve(table, name, band=name == names.PROBE_ALL), colour, dots=True)
            for run, table, colour in known
        ]
        return lines_chart(title, "Greedy answers to the frozen tasks.", lines, share=True)
    lines = [Line(run, smoothed(table, name), colour) for run, table, colour in known]
    return lines_chart(title, "", lines, share=share, y_low=0.0 if share else None)


def config_differences(summaries: Sequence[RunSummary]) -> list[tuple[str, list[str]]]:
    """Keys whose value is not the same in all runs; a dash where a run does not have the key."""
    flats = [flat(summary.config) for summary in summaries]
    keys = sorted({key for values in flats for key in values})
    rows = [(key, [str(values.get(key, "–")) for values in flats]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]
