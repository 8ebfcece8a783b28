"""The study of many runs: one that fails or hangs does not stop the others, and what is done is not done
again."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

import pytest

from azr.system.files import read_json

ROOT = Path(__file__).resolve().parents[2]
FAKE = """
import json, sys, time
from pathlib import Path
settings = dict(item.split("=", 1) for item in sys.argv[1:])
root = Path(settings["runs_dir"]) / settings["name"]
root.mkdir(parents=True, exist_ok=True)
with open(root / "starts", "a") as file:
    file.write("x")
if settings["seed"] == "2":
    raise SystemExit("no disk left")
if settings["seed"] == "3":
    time.sleep(600)
change = 0.0 if settings["train.control"] == "shuffled_rewards" else 0.14
values = {"time_s/step": 1.0, "verdict/all/accuracy": 0.3 + change, "verdict/all/tasks": 400}
values |= {"verdict/all/change": change, "verdict/all/change_error": 0.02}
(root / "metrics.jsonl").write_text(json.dumps({"step": 40, "cycle": 2, "attempt": 1, "unix_s": 1.0, "values": values}) + "\\n")
(root / "state.json").write_text(json.dumps({"state": "DONE", "step": 40}))
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location(
        "verdict_study", ROOT / "scripts" / "dev" / "verdict_study.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "verdict_study", module)
    spec.loader.exec_module(module)
    fake = tmp_path / "fake_pipeline.py"
    fake.write_text(FAKE)
    monkeypatch.setattr(module, "PIPELINE", fake)
    monkeypatch.setattr(module, "STOP_GRACE_S", 10.0)
    return module


def test_runs_fail_alone_and_finished_ones_stay(study, tmp_path: Path) -> None:
    out, runs = tmp_path / "out", tmp_path / "runs"
    command = [
        "--seeds",
        "1",
        "2",
        "--shuffled",
        "1",
        "--cores",
        "1",
        "--out",
        str(out),
        "--runs-dir",
        str(runs),
    ]
    assert study.main(command) == 1
    found = {(record["control"], record["seed"]): record for record in read_json(out / "result.json")["runs"]}
    assert [found[key]["ended"] for key in sorted(found)] == ["finished", "failed", "finished"]
    assert found[("none", 1)]["word"] == "learning" and found[("none", 1)]["interval"][0] == pytest.approx(
        0.0885, abs=1e-4
    )
    assert found[("shuffled_rewards", 1)]["word"] == "no clear change"
    assert "no disk left" in found[("none", 2)]["note"]
    table = (out / "table.md").read_text()
    assert (
        "none: 1 failed, 1 learning, of 2." in table and "| 30.0% | 44.0% | +14.0 (+8.8 to +19.2) |" in table
    )

    study.main(command)
    starts = {
        name: len((runs / name / "starts").read_text())
        for name in ("verdict-none-1", "verdict-none-2", "verdict-shuffled-rewards-1")
    }
    assert starts == {"verdict-none-1": 1, "verdict-none-2": 2, "verdict-shuffled-rewards-1": 1}


def test_a_run_that_hangs_is_ended(study, tmp_path: Path) -> None:
    command = [
        "--seeds",
        "3",
        "--shuffled",
        "--cores",
        "1",
        "--out",
        str(tmp_path / "out"),
        "--runs-dir",
        str(tmp_path / "runs"),
    ]
    assert study.main([*command, "--limit-s", "1"]) == 1
    [record] = read_json(tmp_path / "out" / "result.json")["runs"]
    assert record["ended"] == "limit" and "ended after 1 s" in record["note"]


def test_the_commands_that_it_shows_are_read(study) -> None:
    commands = [shlex.split(line, comments=True) for line in study.__doc__.splitlines() if "study.py" in line]
    assert len(commands) == 2
    for words in commands:
        args = study._arguments(words[2:])
        assert args.runs_dir == args.out / "runs"
    assert (args.overrides, args.seeds, args.shuffled) == (["campaign.cycles=1"], [1, 2], [])


def test_runs_with_other_settings_need_a_folder_of_their_own(
    study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--seeds", "--shuffled", "--cores", "1", "--out", str(tmp_path)]
    codes = [study.main([*overrides, *folder]) for overrides in (["a=1"], ["a=1"], ["a=2"], [])]
    assert codes == [0, 0, 2, 2]
    assert "is of runs with ['a=1'], not ['a=2']; name another --out" in capsys.readouterr().err


def test_more_cores_than_there_are_is_refused(
    study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.main(["--parallel", "100", "--cores", "1000", "--out", str(tmp_path / "out")]) == 2
    assert "cores are wanted" in capsys.readouterr().err
