"""Both commands, report and watch, on a run in every state that it can be met in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from long_run import write_long_run
from synthetic_run import write_synthetic_run

from azr.campaign.sentences import say_the_end
from azr.campaign.state import CampaignState, State
from azr.report.html import write_report
from azr.report.summary_reader import read_summary
from azr.report.verdict import headline
from azr.run.rundir import RunDir
from azr.system.files import write_json_atomic

ROOT = Path(__file__).resolve().parents[2]


def _beat(run: RunDir, pid: int, age_s: float) -> None:
    now = time.time()
    beat = {
        "unix_s": now - age_s,
        "pid": pid,
        "cycle": 1,
        "attempt": 1,
        "step": 30,
        "phase": "generate",
        "phase_since_unix_s": now - age_s,
    }
    write_json_atomic(run.heartbeat, beat)


def going_on(root: Path) -> None:
    run = write_synthetic_run(root, steps=30, finished=False)
    _beat(run, os.getpid(), 1.0)
    with open(run.metrics, "ab") as file:
        file.write(b'{"step": 31, "cycle": 1, "val')  # the trainer is writing this line just now


def crashed(root: Path) -> None:
    run = write_synthetic_run(root, steps=30, finished=False)
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    _beat(run, child.pid, 4000.0)
    run.state.write_bytes(b'{"state": "TR')
    run.config.write_text("a: [1")
    for path in (run.metrics, run.shard(1), run.transcripts(1), run.supervision, run.incidents):
        with open(path, "ab") as file:
            file.write(b'\xff\xfe\n{"step": 31, "val')


def empty(root: Path) -> None:
    root.mkdir()


def failed(root: Path) -> None:
    run = write_synthetic_run(root, steps=5, finished=False)
    write_json_atomic(run.state, {"state": "FAILED", "cycle": 1, "sentence": "The disk is full."})


STATES: dict[Callable[[Path], None], tuple[str, str]] = {
    going_on: ("running", "generating"),
    crashed: ("interrupted", "run the same command to resume"),
    empty: ("empty", "nothing has run here yet"),
    failed: ("failed", "The disk is full."),
}
"""State to what both commands must say, and what the screen must say beside it."""


def _run(script: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=clean | environment
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("write", STATES, ids=lambda write: write.__name__)
def test_report_and_watch_say_what_state_a_run_is_in(tmp_path: Path, write: Callable[[Path], None]) -> None:
    root = tmp_path / "run"
    write(root)
    state, more = STATES[write]
    _run("report.py", str(root))
    assert f'<span class="pill {state}">{state}</span>' in (root / "report.html").read_text(encoding="utf-8")
    screen = _run("watch.py", str(root), "--once", FORCE_COLOR="1", TERM="xterm", COLUMNS="80")
    assert "\x1b[" in screen and state in screen and more in screen
    said, step = _run("watch.py", str(root), "--once").splitlines()
    assert said.startswith(f"run: {state}") and "step" in step, "the plain lines"


def test_the_last_lines_of_a_finished_run_begin_with_the_reports_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=40)
    state = CampaignState(state=State.DONE, step=40, sentence="The last cycle is done.")
    verdict = headline(read_summary(run.root))[0].replace("\N{NO-BREAK SPACE}", " ")
    say_the_end(run, state)
    assert capsys.readouterr().out.splitlines()[:2] == [state.sentence, verdict]
    say_the_end(run, replace(state, state=State.TRAIN))
    assert verdict not in capsys.readouterr().out, "a run that goes on later is not judged"


def test_a_folder_that_holds_runs_is_no_run(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "friday", steps=2)
    for script, more in (("report.py", ()), ("watch.py", ("--once",))):
        command = [sys.executable, str(ROOT / "scripts" / script), str(tmp_path), *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (
            done.returncode == 2
            and "friday: give one of them" in done.stderr
            and "Traceback" not in done.stderr
        )
    assert not (tmp_path / "report.html").exists()


def test_20000_steps_in_a_minute_and_15_mib(tmp_path: Path) -> None:
    run = write_long_run(tmp_path / "run")
    started = time.process_time()
    path = write_report(run.root)
    took_s = time.process_time() - started
    assert took_s < 60, "seconds of the processor, whose busy cores slow each other down"
    assert path.stat().st_size < 15 * 2**20 and (run.root / "transcripts.html").stat().st_size < 15 * 2**20
    page, transcripts = (
        path.read_text(encoding="utf-8"),
        (run.root / "transcripts.html").read_text(encoding="utf-8"),
    )
    assert re.search(r"340,000 tasks \([^)]*\) were proposed", page) and "20,000" in page
    assert "of about 3" in transcripts and "step 20000 " in transcripts and "cycle" in transcripts
    assert "step 20000/20000" in _run(
        "watch.py", str(run.root), "--once", FORCE_COLOR="1", TERM="xterm", COLUMNS="80"
    )
