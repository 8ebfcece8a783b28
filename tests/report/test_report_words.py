"""What the report says in words: commands that run as they stand, labels that differ, probe files, starts."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from synthetic_run import write_synthetic_run

from azr.campaign.sentences import say_the_end
from azr.campaign.state import CampaignState, State
from azr.config.selfplay import SelfPlayConfig
from azr.evaluate.suites import build_suite, styles_of
from azr.report.charts import percent_tick, plain_number, tick_texts
from azr.report.html import write_comparison, write_report
from azr.report.pages import code_spans
from azr.report.panels import proposer_reward_in_words
from azr.report.screen import plain_line
from azr.report.summary_reader import read_summary
from azr.report.tasks import read_task_stats
from azr.report.text import duration, points, shown_path, signed
from azr.report.verdict import judge_run
from azr.run import metric_names as names
from azr.run.rundir import RunDir
from azr.system.files import read_json, write_json_atomic
from azr.tasks import TaskType

ROOT = Path(__file__).resolve().parents[2]
TOKENS = names.response_tokens("solve-deduction")


def _parser(script: str) -> Any:
    return importlib.import_module(f"azr.cli.{Path(script).stem}")._parser()


def test_the_commands_that_a_finished_run_advises_are_accepted(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "my run", steps=20)
    advice = judge_run(read_summary(run.root), read_task_stats(run.root, 1)).advice
    commands = [shlex.split(part) for line in advice for part in re.findall("`(python [^`]+)`", line)]
    assert {words[1] for words in commands} == {"scripts/evaluate.py", "scripts/export.py"}
    for words in commands:
        parsed = vars(_parser(words[1]).parse_args(words[2:]))
        for text in [
            str(item) for value in parsed.values() for item in (value if isinstance(value, list) else [value])
        ]:
            if "my run" in text and not text.startswith("my run-"):
                assert Path(text.partition("@")[0]) == run.root, "the path stays whole in a shell"


def test_the_commands_of_a_run_without_probes_ask_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``data.probe_files=[]``: they were refused, with "no probe tasks there"."""
    run = write_synthetic_run(tmp_path / "run", steps=4)
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for record in records:
        record["values"] = {key: value for key, value in record["values"].items() if "probe" not in key}
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    run.probes.mkdir(exist_ok=True)
    for file in run.probes.iterdir():
        file.unlink()
    verdict = judge_run(read_summary(run.root), read_task_stats(run.root, 1))
    assert verdict.headline.startswith("Not known: this run has no frozen probes, and")
    say_the_end(run, CampaignState(state=State.DONE, step=4))
    told = "\n".join(line.replace("`", "\n") for line in verdict.advice) + "\n" + capsys.readouterr().out
    commands = [shlex.split(line) for line in re.findall(r"python \S+evaluate\.py .*", told)]
    assert len(commands) == 2
    for words in commands:
        for suite in _parser("evaluate.py").parse_args(words[2:]).suites or ["probes"]:
            assert build_suite(suite, SelfPlayConfig(), style=styles_of(suite)[0], run=run).items


@pytest.mark.parametrize(("limit", "said"), [("0.01", True), ("0.05", False), (None, True)])
def test_the_red_line_of_the_mismatch_is_the_one_that_the_judges_have(
    tmp_path: Path, limit: str | None, said: bool
) -> None:
    run = write_synthetic_run(tmp_path, steps=20)
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for record in records:
        record["values"][names.MISMATCH] = 0.02
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    run.config.write_text(f"monitor:\n  max_logprob_mismatch: {limit}\n" if limit else "seed: 1\n")
    advice = judge_run(read_summary(run.root), read_task_stats(run.root, 1)).advice
    assert any("Engine and trainer disagree" in line and "red line 0.01" in line for line in advice) is said


@pytest.mark.parametrize(
    ("metric", "words", "first", "last", "said"),
    [
        (names.REPETITION, "drift into one kind of exercise", 0.01, 0.2, True),
        (names.REPETITION, "drift into one kind of exercise", 0.01, 0.08, False),
        (names.REPETITION, "drift into one kind of exercise", 0.12, 0.2, False),
        (
            names.GUESSABLE,
            "The usual inputs solve 60\u00a0% of the new abduction tasks, and 20\u00a0%",
            0.2,
            0.6,
            True,
        ),
        (names.GUESSABLE, "usual inputs", 0.01, 0.45, False),
        (names.GUESSABLE, "usual inputs", 0.35, 0.6, False),
        (TOKENS, "Answers to output tasks have 40 tokens now and had 300 in the first steps", 300, 40, True),
        (TOKENS, "thoughts may be lost", 300, 70, False),
        (TOKENS, "thoughts may be lost", 120, 40, False),
    ],
)
def test_a_game_that_decays_while_its_record_looks_well_is_said(
    tmp_path: Path, metric: str, words: str, first: float, last: float, said: bool
) -> None:
    run = write_synthetic_run(tmp_path, steps=60)
    assert any(words in line for line in _advice_on(run, metric, first, last)) is said
    label = {names.REPETITION: "resembled", names.GUESSABLE: "guessable", TOKENS: "deduction"}[metric]
    assert re.search(rf"</i></span>{label} <b>", write_report(run.root).read_text(encoding="utf-8"))


def _advice_on(run: RunDir, metric: str, first: float, last: float) -> list[str]:
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for number, record in enumerate(records):
        record["values"][metric] = first if number < 30 else last
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    return judge_run(read_summary(run.root), read_task_stats(run.root, 1)).advice


@pytest.mark.parametrize("tokens", [0, 120])
def test_short_answers_are_not_called_a_loss_that_is_known(tmp_path: Path, tokens: int) -> None:
    """It was said of the run of 0.5B that gained most, and a setting named that may be on already."""
    run = write_synthetic_run(tmp_path, steps=60)
    config = yaml.safe_load(run.config.read_text()) | {"selfplay": {"short_wrong_tokens": tokens}}
    run.config.write_text(yaml.safe_dump(config))
    [told] = [line for line in _advice_on(run, TOKENS, 151, 34) if "thoughts may be lost" in line]
    assert "one of 0.5B whose answers were as short gained" in told
    assert ("selfplay.short_wrong_tokens=120" in told) is (not tokens)


@pytest.mark.parametrize("refused", [False, True])
def test_guessable_proposals_are_no_danger_where_they_are_refused(tmp_path: Path, refused: bool) -> None:
    run = write_synthetic_run(tmp_path, steps=60)
    config = yaml.safe_load(run.config.read_text()) | {"selfplay": {"reject_guessable": refused}}
    run.config.write_text(yaml.safe_dump(config))
    assert any("usual inputs" in line for line in _advice_on(run, names.GUESSABLE, 0.2, 0.6)) is not refused


def test_paths_are_shown_as_one_types_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "runs" / "friday") == "runs/friday"
    assert shown_path(Path("/elsewhere/a b")) == "'/elsewhere/a b'"


def test_code_spans_are_escaped() -> None:
    assert code_spans("start `a <b>` & go") == "start <code>a &lt;b&gt;</code> &amp; go"


def test_a_zero_has_no_sign_and_a_minus_is_one() -> None:
    assert [signed(value) for value in (0.0, -0.001, 0.25, -0.5, None)] == [
        "0.00",
        "0.00",
        "+0.25",
        "−0.50",
        "–",
    ]
    assert points(-0.079) == "−7.9 points"


def test_no_two_ticks_read_the_same() -> None:
    values = [9e-5, 9.5e-5, 1e-4, 1.05e-4, 1.1e-4]
    assert len(set(tick_texts(values, plain_number))) == len(values)
    assert tick_texts([0.0, 0.5], percent_tick) == ["0 %", "50 %"]


def test_probe_files_have_a_panel_where_there_are_several(tmp_path: Path) -> None:
    run = RunDir(tmp_path)

    def write(*files: str) -> str:
        lines = []
        for step in (0, 1, 2):
            values = {
                names.PROBE_ALL: 0.2 + 0.1 * step,
                names.PROBE_COUNT: 100.0,
                names.probe_metric("deduction"): 0.2,
            }
            values |= {f"probe/{file}/accuracy": 0.1 * (step + index) for index, file in enumerate(files)}
            lines.append(
                json.dumps({"step": step, "cycle": 1, "attempt": 1, "unix_s": 1.0 + step, "values": values})
                + "\n"
            )
        run.metrics.write_text("".join(lines))
        return write_report(tmp_path).read_text(encoding="utf-8")

    assert names.probe_file_metrics(
        ["probe/easy/accuracy", "probe/all/accuracy", "probe/deduction/accuracy", "probe/tasks"]
    ) == [("easy", "probe/easy/accuracy")]
    assert "Probe accuracy by file" not in write("easy")
    page = write("easy", "unseen")
    assert (
        "Probe accuracy by file" in page
        and "Probes of unseen, greedy: 10.0\u00a0% → 30.0\u00a0% (+20.0 points)." in page
    )
    assert "all (deduction)" in page, "one task type alone is the same line as all"


def test_starts_count_as_time_of_the_run(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=10)
    first = read_summary(run.root).table.unix_s[0]
    state = read_json(run.state) | {
        "started_unix_s": float(first) - 7200.0,
        "durations_s": {"start": [300.0, 420.0]},
    }
    write_json_atomic(run.state, state)
    page = write_report(run.root).read_text(encoding="utf-8")
    summary = read_summary(run.root)
    assert summary.ended_unix_s is not None and 7200 < summary.ended_unix_s - state["started_unix_s"] < 8000
    assert (
        "in steps, 12 min in starts" in page
        and f"<dd>{duration(summary.ended_unix_s - state['started_unix_s'])}<small>" in page
    )


def test_runs_with_other_probe_tasks_are_not_compared_by_score(tmp_path: Path) -> None:
    """Equally many of them, which is the usual case (train.probe_tasks)."""
    runs = [write_synthetic_run(tmp_path / name, steps=60) for name in ("a", "b", "c")]
    for run, content in zip(runs, ("one\n", "one\n", "another\n"), strict=True):
        run.probes.mkdir(exist_ok=True)
        (run.probes / f"{run.root.name}.jsonl").write_text(content)
    page = write_comparison([run.root for run in runs], tmp_path / "c.html").read_text(encoding="utf-8")
    row = re.search(r"<td>Latest score relative to[^<]*</td>(.*?)</tr>", page)
    assert row is not None
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row[1])
    assert "(" in cells[1] and cells[2] == "other probes"
    assert "These runs have different probe tasks" in page


def test_a_comparison_says_how_sure_the_difference_is(tmp_path: Path) -> None:
    roots = [
        write_synthetic_run(tmp_path / name, steps=60, seed=seed).root
        for seed, name in enumerate(("a", "b", "c"))
    ]
    lines = [json.loads(line) for line in (roots[2] / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if names.PROBE_COUNT in line["values"]:
            line["values"][names.PROBE_COUNT] = 50
    (roots[2] / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = write_comparison(roots, tmp_path / "c.html").read_text(encoding="utf-8")
    row = re.search(r"<td>Latest score relative to[^<]*</td>(.*?)</tr>", page)
    assert row is not None
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row[1])
    assert (
        cells[0] == "–"
        and re.fullmatch(r"[+−]?\d+\.\d \([+−]\d+\.\d to [+−]\d+\.\d\)", cells[1])
        and cells[2] == "other probes"
    )


@pytest.mark.parametrize(
    ("otherwise", "expected"),
    [
        ("rollout.max_response_tokens 96 -> 192", "Not comparable: from 20.0"),
        ("frame mine/ü, [1] 0a1b2c -> 3d4e5f", "Not comparable: from 20.0"),
        ("", "It learned: from 20.0"),
    ],
)
@pytest.mark.parametrize("attempt", [1, 2])
def test_longer_answers_are_not_called_learning(tmp_path, otherwise, expected, attempt) -> None:
    """Answers that were cut off in the first evaluation and not in the last look like learning."""
    run = RunDir(tmp_path)
    lines = []
    for step, score, by in ((2, 0.2, 1), (9, 0.4, attempt)):
        values = {names.STEP_SECONDS: 1.0, names.PROBE_ALL: score, names.PROBE_COUNT: 400}
        values |= {names.probe_metric("abduction"): score, names.probe_format("all"): 0.9}
        values |= {names.probe_metric(file): score for file in ("easy", "unseen")}
        lines.append(
            json.dumps({"step": step, "cycle": 1, "attempt": by, "unix_s": 1.0 * step, "values": values})
        )
    run.metrics.write_text("\n".join(lines) + "\n")
    incident = {
        "kind": "settings",
        "cause": "Changed since the latest start: train.learning_rate 1e-05 -> 2e-05.",
        "cycle": 1,
        "attempt": 1,
        **({"asked_otherwise": otherwise} if otherwise else {}),  # no line of an earlier version has it
    }
    run.incidents.write_text(json.dumps(incident) + "\n")
    verdict = judge_run(read_summary(tmp_path), read_task_stats(tmp_path, 1))
    expected = expected if attempt == 2 else "It learned: from 20.0"  # nothing was measured after that
    assert verdict.headline.startswith(expected) and " at step 2 to 40.0" in verdict.headline
    assert (otherwise in verdict.headline) is (expected.startswith("Not") or not otherwise)
    probes = [line for line in verdict.evidence if "robe" in line]
    assert len(probes) == 4, "they said +20.0 points below the headline"
    assert all(("not comparable" in line) is expected.startswith("Not") for line in probes)


@pytest.mark.parametrize(
    ("change", "error", "interval"), [(1.0, 1 / 3, "+14.1 to +100.0"), (-0.5, 0.3, "\u2212100.0 to +27.3")]
)
def test_no_change_is_beyond_a_hundred_points(
    tmp_path: Path, change: float, error: float, interval: str
) -> None:
    """Four tasks of which all were solved for the first time had an interval of +14 to +186 points."""
    values = {"accuracy": max(change, 0.0), "tasks": 4, "change": change, "change_error": error}
    values = {names.verdict("all", what): value for what, value in values.items()}
    record = {
        "step": 1,
        "cycle": 1,
        "attempt": 1,
        "unix_s": 1.0,
        "values": values | {names.STEP_SECONDS: 1.0},
    }
    RunDir(tmp_path).metrics.write_text(json.dumps(record) + "\n")
    told = judge_run(read_summary(tmp_path), read_task_stats(tmp_path, 1))
    assert f"interval {interval}, p" in told.headline
    if change < 0:
        assert "less than about 77 points" in " ".join(told.evidence)


def test_scores_of_other_answers_are_not_compared_over_runs(tmp_path: Path) -> None:
    """Sampled answers of one run stood against greedy ones of another, and a change over another length of answers among
    those of runs that had none, without a word."""
    greedy = {names.PROBE_ALL: 0.2, names.PROBE_COUNT: 60}, {names.PROBE_ALL: 0.4, names.PROBE_COUNT: 60}
    verdict = {"accuracy": 0.3, "tasks": 60, "change": 0.1, "change_error": 0.01}
    sampled = greedy[1] | {names.verdict("all", what): value for what, value in verdict.items()}
    for name, last in (("greedy", greedy[1]), ("sampled", sampled), ("longer", greedy[1])):
        run = RunDir(tmp_path / name)
        run.root.mkdir()
        lines = [
            {"step": step, "cycle": 1, "attempt": attempt, "unix_s": 1.0, "values": values}
            for step, attempt, values in ((0, 1, greedy[0]), (8, 2, last))
        ]
        run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = "rollout.max_response_tokens 96 -> 192"
    incident = {"kind": "settings", "cause": "", "cycle": 1, "attempt": 1, "asked_otherwise": told}
    run.incidents.write_text(json.dumps(incident) + "\n")
    roots = [tmp_path / name for name in ("greedy", "sampled", "longer")]
    page = write_comparison(roots, tmp_path / "c.html").read_text(encoding="utf-8")
    assert "greedy +20.0" in page and "longer not comparable, since rollout.max_response_tokens 96" in page
    assert "(greedy: greedy, sampled: sampled (all), longer: greedy), so they do not compare" in page
    row = re.search(r"<td>Latest score relative to[^<]*</td>(.*?)</tr>", page)
    assert row is not None and re.findall(r"<td[^>]*>(.*?)</td>", row[1])[1] == "other answers"
    assert "asked otherwise at step 0" in write_report(roots[2]).read_text(encoding="utf-8")
    assert "other answers" not in write_comparison(roots[::2], tmp_path / "d.html").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("setting", "frame", "told"),
    [
        ("rollout: {max_response_tokens: 192}", "f1", "rollout.max_response_tokens"),
        ("selfplay: {strict_format: true}", "f1", "selfplay.strict_format"),
        ("rollout: {max_response_tokens: 96}", "f2", "frame"),
        ("sandbox: {limits: {memory_mib: 512}}", "f1", "sandbox.limits.memory_mib"),
        ("train: {learning_rate: 1e-5}", "f1", ""),
    ],
)
def test_runs_that_are_asked_otherwise_are_not_compared_by_score(tmp_path, setting, frame, told) -> None:
    """The setting was listed where the configurations differ, and the scores were subtracted all the same."""
    first = "rollout: {max_response_tokens: 96}\nselfplay: {strict_format: false}\nsandbox: {limits: {memory_mib: 1024}}\n"
    runs = [write_synthetic_run(tmp_path / name, steps=60) for name in ("a", "b", "c")]
    for run, config, files in zip(runs, (first, first, setting), ("f1", "f1", frame), strict=True):
        run.config.write_text(config)
        run.attempt(1, 1).mkdir(parents=True, exist_ok=True)
        write_json_atomic(run.attempt(1, 1) / "versions.json", {"frame mine": files})
    page = write_comparison([run.root for run in runs], tmp_path / "c.html").read_text(encoding="utf-8")
    row = re.search(r"<td>Latest score relative to[^<]*</td>(.*?)</tr>", page)
    assert row is not None
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row[1])
    assert "(" in cells[1] and (cells[2] == "asked otherwise") is bool(told)
    assert (f"asked or graded in other ways ({told})" in page) is bool(told)


@pytest.mark.parametrize("added", [True, False])
def test_error_prediction_is_shown_where_it_is_trained(tmp_path: Path, added: bool) -> None:
    """Its streams were in no table, curve or line."""
    run = write_synthetic_run(tmp_path / "run", steps=6)
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for record in records * added:
        values = record["values"]
        values |= {key.replace("deduction", "error"): number for key, number in values.items()}
        values["propose-error/valid"] = 0.1
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    summary = read_summary(run.root)
    assert plain_line(summary).partition("right ")[2].partition(" |")[0].count("%") == 3 + added
    page = write_report(run.root).read_text(encoding="utf-8")
    comparison = write_comparison(
        [run.root, write_synthetic_run(tmp_path / "other", steps=2).root], tmp_path / "beside.html"
    ).read_text(encoding="utf-8")
    for text, words in (
        (page, ("solve-error", "propose-error", "error buffer")),
        (comparison, ("error: valid",)),
    ):
        assert all((word in text) is added for word in words)
    assert page.count("</span>error <b>") == 5 * added, "right, valid, both rewards, probes"
    assert ("of the error proposals have been valid lately" in page) is added


@pytest.mark.parametrize("proposed", [24.0, 0.0])
def test_a_run_that_only_solves_is_not_told_of_tasks_of_its_own(tmp_path: Path, proposed: float) -> None:
    """Its right answers were "on self-made tasks", which get harder with the solver."""
    run = write_synthetic_run(tmp_path / "run", steps=6)
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for record in records:
        values = record["values"] | {
            names.PROPOSED: proposed,
            names.buffer_size(TaskType.INDUCTION): 1 + proposed,
        }
        if not proposed:
            values = {key: value for key, value in values.items() if not key.startswith("propose-")}
            values[names.ACCEPTED] = 0
        record["values"] = values
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    if not proposed:
        for shard in run.in_cycles("shard.jsonl").values():
            shard.unlink()
    run.pool.mkdir(exist_ok=True)
    write_json_atomic(run.pool_manifest, {"tasks": 256, "through_shard": 0})
    page = write_report(run.root).read_text(encoding="utf-8")
    for words in (
        "self-made",
        "accepted in self-play",
        "the proposer",
        "accepted in total",
        "For propose streams",
    ):
        assert (words in page) is bool(proposed), words
    for words in ("given; none were proposed", "All rows of solve-induction ask one and the same task"):
        assert (words in page) is not bool(proposed), words


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {},
            "1 − accuracy of a valid task; −0.5 for one that is solved always or never; −1 for an invalid one.",
        ),
        (
            {"learnability": "middle", "variant": "paper"},
            "4 × accuracy × (1 − accuracy) of a valid task; 0 for",
        ),
        ({"learnability": "inverse", "extremes": -0.25}, "−0.25 for one that is solved always; −1"),
    ],
)
def test_the_proposers_reward_is_told_as_the_run_has_it(settings: dict[str, Any], expected: str) -> None:
    assert expected in proposer_reward_in_words({"selfplay": settings})


def test_other_panels_tell_the_rewards_as_the_run_has_them(tmp_path: Path) -> None:
    """Tasks that nobody solves were said to earn nothing, and a missing format -1, where neither holds."""
    run = RunDir(tmp_path)
    values = {names.ALL_SOLVED: 0.1, names.NONE_SOLVED: 0.2, names.reward("solve-deduction"): 0.5}
    steps = [{"step": n, "cycle": 1, "attempt": 1, "unix_s": 1.0 * n, "values": values} for n in (1, 2, 3)]
    run.metrics.write_text("".join(json.dumps(step) + "\n" for step in steps))
    page = write_report(run.root).read_text(encoding="utf-8")
    assert ": they earn no learnability reward." in page and "−1 without the format." in page
    run.config.write_text("selfplay: {learnability: inverse, format_reward: false}\n")
    page = write_report(run.root).read_text(encoding="utf-8")
    assert "or none did, which is paid most." in page and "1 right, −0.5 wrong." in page
    assert "−1 without the format" not in page
