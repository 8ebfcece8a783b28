"""The figures of scripts/dev/learning_curve.py and scripts/plot_metrics.py: what is drawn is what the run
logged."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from synthetic_run import write_synthetic_run

from azr.cli import run_command
from azr.cli.plot_metrics import moving_mean

ROOT = Path(__file__).resolve().parents[2]


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / "dev" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_the_learning_curve_draws_the_evaluations_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        {"step": step, "cycle": 1, "attempt": 1, "unix_s": 1.0 + step, "values": {"time_s/step": 1.0}}
        for step in range(4)
    ]
    lines[0]["values"] = {"probe/all/accuracy": 0.25}
    lines[3]["values"]["probe/all/accuracy"] = 0.5
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert script("learning_curve", monkeypatch).probe_points(tmp_path / "metrics.jsonl") == [
        (0, 25.0),
        (3, 50.0),
    ]


def test_the_gain_is_paired_by_task_over_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    curve = script("learning_curve", monkeypatch)

    def cell(seed: int, when: str, scores: list[float]) -> Any:
        tasks = {str(number): score for number, score in enumerate(scores)}
        return curve.Cell("full", seed, "train_families", "sampled", when, tasks, 1.0, 10.0, 5)

    before = [0.0, 0.5, 1.0, 0.0]
    cells = [cell(1, "before", before), cell(1, "after", [1.0, 0.5, 1.0, 0.0])]
    cells += [cell(2, "before", before), cell(2, "after", [1.0, 1.0, 1.0, 0.0]), cell(3, "before", before)]
    change, half, p, seeds = curve.gain(cells, "full", "train_families", "sampled")
    by_task = np.array([1.0, 0.25, 0.0, 0.0])  # means over the two seeds that have both
    assert (change, seeds) == (pytest.approx(by_task.mean()), 2)
    assert half == pytest.approx(1.96 * by_task.std(ddof=1) / 2) and 0 < p < 1
    assert curve.gain(cells, "shuffled", "train_families", "sampled") is None


def test_a_moving_mean_leaves_missing_values_out() -> None:
    assert moving_mean(np.array([np.nan, 1.0, np.nan, 3.0]), 2) == pytest.approx(
        [np.nan, 1.0, 1.0, 3.0], nan_ok=True
    )


def test_a_picture_and_its_numbers(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=12, undone=False)
    command = [sys.executable, "scripts/plot_metrics.py", str(run.root)]
    picture = tmp_path / "out.png"
    subprocess.run(
        [
            *command,
            "probe/all/accuracy",
            "time_s/step",
            "--window",
            "3",
            "--also",
            "solve-*",
            "--out",
            str(picture),
        ],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    assert picture.read_bytes().startswith(b"\x89PNG")
    header, *rows = (tmp_path / "out.csv").read_text().splitlines()
    assert header.startswith("run,step,probe/all/accuracy,time_s/step,solve-abduction/") and len(rows) == 12
    other = write_synthetic_run(tmp_path / "other", steps=7, undone=False)
    subprocess.run(
        [*command, "time_s/step", "--beside", str(other.root), "--out", str(picture)],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    _, *rows = (tmp_path / "out.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["run"] * 12 + ["other"] * 7
    missing = subprocess.run(
        [*command, "no/such", "--out", str(picture)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (
        missing.returncode == 2
        and "logged no no/such; it logged" in missing.stderr
        and "Traceback" not in missing.stderr
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--out", "a.csv"], "the picture is a PNG file"),  # the CSV would be written over it
        (["--out", "a.svg"], "the picture is a PNG file"),
        (["--out", "."], "the picture is a PNG file"),
        (["--out", "a.png", "--beside", "RUN"], "a run is named twice"),
        (["--out", "a.png", "--beside", "nowhere"], "nowhere is not a directory"),
        (["*", "--out", "a.png"], "lines in one picture cannot be told apart; name at most 20"),
        (["--out", "a.png", "--window", "0"], "'0' is not a whole number above 0"),
    ],
)
def test_a_picture_that_cannot_be_drawn(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=3)
    monkeypatch.chdir(tmp_path)
    arguments = [str(run.root), "time_s/step", *(str(run.root) if word == "RUN" else word for word in words)]
    try:
        assert run_command("plot-metrics", arguments) == 2
    except SystemExit as end:
        assert end.code == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("a.*"))


def test_a_file_of_the_users_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--out results.png`` took ``results.csv`` beside it, and ``--output`` any file at all."""
    runs = [str(write_synthetic_run(tmp_path / name, steps=3).root) for name in ("one", "two")]
    mine, page = tmp_path / "results.csv", tmp_path / "results.html"
    for file in (mine, page):
        file.write_text("model,score\na,1\n")
    for file, words in (
        (page, ["report", runs[0], "--output", str(page)]),
        (page, ["report", *runs, "--output", str(page)]),
        (mine, ["plot-metrics", runs[0], "time_s/step", "--out", str(tmp_path / "results.png")]),
    ):
        assert run_command(words[0], words[1:]) == 2
        assert f"{file} exists and is something else" in capsys.readouterr().err
        assert file.read_text() == "model,score\na,1\n" and not (tmp_path / "results.png").exists()
    mine.unlink()
    for _ in range(2):  # one's own is replaced
        assert (
            run_command("plot-metrics", [*words[1:2], "time_s/step", "--out", str(tmp_path / "results.png")])
            == 0
        )
        assert run_command("report", [*runs, "--output", str(tmp_path / "c.html")]) == 0


def test_pages_and_pictures_of_the_users_are_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page of theirs begins as ours did, a picture as any, and ``r-transcripts.html`` was not looked at."""
    run = str(write_synthetic_run(tmp_path / "one", steps=3).root)
    report = ["report", run, "--output", str(tmp_path / "r.html")]
    for name, content, words in (
        ("r.html", b"<!doctype html>\n<title>mine</title>", report),
        ("r-transcripts.html", b"notes", report),
        ("p.png", b"\x89PNG\r\n", ["plot-metrics", run, "time_s/step", "--out", str(tmp_path / "p.png")]),
    ):
        mine = tmp_path / name
        mine.write_bytes(content)
        assert run_command(words[0], words[1:]) == 2
        assert f"{mine} exists and is something else" in capsys.readouterr().err
        assert mine.read_bytes() == content
        mine.unlink()
        assert run_command(words[0], words[1:]) == run_command(words[0], words[1:]) == 0


def test_a_picture_is_drawn_inside_of_a_notebook(tmp_path: Path) -> None:
    """Whose kernel hands on a backend that exists only in it."""
    run = write_synthetic_run(tmp_path / "run", steps=3)
    done = subprocess.run(
        [
            sys.executable,
            "scripts/plot_metrics.py",
            str(run.root),
            "time_s/step",
            "--out",
            str(tmp_path / "a.png"),
        ],
        cwd=ROOT,
        env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "") and "wrote" in done.stdout


def test_a_home_behind_an_equals_sign_is_spelt_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell leaves ``--output=~/a.html`` alone."""
    runs = [write_synthetic_run(tmp_path / name, steps=3).root for name in ("one", "two")]
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    assert run_command("report", [str(runs[0]), "--output=~/a.html"]) == 0 and (home / "a.html").is_file()
    assert (
        run_command("report", [*map(str, runs), "--output=~"]) == 0 and (home / "comparison.html").is_file()
    )
    assert run_command("plot-metrics", [str(runs[0]), "time_s/step", "--out=~/a.png"]) == 0
    assert (home / "a.png").is_file() and not list(here.iterdir())


def test_small_values_keep_their_digits_and_a_run_without_the_metric_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mismatch of 5e-07 was 0.0000 in the CSV, and a run without the metric missing from the picture without a word."""
    for name, value in (("a", {"mismatch": 5.05e-07}), ("b", {"other": 1.0})):
        record = {"step": 1, "cycle": 1, "attempt": 1, "unix_s": 1.0, "values": value}
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    words = [
        str(tmp_path / "a"),
        "mismatch",
        "--beside",
        str(tmp_path / "b"),
        "--out",
        str(tmp_path / "out.png"),
    ]
    assert run_command("plot-metrics", words) == 0
    assert "b logged no mismatch: not in the picture" in capsys.readouterr().out
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == ["a,1,5.05e-07", "b,1,"]


def test_each_of_twenty_lines_looks_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The eleventh had the colour of the first."""
    from matplotlib.axes import Axes

    drawn: list[tuple[str, str]] = []
    plot = Axes.plot

    def noted(self: Any, x: Any, y: Any, look: str, **more: Any) -> Any:
        (line,) = plot(self, x, y, look, **more)
        if "label" in more:
            drawn.append((to_hex(line.get_color()), look))
        return [line]

    monkeypatch.setattr(Axes, "plot", noted)
    run = write_synthetic_run(tmp_path / "run", steps=4).root
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = list(lines[1]["values"])[:20]
    for window in ("1", "3"):
        drawn.clear()
        arguments = [str(run), *names, "--window", window, "--out", str(tmp_path / "mine.png")]
        assert run_command("plot-metrics", arguments) == 0
        assert len(set(drawn)) == len(drawn) == 20
