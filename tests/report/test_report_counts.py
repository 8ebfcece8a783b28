"""What the report counts and marks: tasks of the pool, faults apart from requests, lines with a legend,
shares within bounds."""

from __future__ import annotations

import errno
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from synthetic_run import write_synthetic_run

from azr.data import frozen
from azr.data.frozen import hashes_path
from azr.report.charts import Line, line_chart, percent_tick
from azr.report.html import write_comparison, write_report
from azr.report.metrics import read_metrics_table
from azr.report.panel import MARK_WORDS
from azr.report.screen import plain_line, render
from azr.report.series import smooth_curve
from azr.report.summary import RunSummary
from azr.report.summary_reader import read_summary
from azr.report.tasks import read_task_stats
from azr.report.verdict import deciding_change, judge_run
from azr.run import metric_names as names
from azr.run.rundir import RunDir
from azr.system.files import append_jsonl, file_hash, make_folder, write_json_atomic

CHART = re.compile(r"<figure.*?</figure>", re.DOTALL)


def page_of(run: RunDir) -> str:
    return write_report(run.root).read_text(encoding="utf-8")


def tile(page: str, label: str) -> tuple[str, str]:
    found = re.search(rf"<dt>{label}</dt><dd>(.*?)(?:<small>(.*?)</small>)?</dd>", page)
    assert found is not None, f"no tile {label}"
    return found[1], found[2] or ""


def table_after(page: str, title: str) -> str:
    return page.split(title, 1)[1].split("</table>", 1)[0]


def test_what_the_user_asked_for_is_no_incident(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=60)
    assert len(read_summary(run.root).faults) == 2
    append_jsonl(
        run.incidents,
        [
            {"kind": kind, "cause": f"asked: {kind}", "step": 30, "unix_s": 5.0}
            for kind in ("stop", "pause", "resume")
        ],
    )
    page = page_of(run)
    value, note = tile(page, "Incidents")
    assert value == "2" and "not counted: 3 that you requested" in note
    assert "asked: stop" not in table_after(page, "<h2>Incidents</h2>") and "asked: stop" in table_after(
        page, "What you asked for"
    )
    compared = write_comparison([run.root, run.root], tmp_path / "c.html").read_text(encoding="utf-8")
    assert re.search(r"<td>Incidents</td><td[^>]*>2</td>", compared)


def test_a_run_without_requests_has_no_list_of_them(tmp_path: Path) -> None:
    assert "What you asked for" not in page_of(write_synthetic_run(tmp_path / "run", steps=60))


def test_vertical_lines_have_a_legend_where_they_are_drawn(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=60, steps_per_cycle=30)
    append_jsonl(run.incidents, [{"kind": "pause", "cause": "?", "step": 12, "unix_s": 5.0}])
    charts = CHART.findall(page_of(run))
    drawn = 0
    for chart in charts:
        for kind, words in MARK_WORDS.items():
            shown = f'class="mark {kind}"' in chart
            drawn += shown
            assert (f'<i class="key {kind}"></i>{words}' in chart) == shown
    assert drawn >= 3 * 3, "several charts show all three"
    quiet = CHART.findall(page_of(write_synthetic_run(tmp_path / "quiet", steps=15, steps_per_cycle=30)))
    assert quiet and not any('class="key' in chart for chart in quiet)


def test_the_tile_counts_the_pool(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=40, steps_per_cycle=20)  # 60 tasks a cycle
    assert tile(page_of(run), "Tasks") == ("+120", "3 accepted per step")
    run.cycle_tasks(1).write_text("{}\n" * 100)
    write_json_atomic(run.pool_manifest, {"tasks": 100, "through_shard": 0})
    assert tile(page_of(run), "Tasks in the pool") == (
        "100",
        "120 accepted in self-play, 3 accepted per step; 120 not merged yet",
    )
    write_json_atomic(run.pool_manifest, {"tasks": 150, "through_shard": 1})
    page = page_of(run)
    assert tile(page, "Tasks in the pool") == (
        "100 → 150",
        "120 accepted in self-play, 3 accepted per step; 60 not merged yet",
    )
    assert "After the merges, which leave out copies and leaks, the pool holds 150." in page


def test_tasks_of_undone_steps_are_no_tasks_a_step(tmp_path: Path) -> None:
    """Checkpoints were lost: the shards of two cycles stand there, and one step of training counts."""
    run = write_synthetic_run(tmp_path / "run", steps=40, steps_per_cycle=20)
    record = json.loads(run.metrics.read_text().splitlines()[0]) | {"cycle": 3, "attempt": 1, "step": 11}
    append_jsonl(run.metrics, [record])
    task = json.loads(run.shard(1).read_text().splitlines()[0])
    append_jsonl(run.shard(3), [task | {"lineage": task["lineage"] | {"cycle": 3, "step": 11}}])
    stats = read_task_stats(run.root, 0)
    assert (stats.count, stats.undone, stats.by_cycle) == (31, 90, {1: 60, 2: 60, 3: 1})
    assert sum(stats.by_type.values()) == len(stats.accuracies) == 31 and stats.steps.max() == 11
    page = page_of(run)
    assert tile(page, "Tasks") == (
        "+31",
        "2.82 accepted per step, 90 more in steps that were undone or not finished",
    )
    compared = write_comparison([run.root, run.root], tmp_path / "c.html").read_text(encoding="utf-8")
    assert re.search(r"<td>Tasks accepted per step</td><td[^>]*>2.82</td>", compared)
    assert re.search(r"<li>31 tasks \([^)]*\) were proposed, verified and accepted", page)


@pytest.mark.parametrize(("level", "low", "high"), [(0.02, 0.0, None), (0.98, None, 1.0)])
def test_bands_and_axis_of_shares_stay_between_0_and_1(
    level: float, low: float | None, high: float | None
) -> None:
    """The normal band of a share near its end leaves the range; the axis ends where shares do, and the band
    with it."""
    values = (np.random.default_rng(0).random(60) < level).astype(float)
    curve = smooth_curve(np.arange(60, dtype=np.float64), values, 5)
    assert (
        curve.low is not None
        and curve.high is not None
        and (curve.low.min() < -0.1 or curve.high.max() > 1.1)
    )
    lines = [Line("a", curve, 0)]
    assert line_chart("t", lines, y_format=percent_tick) == line_chart(
        "t", lines, y_low=low, y_high=high, y_format=percent_tick
    )
    assert line_chart("t", lines) != line_chart("t", lines, y_low=low, y_high=high), (
        "other quantities have no such bounds"
    )


def test_a_run_without_a_card_shows_no_phases_of_one(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=20)
    page = page_of(run)
    assert "GPU memory by phase" in page and "No GPU was used" not in page
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for line in lines:  # as a run on a processor logs it
        line["values"] = {
            name: value for name, value in line["values"].items() if not name.endswith(names.VRAM_SUFFIX)
        }
        line["values"]["memory/update" + names.TRAINER_PEAK_SUFFIX] = 0.0
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    samples = [json.loads(line) | {"vram_gib": None} for line in run.supervision.read_text().splitlines()]
    run.supervision.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    page = page_of(run)
    assert "by phase</h3>" not in page and "No GPU was used" in page and "Memory over time" in page


def test_a_clock_that_was_set_back_mixes_no_samples_of_memory(tmp_path: Path) -> None:
    """They were sorted by their dates: the chart ended with an earlier sample, and said that it was the latest."""
    run = write_synthetic_run(tmp_path / "run", steps=20)
    samples = [json.loads(line) for line in run.supervision.read_text().splitlines()]
    for number, sample in enumerate(samples):
        sample["trainer_gib"] = 10.0 + number / 10
        if number >= len(samples) // 2:
            sample["unix_s"] -= 86400
    run.supervision.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    chart = page_of(run).partition("Memory over time")[2].partition("Free disk")[0]
    latest = f"{samples[-1]['trainer_gib']:.3g}"
    assert re.search(rf"trainer\s*(<[^>]*>\s*)*{latest}", chart) and "minutes" in chart


def test_a_comparison_warns_of_different_lengths(tmp_path: Path) -> None:
    roots = [
        write_synthetic_run(tmp_path / name, steps=steps).root
        for name, steps in (("short", 20), ("long", 60), ("same", 60))
    ]
    page = write_comparison(roots[:2], tmp_path / "c.html").read_text(encoding="utf-8")
    assert "These runs are of different lengths (steps: short 20, long 60)" in page
    assert "different lengths" not in write_comparison(roots[1:], tmp_path / "d.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("damage", ["removed", "emptied", "power cut"])
def test_steps_of_which_the_metrics_say_nothing_are_named(tmp_path: Path, damage: str) -> None:
    """Their figures are missing everywhere else, which must not pass for a shorter run."""
    run = write_synthetic_run(tmp_path / "run", steps=30)
    assert not read_summary(run.root).problems
    data = run.metrics.read_bytes()
    half = len(data) // 2
    kept = {"removed": None, "emptied": b"", "power cut": data[:half] + b"\0" * (len(data) - half)}[damage]
    run.metrics.unlink() if kept is None else run.metrics.write_bytes(kept)
    left = read_metrics_table(run.metrics).trained
    [told] = read_summary(run.root).problems
    assert told.startswith(f"metrics.jsonl lacks {30 - left} of the 30 trained steps")
    assert told in write_report(run.root).read_text() and told in plain_line(read_summary(run.root))


def test_a_hole_in_the_metrics_is_named(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=30)
    lines = run.metrics.read_bytes().splitlines(keepends=True)
    run.metrics.write_bytes(b"".join([*lines[:-14], b"\0" * 500 + b"\n", *lines[-10:]]))
    assert read_summary(run.root).problems == (
        "metrics.jsonl lacks 4 of the 30 trained steps (damaged or removed), and all figures leave them out",
    )


def test_accepted_tasks_whose_shard_is_gone_are_named(tmp_path: Path) -> None:
    """A cycle's folder that was deleted to make room must not pass for a run that found fewer tasks."""
    run = write_synthetic_run(tmp_path / "run", steps=30)
    accepted = read_task_stats(run.root, 1).count
    run.shard(1).unlink()
    [told] = read_summary(run.root).problems
    assert re.match(r"cycles/001/shard.jsonl is gone: \d+ tasks that cycle 1 accepted", told)
    assert read_task_stats(run.root, 1).count < accepted and told in write_report(run.root).read_text()


def test_probes_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's own view reads them every few seconds: one that failed ended the run."""
    run = write_synthetic_run(tmp_path / "run", steps=30)
    probe = run.probes / "shipped.jsonl"
    make_folder(probe.parent)
    probe.write_text("{}\n")
    write_json_atomic(hashes_path(run), {"probes": {probe.name: file_hash(probe)}, "evaluation": {}})
    assert read_summary(run.root).problems == ()

    def hangs(path: Path) -> str:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    monkeypatch.setattr(frozen, "file_hash", hangs)
    [told] = read_summary(run.root).problems
    assert str(probe) in told and os.strerror(errno.ESTALE) in told


def test_accepted_tasks_that_were_removed_from_a_shard_are_named(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=30)
    whole, told = read_task_stats(run.root, 1), "stand in no shard any more"
    assert told not in " ".join(judge_run(read_summary(run.root), whole).evidence)
    lines = run.shard(1).read_bytes().splitlines(keepends=True)
    run.shard(1).write_bytes(b"".join(lines[:-5]))
    evidence = " ".join(judge_run(read_summary(run.root), read_task_stats(run.root, 1)).evidence)
    assert f"5 of the {whole.count:,} tasks that the steps accepted {told}" in evidence


def test_probes_that_are_never_asked_are_told(tmp_path: Path) -> None:
    """A probe file of which no task fits the prompt limit gave no accuracy, and nobody said why."""
    run, values = RunDir(tmp_path / "run"), {names.PROBES_TOO_LONG: 7.0}
    append_jsonl(run.metrics, [{"step": 0, "cycle": 1, "attempt": 1, "unix_s": 1.0, "values": values}])
    [told] = read_summary(run.root).problems
    assert told.startswith("7 frozen probe tasks did not fit rollout.max_prompt_tokens")


def test_scores_of_other_probe_tasks_are_not_compared(tmp_path: Path) -> None:
    """A run whose probes were changed on the way: 3 of 4 right before, 30 of 100 after, is no decline."""
    run = RunDir(tmp_path / "run")

    def score(step: int, count: int, share: float) -> dict[str, object]:
        values = {names.PROBE_ALL: share, names.PROBE_COUNT: float(count)}
        return {"step": step, "cycle": 1, "attempt": 1, "unix_s": float(step), "values": values}

    append_jsonl(run.metrics, [score(0, 4, 0.75), score(10, 100, 0.3)])
    assert deciding_change(read_summary(run.root)) is None
    append_jsonl(run.metrics, [score(20, 100, 0.32)])
    change = deciding_change(read_summary(run.root))
    assert change is not None and (change.first, change.first_step, change.last_step) == (0.3, 10, 20)


@pytest.mark.parametrize("shift_s", [0.0, 3.15e8, -6.3e8, 36_000.0, -7200.0])
def test_the_time_that_a_run_took_is_not_read_from_a_clock_that_was_set(
    tmp_path: Path, shift_s: float
) -> None:
    """Begun with an empty clock battery, carried through a night in a closed laptop, or over a correction of the clock."""
    run = write_synthetic_run(tmp_path / "run", steps=30)
    state = json.loads(run.state.read_text())
    last = float(read_metrics_table(run.metrics).unix_s[-1])
    state |= {"started_unix_s": last + shift_s, "updated_unix_s": last, "active_s": 5400.0}
    write_json_atomic(run.state, state)
    summary = read_summary(run.root)
    assert summary.worked_s == 5400
    assert "1 h 30 min" in page_of(run) and "took 1 h 30 min" in screen_of(summary)


def screen_of(summary: RunSummary) -> str:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render(summary, 100))
    return console.export_text()


def test_a_run_that_was_killed_took_until_its_latest_step(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=30, finished=False)
    state = json.loads(run.state.read_text())
    last = read_metrics_table(run.metrics).unix_s[-1]
    write_json_atomic(run.state, state | {"updated_unix_s": last - 600, "active_s": 5400.0})
    assert read_summary(run.root).worked_s == pytest.approx(6000)


def test_steps_that_a_crash_undid_do_not_count_where_the_time_was_up_before_they_were_trained_again(
    tmp_path: Path,
) -> None:
    """The report said that 15 steps were trained; the model had 14."""
    run = write_synthetic_run(tmp_path / "run", steps=15, undone=False)
    done = json.loads(run.state.read_text(encoding="utf-8")) | {
        "step": 14,
        "sentence": "The time budget of 1 h is used up. Raise campaign.hours to continue.",
    }
    write_json_atomic(run.state, done)
    assert read_summary(run.root).step == 14 and "step 14/" in plain_line(read_summary(run.root))
    page = page_of(run)
    assert tile(page, "Training steps")[0] == "14"
    assert (
        "<code>campaign.hours</code> and run" in page and "<code>campaign.cycles</code> and run" not in page
    )
    write_json_atomic(run.state, done | {"state": "TRAIN"})
    assert read_summary(run.root).step == 15, "they may still be trained again"
    write_json_atomic(run.state, done | {"state": "CONSOLIDATE"})
    assert read_summary(run.root).step == 14, "the cycle ended with what was saved"
