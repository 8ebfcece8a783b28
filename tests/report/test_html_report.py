from __future__ import annotations

import html
import inspect
import json
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path
from urllib.parse import urljoin

import pytest
from synthetic_run import HOSTILE, write_synthetic_run

from azr.cli import run_command
from azr.config import Config
from azr.config.load import write_config
from azr.config.train import TrainConfig
from azr.report.comparison import config_differences
from azr.report.html import write_comparison, write_report
from azr.report.series import thinned
from azr.report.summary_reader import read_summary
from azr.report.tasks import BINS, difficulty_shares, read_task_stats
from azr.report.text import cut, gist, number
from azr.report.transcripts import MAX_SHOWN, read_sample
from azr.report.verdict import judge_run
from azr.report.versions import collect_versions, write_versions
from azr.run import metric_names as names
from azr.run.records import KNOWN_PROBES
from azr.run.rundir import RunDir, told_apart
from azr.run.start_record import START_FILE, StartPart, TimeMark
from azr.system.files import append_jsonl, write_json_atomic

ROOT = Path(__file__).resolve().parents[2]


class _Outline(HTMLParser):
    """Checks that tags nest, and collects scripts and whatever would be fetched."""

    VOID = frozenset({"meta", "link", "br", "input", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.scripts += 1
        for name, value in attrs:
            if name in ("src", "srcset", "data", "action") or (tag == "link" and name == "href"):
                self.fetched.append(value or "")
            assert not name.startswith("on"), f"event handler {name}"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


def _outline(page: str) -> _Outline:
    outline = _Outline()
    outline.feed(page)
    assert not outline.open
    return outline


def test_the_page_is_well_formed_and_fetches_nothing(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=90)
    for path in (write_report(run.root), run.root / "transcripts.html"):
        outline = _outline(path.read_text(encoding="utf-8"))
        assert outline.scripts == 1
        assert all(address.startswith("data:") for address in outline.fetched)


def test_model_text_is_escaped_everywhere(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=12)
    shard = json.loads(run.shard(1).read_text().splitlines()[-1])
    shard["snippet"] = f"def f(x):\n    return '{HOSTILE}'"
    shard["lineage"]["accuracy"] = 0.5
    run.shard(1).write_text(run.shard(1).read_text() + json.dumps(shard) + "\n")
    run.transcripts(1).write_text(
        json.dumps(
            {
                "stream": HOSTILE,
                "rejection": HOSTILE,
                "reason": HOSTILE,
                "prompt": HOSTILE,
                "response": HOSTILE,
                "step": 1,
            }
        )
        + "\n"
    )
    run.incidents.write_text(
        json.dumps({"kind": HOSTILE, "cause": HOSTILE, "action": HOSTILE, "step": 3, "unix_s": 5}) + "\n"
    )
    run.config.write_text(f"model:\n  path: {json.dumps(HOSTILE)}\n")
    metrics = {
        "step": 13,
        "cycle": 1,
        "attempt": 1,
        "unix_s": 1.0,
        "values": {f"data/rejected/{HOSTILE}": 3, HOSTILE: 1, f"memory/{HOSTILE}": 1},
    }
    with open(run.metrics, "a", encoding="utf-8") as file:
        file.write(json.dumps(metrics) + "\n")
    write_json_atomic(run.state, {"state": "TRAIN", "sentence": HOSTILE, "cycle": 1})
    for path in (write_report(run.root), run.root / "transcripts.html"):
        page = path.read_text(encoding="utf-8")
        assert HOSTILE not in page and 'onerror="document' not in page
        assert _outline(page).scripts == 1
        assert "&lt;/script&gt;" in page


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_young_and_empty_runs_have_a_report(tmp_path: Path, steps: int) -> None:
    root = tmp_path / "run"
    if steps:
        write_synthetic_run(root, steps=steps, finished=False)
    else:
        root.mkdir()
    page = write_report(root).read_text(encoding="utf-8")
    _outline(page)
    assert ("Nothing has run here yet" in page) == (steps == 0)
    assert "nan" not in re.sub(
        r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.DOTALL
    ).lower().replace("finance", "")


def test_a_configuration_that_is_nested_without_end_is_told(tmp_path: Path) -> None:
    """libyaml, which reads it, would end the process."""
    run = write_synthetic_run(tmp_path / "run", steps=2)
    for text in ("[" * 100_000, "- " * 100_000):
        run.config.write_text(text)
        assert any("nested too deeply" in problem for problem in read_summary(run.root).problems)


def test_a_crashed_run_with_damaged_files_has_a_report_that_says_so(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=30, finished=False)
    run.state.write_bytes(b'{"state": "TR')
    run.config.write_text("a: [1")
    with open(run.metrics, "ab") as file:
        file.write(b'{"step": 31, "val')
    with open(run.shard(1), "ab") as file:
        file.write(b'{"task_type": "abduction"}\n{"task_type": 5}\n\xff\xfe\n')
    page = write_report(run.root).read_text(encoding="utf-8")
    assert "interrupted" in page and "could not be read" in page and "Run the same command again" in page


@pytest.mark.parametrize(
    ("first", "last", "count", "expected"),
    [
        (0.3, 0.45, 600, "It learned"),
        (0.3, 0.31, 600, "No clear change"),
        (0.45, 0.3, 600, "It got worse"),
        (0.3, 0.45, None, "not known"),
    ],
)
def test_the_headline_follows_the_interval(
    tmp_path: Path, first: float, last: float, count: int | None, expected: str
) -> None:
    run = RunDir(tmp_path)
    lines = []
    for step, score in ((1, first), (2, None), (3, last)):
        values = {names.STEP_SECONDS: 1.0} | ({names.PROBE_ALL: score} if score is not None else {})
        values |= {names.PROBE_COUNT: count} if count and score is not None else {}
        lines.append(
            json.dumps({"step": step, "cycle": 1, "attempt": 1, "unix_s": 1.0 * step, "values": values})
            + "\n"
        )
    run.metrics.write_text("".join(lines))
    verdict = judge_run(read_summary(tmp_path), read_task_stats(tmp_path, 1))
    assert expected in verdict.headline
    assert "control" not in verdict.headline
    write_config(run.config, Config(train=TrainConfig(control="shuffled_rewards")))
    verdict = judge_run(read_summary(tmp_path), read_task_stats(tmp_path, 1))
    assert " A control experiment (train.control=shuffled_rewards): it means" in verdict.headline


def test_what_was_trained_for_a_part_of_the_run_is_in_the_headline(tmp_path: Path) -> None:
    """The configuration of the end says nothing of a control or a role that was switched on and off, and nothing of probes that
    the model knew before the run."""
    run = RunDir(tmp_path / "part")
    run.root.mkdir()
    lines = [
        {"step": step, "cycle": cycle, "attempt": attempt, "unix_s": 1.0}
        | {"values": {names.STEP_SECONDS: 1.0} | ({names.PROPOSED: 8.0 * (step != 3)} if step else {})}
        for step, cycle, attempt in ((0, 1, 1), (1, 1, 1), (2, 1, 2), (3, 2, 1), (4, 2, 2), (5, 2, 3))
    ]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    changes = (
        (1, 1, "none -> format_only"),
        (2, 1, "format_only -> shuffled_rewards"),
        (2, 2, "shuffled_rewards -> none"),
    )
    incidents = [
        {"kind": "settings", "cause": f"Changed since the latest start: seed 1 -> 2, train.control {change}."}
        | {"cycle": cycle, "attempt": attempt}
        for cycle, attempt, change in changes
    ]
    incidents.append({"kind": KNOWN_PROBES, "cause": "3 of 9 are known.", "action": "Take others."})
    run.incidents.write_text("".join(json.dumps(item) + "\n" for item in incidents))
    write_config(run.config, Config())
    told = (
        "Of the 5 steps, 2 were trained under train.control=format_only and 1 was trained under "
        "train.control=shuffled_rewards, so its figures are neither those of the full game nor those of a control. "
        "Of the 5 steps, 1 trained the solver alone, without proposals (selfplay.train_propose=false, or "
        "selfplay.solve_only_steps). 3 of 9 are known."
    )
    assert told in judge_run(read_summary(run.root), read_task_stats(run.root, 1)).headline
    other = shutil.copytree(run.root, tmp_path / "other")
    page = write_comparison([run.root, other], tmp_path / "c.html").read_text(encoding="utf-8")
    assert f"part: {told}" in page and f"other: {told}" in page


@pytest.mark.parametrize(
    ("error", "since", "expected"),
    [
        (None, 0.0, "No clear change"),
        (0.02, 0.25, "It learned"),
        (0.04, 0.25, "No clear change"),
        (0.02, 0.28, "No clear change"),
    ],
)
def test_the_headline_pairs_by_task_where_the_run_did(
    tmp_path: Path, error: float | None, since: float, expected: str
) -> None:
    run = RunDir(tmp_path)
    lines = []
    for step, score in ((0, 0.25), (1, 0.28), (2, 0.31)):
        values = {names.STEP_SECONDS: 1.0, names.PROBE_ALL: score, names.PROBE_COUNT: 240}
        values |= (
            {names.PROBE_CHANGE: score - since, names.PROBE_CHANGE_ERROR: error}
            if error is not None and step
            else {}
        )
        lines.append(
            json.dumps({"step": step, "cycle": 1, "attempt": 1, "unix_s": 1.0 * step, "values": values})
            + "\n"
        )
    run.metrics.write_text("".join(lines))
    assert expected in judge_run(read_summary(tmp_path), read_task_stats(tmp_path, 1)).headline


@pytest.mark.parametrize(
    ("decides", "expected"),
    [
        (
            "easy",
            "It learned: from 20.0\u00a0% to 30.0\u00a0% on 400 frozen tasks of easy, 2 sampled answers each",
        ),
        ("", "No clear change"),
    ],
)
def test_sampled_answers_of_the_named_probes_decide(tmp_path: Path, decides: str, expected: str) -> None:
    run = RunDir(tmp_path)
    run.config.write_text(json.dumps({"train": {"verdict_probes": decides, "verdict_samples": 2}}))
    measured = {"easy": (0.3, 0.1, 0.02, 400), "hard": (0.1, 0.0, 0.02, 200), "all": (0.2, 0.03, 0.02, 600)}
    lines = []
    for step in range(3):
        values = {names.STEP_SECONDS: 1.0, names.PROBE_ALL: 0.2, names.PROBE_COUNT: 120}
        values |= {names.PROBE_CHANGE: 0.0, names.PROBE_CHANGE_ERROR: 0.03} if step else {}
        for probes, (after, change, error, tasks) in measured.items():
            if step == 2:
                values |= {names.verdict(probes, "accuracy"): after, names.verdict(probes, "tasks"): tasks}
                values |= {
                    names.verdict(probes, "change"): change,
                    names.verdict(probes, "change_error"): error,
                }
        lines.append(
            json.dumps({"step": step, "cycle": 1, "attempt": 1, "unix_s": 1.0 * step, "values": values})
            + "\n"
        )
    run.metrics.write_text("".join(lines))
    verdict = judge_run(read_summary(tmp_path), read_task_stats(tmp_path, 1))
    assert verdict.headline.startswith(expected) and "99\u00a0% interval" in verdict.headline
    write_json_atomic(run.first_verdict_scores, {"samples": 1, "scores": {}})  # the setting was raised later
    now = judge_run(read_summary(tmp_path), read_task_stats(tmp_path, 1)).headline
    assert "2 sampled answers each" not in now and ", sampled answers (+" in now
    evidence = " ".join(verdict.evidence)
    assert "on 200 frozen tasks of hard" in evidence and ("on 600 frozen tasks, 2" in evidence) is bool(
        decides
    )


@pytest.mark.parametrize(("error", "expected"), [(0.0380, "It learned"), (0.0392, "No clear change")])
def test_one_percent_is_the_limit(tmp_path: Path, error: float, expected: str) -> None:
    """Two-sided p of 0.0085 and 0.0107."""
    values = {
        names.verdict("all", "accuracy"): 0.3,
        names.verdict("all", "change"): 0.1,
        names.verdict("all", "change_error"): error,
    }
    values |= {names.verdict("all", "tasks"): 100, names.STEP_SECONDS: 1.0}
    RunDir(tmp_path).metrics.write_text(
        json.dumps({"step": 1, "cycle": 1, "attempt": 1, "unix_s": 1.0, "values": values}) + "\n"
    )
    assert judge_run(read_summary(tmp_path), read_task_stats(tmp_path, 1)).headline.startswith(expected)


def test_a_rising_reward_alone_is_no_learning(tmp_path: Path) -> None:
    lines = [
        {
            "step": s,
            "cycle": 1,
            "attempt": 1,
            "unix_s": 1.0 * s,
            "values": {"solve-deduction/reward_mean": s / 100},
        }
        for s in range(1, 90)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    verdict = judge_run(read_summary(tmp_path), read_task_stats(tmp_path, 1))
    assert "Not known" in verdict.headline and any("probe" in line for line in verdict.advice)


def test_what_was_measured_before_the_first_step_is_no_step(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    zero = {
        "step": 0,
        "cycle": 1,
        "attempt": 1,
        "unix_s": 5.0,
        "values": {names.PROBE_ALL: 0.25, names.PROBE_COUNT: 100},
    }
    run.metrics.write_text(json.dumps(zero) + "\n")
    assert "No training step has finished yet" in write_report(tmp_path).read_text(encoding="utf-8")
    one = {
        "step": 1,
        "cycle": 1,
        "attempt": 1,
        "unix_s": 9.0,
        "values": {names.STEP_SECONDS: 4.0, "time_s/generate": 3.0, names.ACCEPTED: 2},
    }
    run.metrics.write_text(json.dumps(zero) + "\n" + json.dumps(one) + "\n")
    summary = read_summary(tmp_path)
    assert [(item.phase, item.seconds) for item in summary.phase_shares()] == [
        ("generate", 3.0),
        ("other", 1.0),
    ]
    assert "2 accepted per step" in write_report(tmp_path).read_text(encoding="utf-8")


def test_difficulty_shares_add_up(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=100)
    stats = read_task_stats(run.root, 2)
    columns, shares = difficulty_shares(stats)
    assert columns[0][0] == 1 and columns[-1][1] == 100 and len(columns) <= 48
    assert all(len(column) == len(BINS) and sum(column) == pytest.approx(1.0) for column in shares)
    assert stats.count == 300 == sum(stats.by_type.values())
    assert all(len(tasks) == 2 for tasks in stats.samples.values())


def test_transcripts_are_read_as_self_play_writes_them(tmp_path: Path) -> None:
    from azr.selfplay import transcripts as writer

    assert {"step", "stream", "row_id", "prompt", "response"} <= set(
        re.findall(r'"(\w+)":', inspect.getsource(writer))
    )
    run = RunDir(tmp_path)
    records = [
        {
            "step": 3,
            "stream": "propose-induction",
            "row_id": "s3",
            "reward": 0.5,
            "format_ok": True,
            "rejection": None,
            "task_id": "t",
        },
        {
            "step": 3,
            "stream": "propose-induction",
            "row_id": "s4",
            "reward": -1,
            "format_ok": False,
            "rejection": "no_code",
        },
        {
            "step": 4,
            "stream": "solve-induction",
            "row_id": "s5",
            "reward": 0.4,
            "format_ok": True,
            "score": 0.4,
            "reason": "partly",
        },
        {
            "step": 4,
            "stream": "solve-deduction",
            "row_id": "probe3",
            "reward": -1,
            "format_ok": False,
            "score": 0.0,
            "reason": "",
        },
        {"step": 4},
    ]
    run.cycle(2).mkdir(parents=True)
    run.transcripts(2).write_text("".join(json.dumps(record) + "\n" for record in records))
    found = read_sample(tmp_path).items
    expected = [("valid", ""), ("rejected", "no_code"), ("partly right", "partly"), ("wrong", "format")]
    assert [(item.verdict, item.why) for item in found] == expected
    assert [item.is_probe for item in found] == [False, False, False, True] and {
        item.cycle for item in found
    } == {2}


def test_two_runs_on_one_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(2):
        run = write_synthetic_run(tmp_path / f"run{index}", steps=60, seed=index)
    with open(run.config, "a", encoding="utf-8") as file:
        file.write("extra: 1\n")
    for twice in ("run0", "run1/../run0"):
        assert run_command("report", [str(tmp_path / "run0"), str(tmp_path / twice)]) == 2
        assert "a run is named twice" in capsys.readouterr().err
    page = write_comparison([tmp_path / "run0", tmp_path / "run1"], tmp_path / "c.html").read_text(
        encoding="utf-8"
    )
    _outline(page)
    assert "run0" in page and "run1" in page
    summaries = [read_summary(tmp_path / f"run{index}") for index in range(2)]
    assert config_differences(summaries) == [("extra", ["–", "1"]), ("seed", ["0", "1"])]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Two clones, or two machines' folders: the folder above is called runs in both."""
    roots = [tmp_path / clone / "runs" / "default" for clone in ("desktop", "laptop")]
    for root in roots:
        write_synthetic_run(root, steps=20)
    page = write_comparison(roots, tmp_path / "c.html").read_text(encoding="utf-8")
    assert "desktop/runs/default" in page and "laptop/runs/default" in page
    assert told_apart([*roots, tmp_path / "x"]) == ["desktop/runs/default", "laptop/runs/default", "x"]


def test_a_transcript_has_a_line_to_tell_it_by() -> None:
    proposal = "<think>\nhm\n</think>\n<answer>\n```python\ndef f(a):\n    return a\n```\n```input\n1\n```\n</answer>"
    assert gist(proposal) == "def f(a): return a"
    assert gist("</think><answer>\n```output\n[1, 2]\n```\n</answer>") == "[1, 2]"
    assert gist("<answer>\n```\n```") == "" and gist("x" * 500) == "x" * 120 + "…"


def test_long_transcripts_are_cut_and_many_are_spread() -> None:
    assert cut("a" * 10, 10) == "a" * 10
    assert "80 characters left out" in cut("a" * 100, 20)
    shown = thinned(5000, MAX_SHOWN).tolist()
    assert (shown[0], shown[-1]) == (0, 4999) and len(set(shown)) == MAX_SHOWN
    assert thinned(3, MAX_SHOWN).tolist() == [0, 1, 2] and not len(thinned(0, MAX_SHOWN))


def test_versions_of_the_latest_attempt_are_shown(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=5)
    run.attempt(1, 1).mkdir(parents=True)
    (run.attempt(1, 1) / "versions.json").write_text('{"torch": "0.0.old"}')
    run.attempt(1, 2).mkdir()
    write_versions(run.attempt(1, 2), collect_versions("compact"))
    page = write_report(run.root).read_text(encoding="utf-8")
    assert "0.0.old" not in page and metadata.version("verl") in page and platform.python_version() in page


def test_sample_tasks_setting_is_obeyed(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=30)
    with open(run.config, "a", encoding="utf-8") as file:
        file.write("report:\n  sample_tasks: 1\n")
    page = write_report(run.root).read_text(encoding="utf-8")
    assert page.count("<article") == 3 + 1, "one of each type, and the probe that was answered twice"
    assert "Answer at step 1: wrong" in page and "Answer at step 30: right" in page


def test_a_sample_task_has_a_right_and_a_wrong_answer_where_there_are(tmp_path: Path) -> None:
    """Solutions did not say which task they answer; those of a run that an earlier version wrote do not."""
    run = write_synthetic_run(tmp_path / "run", steps=30)
    [task] = read_task_stats(run.root, 1).samples["deduction"]
    common = {"stream": "solve-deduction", "row_id": "r", "reward": 0.0}
    lines = [
        common | {"step": step, "score": score, "response": f"answer of {step}", "task_id": task.task_id}
        for step, score in ((11, 1.0), (12, 1.0), (13, 0.0), (14, 0.5))
    ]
    old = common | {"step": 15, "score": 1.0, "response": "answer of 15"}
    append_jsonl(run.transcripts(1), [*lines, old, old | {"step": 16, "task_id": "another"}])
    page = write_report(run.root).read_text(encoding="utf-8")
    shown = re.findall(r"Answer at step (\d+): (\w+)</div><pre>(answer of \d+)", page)
    assert shown == [("12", "right", "answer of 12"), ("13", "wrong", "answer of 13")]


def test_the_cost_is_shown_where_the_power_was_configured(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=10)
    assert "kWh" not in write_report(run.root).read_text(encoding="utf-8")
    with open(run.config, "a", encoding="utf-8") as file:
        file.write("report:\n  machine_watts: 450\n  eur_per_kwh: 0.5\n  from_the_future: 1\n")
    seconds = read_summary(run.root).trained_s
    page = write_report(run.root).read_text(encoding="utf-8")
    assert f"{number(450 * seconds / 3.6e6)} kWh" in page and "450 W as configured" in page


def test_the_command(tmp_path: Path) -> None:
    run, other = (write_synthetic_run(tmp_path / name, steps=10) for name in ("run", "other"))
    command = [sys.executable, str(ROOT / "scripts" / "report.py")]
    done = subprocess.run([*command, str(run.root)], capture_output=True, text=True, timeout=60, check=True)
    assert "report.html" in done.stdout and run.report.exists()
    both = subprocess.run(
        [*command, str(run.root), str(other.root), "--output", str(tmp_path / "c.html")],
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert both.returncode == 0 and (tmp_path / "c.html").exists()
    wrong = subprocess.run(
        [*command, str(tmp_path / "x")], capture_output=True, text=True, timeout=60, check=False
    )
    assert wrong.returncode == 2 and "is not a directory" in wrong.stderr and "Traceback" not in wrong.stderr


def test_reports_of_two_runs_in_one_folder_keep_their_transcripts(tmp_path: Path) -> None:
    """Both wrote ``transcripts.html``, and the first report led to the texts of the second run."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("one", "two"):
        root = write_synthetic_run(tmp_path / name, steps=4).root
        write_report(root, output=out)
    assert sorted(path.name for path in out.iterdir()) == [
        "one-transcripts.html",
        "one.html",
        "two-transcripts.html",
        "two.html",
    ]
    assert "one-transcripts.html" in (out / "one.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["plain.html", "a#1 50%?|x.html", "a:b.html", 'über & "q".html', None])
def test_a_report_and_its_transcripts_lead_to_each_other(tmp_path: Path, name: str | None) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=4)
    report = write_report(run.root, output=tmp_path / name if name else None)
    transcripts = report.with_name(f"{report.stem}-transcripts.html" if name else "transcripts.html")
    for page, other in ((report, transcripts), (transcripts, report)):
        links = re.findall(r'<a [^>]*href="([^"#][^"]*)"', page.read_text(encoding="utf-8"))
        assert [urljoin(page.as_uri(), html.unescape(link)) for link in links] == [other.as_uri()]


def test_where_a_start_went_is_in_the_report(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=5)
    assert "Where the latest start" not in write_report(run.root).read_text()
    append_jsonl(
        run.attempt(1, 1) / START_FILE,
        [
            asdict(TimeMark(StartPart.BEGIN, 100.0)),
            asdict(TimeMark(StartPart.ENGINE, 161.0)),
            asdict(TimeMark(StartPart.FIRST_STEP, 181.0, {"generate": 12.0})),
        ],
    )
    page = write_report(run.root).read_text()
    for words in (
        "Where the latest start",
        "81 s from its process",
        "61 s",
        "20 s (generate 12)",
        "width:75.3%",
    ):
        assert words in page, words
