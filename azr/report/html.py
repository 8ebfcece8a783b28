"""Writes the report: one self-contained HTML file a run, or one that compares several. No network, no
external script."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from azr.config.report import ReportConfig
from azr.errors import ConfigError, DataError
from azr.report.charts import spark_svg
from azr.report.comparison import render_comparison
from azr.report.pages import render_page
from azr.report.panel import marks_of
from azr.report.panels import PHASE_COLOURS, panels_of
from azr.report.samples import sample_cards
from azr.report.summary import RunStatus, RunSummary, lookup
from azr.report.summary_reader import read_summary
from azr.report.tasks import TaskStats, read_task_stats
from azr.report.text import duration, means_of_parts, number, percent, points, signed, when
from azr.report.transcripts import PAGE_NAME, Transcript, read_sample, render_transcripts
from azr.report.verdict import deciding_change, judge_run
from azr.report.versions import read_versions
from azr.run import metric_names as names
from azr.run.records import from_json
from azr.run.rundir import RunDir
from azr.run.start_record import SHOWN_S, TimeShares
from azr.system.files import refuse_foreign, write_text_atomic
from azr.wording import counted

TAIL = 20
MAX_INCIDENTS = 200
MAX_VERDICTS = 60
COMPARISON_NAME = "comparison.html"
_BEGINNING = b"<!doctype html><!-- azr -->"


def write_report(root: Path, output: Path | None = None) -> Path:
    """Writes ``report.html`` (and ``transcripts.html`` if there are transcripts) into the run directory, atomically.

    Args:
        output: a file, or a folder for a file named after the run; the transcripts are written beside it.

    Raises:
        DataError: ``root`` is not a directory, or ``output`` is a file of another kind.
        OSError: the disk is full or read-only.
    """
    summary = read_summary(root)
    config = report_config(summary)
    stats = read_task_stats(root, config.sample_tasks, summary.table)
    path = output or RunDir(root).report
    if path.is_dir():
        path /= f"{summary.name}.html"
    if output is not None:
        refuse_foreign(path, _BEGINNING)
    # reports of several runs share a folder
    page = PAGE_NAME if output is None else f"{path.stem}-{PAGE_NAME}"
    transcripts = read_sample(root)
    link = _link(page) if transcripts.items else ""
    if link:
        if output is not None:
            refuse_foreign(path.parent / page, _BEGINNING)
        text = render_transcripts(summary.name, transcripts, report=_link(path.name))
        write_text_atomic(path.parent / page, text)
    write_text_atomic(path, render_report(summary, stats, config, transcripts.items, link))
    return path


def _link(file_name: str) -> str:
    """A file beside a page as its address: ``#``, ``?``, ``%`` and ``:`` mean something in one."""
    return quote(os.fsencode(file_name))


def report_config(summary: RunSummary) -> ReportConfig:
    """The run's own ``report`` section; defaults where there is none that this version understands."""
    try:
        config = from_json(ReportConfig, summary.config.get("report", {}), summary.root)
        config.validate()
    except (ConfigError, DataError):
        return ReportConfig()
    return config


def render_report(
    summary: RunSummary, stats: TaskStats, config: ReportConfig, transcripts: list[Transcript], link: str = ""
) -> str:
    """Args:
    transcripts: of the run, or a sample of them.
    link: relative, to the transcript page; empty if there is none.
    """
    table = summary.table
    sections = {**panels_of(summary, stats, marks_of(summary)), "samples": sample_cards(stats, transcripts)}
    rejections = summary.rejections()
    started = summary.status is not RunStatus.EMPTY
    versions = list(read_versions(summary.root).items())
    anchors = [
        ("verdict", "Verdict", True),
        ("learning", "Learning", sections["learning"]),
        ("tasks", "Tasks", sections["tasks"] or rejections),
        ("samples", "Samples", sections["samples"]),
        ("resources", "Time and memory", sections["resources"]),
        ("health", "Health", sections["health"]),
        ("incidents", "Incidents", started),
        ("configuration", "Configuration", summary.config_text or versions),
    ]
    total = sum(count for _, count in rejections) or 1
    tail = "one step" if table.trained == 1 else f"all {table.trained} steps"
    page = {
        "subtitle": _subtitle(summary),
        "verdict": judge_run(summary, stats),
        "nav": [(anchor, label) for anchor, label, shown in anchors if shown],
        "facts": _facts(summary, stats, config),
        "streams": _stream_rows(summary) if len(table) else [],
        "tail": f"the last {TAIL} steps" if table.trained > TAIL else tail,
        "rejections": [
            (reason, index % 8, count / total, f"{count:,}")
            for index, (reason, count) in enumerate(rejections[:12])
        ],
        "transcripts": link,
        "time_bars": [
            (
                names.phase_label(item.phase),
                PHASE_COLOURS[item.phase],
                item.share,
                f"{percent(item.share, 0)} · {duration(item.seconds)} per step",
            )
            for item in summary.phase_shares()
        ],
        "start_bars": _share_bars(summary.start) if summary.start else [],
        "hand_over_bars": _share_bars(summary.hand_over) if summary.hand_over else [],
        "started": started,
        "incidents": summary.faults[-MAX_INCIDENTS:],
        "asked": [item for item in summary.incidents if item.asked][-MAX_INCIDENTS:],
        "verdicts": summary.verdicts[-MAX_VERDICTS:],
        "incidents_left_out": max(0, len(summary.faults) - MAX_INCIDENTS),
        "others": _other_rows(summary),
        "versions": versions,
        "written": when(time.time()),
        **sections,
    }
    return render_page("report.html.j2", f"{summary.name} · azr report", "charts.js", page=page, run=summary)


def _share_bars(shown: TimeShares) -> list[tuple[str, int, float, str]]:
    total_s = shown.total_s or 1.0
    return [
        (share.name, index % 8, share.seconds / total_s, f"{duration(share.seconds)}{share.details}")
        for index, share in enumerate(shown.shares)
        if share.seconds >= SHOWN_S
    ]


def _subtitle(summary: RunSummary) -> str:
    parts = []
    if summary.cycle:
        planned = f" of {summary.cycles_planned}" if summary.cycles_planned else ""
        parts.append(f"cycle {summary.cycle}{planned}")
    if summary.step:
        parts.append(f"step {summary.step:,}")
    model = lookup(summary.config, "model.path")
    if isinstance(model, str):
        parts.append(model)
    if summary.started_unix_s:
        parts.append(f"{when(summary.started_unix_s)} to {when(summary.ended_unix_s)}")
    return " · ".join(parts)


def _facts(summary: RunSummary, stats: TaskStats, config: ReportConfig) -> list[tuple[str, str, str]]:
    table = summary.table
    if not table.trained:
        return []
    starting = f", {duration(summary.starting_s)} in starts" if summary.starting_s else ""
    facts = [
        ("Training steps", f"{summary.step:,}", f"{duration(summary.step_seconds)} per step lately"),
        ("Time", duration(summary.worked_s), f"{duration(summary.trained_s)} of it in steps{starting}"),
    ]
    if change := deciding_change(summary):
        since = f"{points(change.change)} since step {change.first_step}, on {change.probes}"
        since = (
            f"on {change.probes}; asked otherwise at step {change.first_step}" if change.otherwise else since
        )
        facts.append(("Probe accuracy", percent(change.last), since))
    elif table.has(names.PROBE_ALL):
        facts.append(("Probe accuracy", percent(table.last(names.PROBE_ALL)), "measured once"))
    facts.append(_tasks_fact(summary, stats))
    vram = summary.vram_gib()
    if vram is not None:
        peaks = [
            np.nanmax(table.column(name)) for name in table.named(names.MEMORY_PREFIX, names.VRAM_SUFFIX)
        ]
        facts.append(("GPU memory", f"{number(vram)} GiB", f"at most {number(float(max(peaks)))} GiB"))
    if config.machine_watts and summary.trained_s:
        kwh = config.machine_watts * summary.trained_s / 3.6e6
        euro = f"{number(kwh * config.eur_per_kwh)} € at {config.eur_per_kwh} €/kWh, steps only, {config.machine_watts:.0f} W as configured"
        facts.append(("Energy", f"{number(kwh)} kWh", euro))
    asked = len(summary.incidents) - len(summary.faults)
    notes = [f"{counted(table.undone, 'step')} trained again"] if table.undone else []
    notes += [f"not counted: {asked} that you requested (stop, pause ...)"] if asked else []
    facts.append(("Incidents", f"{len(summary.faults):,}", "; ".join(notes)))
    return facts


def _tasks_fact(summary: RunSummary, stats: TaskStats) -> tuple[str, str, str]:
    """The pool as its manifest counts it, beside what self-play accepted (docs/data.md, "How tasks are counted")."""
    gained = stats.count or round(summary.table.total(names.ACCEPTED))
    rate = f"{number(gained / max(summary.table.trained, 1))} accepted per step"
    if stats.undone:
        rate += f", {stats.undone:,} more in steps that were undone or not finished"
    if summary.pool.tasks is None:
        return ("Tasks", f"+{gained:,}", rate)
    begun = f"{stats.seeds:,} → " if stats.seeds and summary.pool.through_shard else ""
    waiting = sum(count for cycle, count in stats.by_cycle.items() if cycle > summary.pool.through_shard)
    if summary.solves_only and not gained:
        return ("Tasks in the pool", f"{begun}{summary.pool.tasks:,}", "given; none were proposed")
    note = f"{gained:,} accepted in self-play, {rate}" + (f"; {waiting:,} not merged yet" if waiting else "")
    return ("Tasks in the pool", f"{begun}{summary.pool.tasks:,}", note)


def _stream_rows(summary: RunSummary) -> list[dict[str, Any]]:
    table, rows = summary.table, []
    for index, stream in enumerate(table.streams):
        reward, accuracy = names.reward(stream.name), names.accuracy(stream.name)
        if not (table.has(reward) or table.has(accuracy)):
            continue
        right = table.tail_mean(accuracy, TAIL)
        formed = table.tail_mean(names.format_ok(stream.name), TAIL)
        given = right / formed if stream.role.value == "solve" and right is not None and formed else None
        rows.append(
            {
                "name": stream.name,
                "reward": signed(table.tail_mean(reward, TAIL)),
                "reward_spark": _spark(table.column(reward), index // 2),
                "accuracy": percent(right),
                "accuracy_spark": _spark(table.column(accuracy), index // 2),
                "format": percent(formed),
                "given_format": percent(min(given, 1.0)) if given is not None else "–",
            }
        )
    return rows


def _spark(values: np.ndarray, colour: int) -> Markup:
    return spark_svg(means_of_parts(values, 60), colour)


def _other_rows(summary: RunSummary) -> list[dict[str, Any]]:
    rows = []
    for name in filter(summary.table.has, sorted(summary.table.columns)):
        known = summary.table.known(name)
        numbers = {"first": known[0], "last": known[-1], "low": known.min(), "high": known.max()}
        words = {key: number(float(value)) for key, value in numbers.items()}
        rows.append({"name": name, "spark": _spark(summary.table.column(name), 0), **words})
    return rows


def write_comparison(roots: Sequence[Path], output: Path) -> Path:
    """One page over two or more runs.

    Raises:
        DataError: a root is not a directory, fewer than two were given, or ``output`` is a file of another kind.
    """
    if len(roots) < 2:
        raise DataError("a comparison needs at least two run directories")
    if output.is_dir():
        output /= COMPARISON_NAME
    refuse_foreign(output, _BEGINNING)
    summaries = [read_summary(root) for root in roots]
    stats = [read_task_stats(summary.root, 0, summary.table) for summary in summaries]
    write_text_atomic(output, render_comparison(summaries, stats))
    return output
