"""Results on disk: a second evaluation into the same folder keeps the first one's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from run_fixture import PROJECT

from azr.errors import RunError
from azr.evaluate import results
from azr.evaluate.evaluation import evaluate
from azr.evaluate.options import Options
from azr.evaluate.results import publish


def test_other_results_are_kept_under_one_number_and_equal_ones_are_not(tmp_path: Path) -> None:
    assert publish(tmp_path, {"a.txt": "1", "b.json": "x"}) == ""
    assert publish(tmp_path, {"a.txt": "1", "b.json": "x"}) == ""
    assert (
        publish(tmp_path, {"a.txt": "2", "b.json": "x"})
        == f"{tmp_path} held other results: kept as a-001.txt, b-001.json"
    )
    assert "a-002.txt" in publish(tmp_path, {"a.txt": "3", "b.json": "y"})
    contents = {path.name: path.read_text() for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert contents == {
        "a.txt": "3",
        "b.json": "y",
        "a-001.txt": "1",
        "b-001.json": "x",
        "a-002.txt": "2",
        "b-002.json": "x",
    }


@pytest.mark.parametrize("fail_at", [1, 2, 3, 4])
def test_a_crash_loses_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: int) -> None:
    """Whichever of the four writes fails, the earlier text and, in the end, the new one are there."""
    publish(tmp_path, {"a.txt": "old a", "b.txt": "old b"})
    real, calls = os.replace, 0

    def failing(source: str, target: str) -> None:
        nonlocal calls
        calls += 1
        if calls == fail_at:
            raise OSError("no space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no space"):
        publish(tmp_path, {"a.txt": "new a", "b.txt": "new b"})
    monkeypatch.undo()
    texts = {path.read_text() for path in tmp_path.glob("*.txt")}
    assert {"old a", "old b"} <= texts
    publish(tmp_path, {"a.txt": "new a", "b.txt": "new b"})
    texts = {path.read_text() for path in tmp_path.glob("*.txt")}
    assert {"old a", "old b", "new a", "new b"} <= texts


def test_two_writers_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "LOCK_WAIT_S", 0.1)
    with (
        FileLock(tmp_path / ".results.lock"),
        pytest.raises(RunError, match="another evaluation has been writing"),
    ):
        publish(tmp_path, {"a.txt": "1"})


def test_a_second_evaluation_keeps_the_first_and_explains_its_columns(tmp_path: Path) -> None:
    crux = tmp_path / "crux.jsonl"
    records = [
        {"code": "def f(x):\n    return x", "input": str(n), "output": str(n), "id": str(n)} for n in range(2)
    ]
    crux.write_text("".join(json.dumps(record) + "\n" for record in records))
    recorded = tmp_path / "answers.jsonl"
    out, said = tmp_path / "out", []
    for right in (True, False, False):
        lines = [
            {"id": str(n), "completion": f"hm</think><answer>```output\n{n if right else 9}\n```</answer>"}
            for n in range(2)
        ]
        recorded.write_text("".join(json.dumps(line) + "\n" for line in lines))
        evaluate(
            [],
            Options(suites=[f"cruxeval-o={crux}"], styles=["frame"], answers=recorded, out=out),
            said.append,
        )
    score_of = [
        json.loads((out / name).read_text())["results"][0]["estimates"]["pass@1"]["value"]
        for name in ("result-001.json", "result.json")
    ]
    assert score_of == [1.0, 0.0]
    assert sorted(path.name for path in out.glob("*.*") if path.name[0] != ".") == [
        "result-001.json",
        "result.json",
        "summary-001.txt",
        "summary.txt",
    ], "the third evaluation gave what the second gave"
    inner = out / "answers" / "cruxeval-o"
    assert json.loads((inner / "verdicts-001.jsonl").read_text().splitlines()[0])["score"] == 1
    assert sum("kept as result-001.json, summary-001.txt" in line for line in said) == 1
    for text in (
        "pass@1: right answers; strict: an answer counts in the frame's format only",
        "; cut: ended by the length limit; too long: ",
    ):
        assert text in said[0]
        assert text in (out / "summary.txt").read_text()


def test_models_that_share_no_item_are_not_compared_and_it_is_said() -> None:
    from azr.evaluate.scoring import Scores
    from azr.evaluate.summary import compare_scores, verdict_lines

    first, second = (
        Scores("proposals", name, 1, {}, {}, 1.0, 0.0, 1.0, {f"deduction/{name}": 1.0})
        for name in ("a@1", "b@1")
    )
    assert compare_scores(first, second) is None
    lines, records = verdict_lines([first, second])
    assert "b@1 is not compared with a@1" in lines[0]
    assert records == []


def test_the_help_explains_the_columns() -> None:
    command = [sys.executable, str(PROJECT / "scripts" / "evaluate.py"), "--help"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    for column in ("pass@1", "format", "cut", "too long"):
        assert f"\n{column}  " in text
