from __future__ import annotations

import fcntl
import io
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_run import write_synthetic_run

from azr import cli
from azr.config.report import ReportConfig
from azr.errors import DataError
from azr.report.live import LiveView, plain_state
from azr.report.screen import render
from azr.report.summary import RunStatus
from azr.report.summary_reader import SummaryReader, read_summary
from azr.report.tasks import read_task_stats
from azr.report.verdict import judge_run
from azr.run.protocol import DriverBeat, write_beat
from azr.run.records import CampaignState, State, from_json
from azr.run.rundir import RunDir
from azr.system.files import read_json, write_json_atomic
from azr.system.folder_id import FolderId
from azr.system.processes import ProcessId

ROOT = Path(__file__).resolve().parents[2]


def _screen(root: Path, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, record=True)
    console.print(render(read_summary(root), width))
    return console.export_text().rstrip("\n").split("\n")


def _heartbeat(run: RunDir, age_s: float, pid: int) -> None:
    beat = {
        "unix_s": time.time() - age_s,
        "pid": pid,
        "cycle": 1,
        "attempt": 1,
        "step": 3,
        "phase": "execute",
        "phase_since_unix_s": time.time() - age_s - 4,
    }
    write_json_atomic(run.heartbeat, beat)


def test_the_screen_is_80_columns_and_keeps_its_height(tmp_path: Path) -> None:
    heights = set()
    for name, steps in (("empty", 0), ("young", 1), ("old", 90)):
        root = tmp_path / name
        if steps:
            write_synthetic_run(root, steps=steps, finished=False)
        else:
            root.mkdir()
        lines = _screen(root)
        assert {len(line) for line in lines} == {80}
        heights.add(len(lines))
    assert len(heights) == 1


def test_the_screen_shows_what_matters(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "run", steps=90)
    text = "\n".join(_screen(tmp_path / "run"))
    words = "finished, step 90/120, generate, update, propose-abduction, solve-induction, tasks, rejected, probe, VRAM"
    words += ", disk 180 GiB free, crash"
    for word in words.split(", "):
        assert word in text, word


def test_texts_from_files_are_no_markup(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=5)
    run.incidents.write_text(
        json.dumps({"unix_s": 1.0, "kind": "[bold]x[/bold]", "cause": "[/] \x1b[31m", "action": "a\nb"})
        + "\n"
    )
    lines = _screen(tmp_path / "run")
    assert any("[bold]x[/bold]" in line for line in lines)
    assert not any("\x1b[31m" in line for line in lines)


@pytest.mark.parametrize(
    ("state", "age_s", "alive", "expected"),
    [
        ("TRAIN", 1, True, RunStatus.RUNNING),
        ("TRAIN", 1, False, RunStatus.INTERRUPTED),
        ("TRAIN", 4000, True, RunStatus.INTERRUPTED),
        ("DONE", 4000, False, RunStatus.FINISHED),
        ("FAILED", 4000, False, RunStatus.FAILED),
    ],
)
def test_status(tmp_path: Path, state: str, age_s: float, alive: bool, expected: RunStatus) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=5)
    write_json_atomic(run.state, {"state": state, "cycle": 1, "driver": None})
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    _heartbeat(run, age_s, os.getpid() if alive else child.pid)
    assert read_summary(run.root).status is expected


def test_a_living_driver_means_running_even_without_a_heartbeat(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=5)
    me = ProcessId.of(os.getpid())
    assert me is not None
    driver = {"pid": me.pid, "start_ticks": me.start_ticks, "boot_id": me.boot_id, "name": me.name}
    write_json_atomic(run.state, {"state": "CONSOLIDATE", "cycle": 1, "driver": driver})
    assert read_summary(run.root).status is RunStatus.RUNNING
    write_json_atomic(
        run.state, {"state": "CONSOLIDATE", "cycle": 1, "driver": driver | {"boot_id": "another machine"}}
    )
    assert read_summary(run.root).status is RunStatus.INTERRUPTED


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=3, undone=False, finished=False)
    out = io.StringIO()
    with LiveView(run.root, ReportConfig(refresh_s=0.2), Console(file=out, width=80)) as view:
        assert view.plain
        view.update(force=True)
        with open(run.metrics, "a", encoding="utf-8") as file:
            file.write(
                json.dumps(
                    {"step": 4, "cycle": 1, "attempt": 1, "unix_s": 9.0, "values": {"data/accepted": 2}}
                )
                + "\n"
            )
        view.update(force=True)
        view.say("a [word]")
    lines = out.getvalue().splitlines()
    assert sum("step 3/60" in line for line in lines) == 1
    assert sum("step 4/60" in line for line in lines) == 1
    assert "a [word]" in lines
    assert "\x1b" not in out.getvalue()


def test_what_happened_before_a_sentence_is_shown_before_it_and_a_step_keeps_its_cycle(
    tmp_path: Path,
) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=3, undone=False, finished=False)
    out = io.StringIO()
    with LiveView(run.root, ReportConfig(refresh_s=60), Console(file=out, width=80)) as view:
        with open(run.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": 4, "cycle": 1, "attempt": 1, "unix_s": 9.0, "values": {}}) + "\n")
        write_json_atomic(run.state, {"state": "CONSOLIDATE", "cycle": 2, "attempt": 1})
        view.say("Cycle 1 merged.")
    lines = out.getvalue().splitlines()
    [step] = [line for line in lines if "step 4" in line]
    assert step.startswith("cycle 1 ") and lines.index(step) < lines.index("Cycle 1 merged.")


def test_a_step_that_is_trained_again_in_the_next_cycle_has_a_line_too(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=3, undone=False, finished=False)
    out = io.StringIO()
    with LiveView(run.root, ReportConfig(refresh_s=60), Console(file=out, width=80)) as view:
        for cycle in (1, 2):
            with open(run.metrics, "a", encoding="utf-8") as file:
                record = {"step": 4, "cycle": cycle, "attempt": 1, "unix_s": 9.0, "values": {}}
                file.write(json.dumps(record) + "\n")
            view.update(force=True)
    assert [line[:7] for line in out.getvalue().splitlines() if "step 4" in line] == ["cycle 1", "cycle 2"]


@pytest.mark.parametrize(("attempt", "starts"), [(1, False), (2, True)])
def test_a_trainer_that_is_there_is_not_said_to_start(tmp_path: Path, attempt: int, starts: bool) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=3, finished=False)
    me = ProcessId.of(os.getpid())
    assert me is not None
    driver = {"pid": me.pid, "start_ticks": me.start_ticks, "boot_id": me.boot_id, "name": me.name}
    state = {"state": "TRAIN", "cycle": 1, "attempt": attempt, "attempt_open": True, "driver": driver}
    write_json_atomic(run.state, state)
    _heartbeat(run, 1, os.getpid())
    out = io.StringIO()
    with LiveView(run.root, ReportConfig(), Console(file=out, width=80)):
        pass
    assert "TRAIN of cycle 1" in out.getvalue()
    assert ("starting trainer and engine" in out.getvalue()) is starts


def test_a_driver_does_not_repeat_what_happened_before_it_started(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=90, finished=False)
    before = len(run.incidents.read_text().splitlines())
    assert before
    out = io.StringIO()
    with LiveView(run.root, ReportConfig(), Console(file=out, width=200), past=False) as view:
        with open(run.incidents, "a", encoding="utf-8") as file:
            file.write(
                json.dumps({"unix_s": 1.8e9, "kind": "crash", "cause": "it fell", "action": "again"}) + "\n"
            )
        view.update(force=True)
    told = [line for line in out.getvalue().splitlines() if line.startswith(("incident", "request"))]
    assert len(told) == 1 and "crash, 2027-01-15" in told[0] and "it fell -> again" in told[0]
    everything = io.StringIO()
    with LiveView(run.root, ReportConfig(), Console(file=everything, width=200)):
        pass
    assert (
        sum(line.startswith(("incident", "request")) for line in everything.getvalue().splitlines())
        == before + 1
    )


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"attempt_open": True}, "executing programs for"),
        # the next trainer starts; the last heartbeat is the old one's
        ({"attempt_open": True, "attempt": 2}, "the driver's sentence"),
        ({"attempt_open": False}, "the driver's sentence"),
        ({"attempt_open": True, "paused": True}, "the driver's sentence"),
    ],
)
def test_the_screen_does_not_take_an_old_trainers_phase_for_the_present(
    tmp_path: Path, changes: dict, shown: str
) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=5, finished=False)
    me = ProcessId.of(os.getpid())
    assert me is not None
    driver = {"pid": me.pid, "start_ticks": me.start_ticks, "boot_id": me.boot_id, "name": me.name}
    state = {
        "state": "TRAIN",
        "cycle": 1,
        "attempt": 1,
        "driver": driver,
        "sentence": "the driver's sentence",
    }
    write_json_atomic(run.state, state | changes)
    _heartbeat(run, 1, os.getpid())
    assert any(shown in line for line in _screen(run.root))


def test_no_color_gives_plain_lines_in_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    (tmp_path / "run").mkdir()
    assert not LiveView(tmp_path / "run", ReportConfig(), console).plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert LiveView(tmp_path / "run", ReportConfig(), console).plain


def test_a_terminal_gets_a_screen_that_is_redrawn_in_place(tmp_path: Path) -> None:
    run = write_synthetic_run(tmp_path / "run", steps=3)
    out = io.StringIO()
    with LiveView(
        run.root,
        ReportConfig(),
        Console(file=out, force_terminal=True, width=80, height=50, color_system="standard"),
    ) as view:
        view.update(force=True)
    assert re.search(r"\x1b\[\d*A", out.getvalue()), "the cursor goes up before a redraw"


def test_watch_ends_where_its_run_goes_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It went on showing what it had read, as "running, on another machine", and the run's files as damaged."""
    run, update = (
        write_synthetic_run(tmp_path / "run", steps=3, undone=False, finished=False),
        LiveView.update,
    )

    def then_rename(view: LiveView, **options: bool) -> object:
        found = update(view, **options)
        run.root.rename(tmp_path / "renamed")
        return found

    monkeypatch.setattr(LiveView, "update", then_rename)
    assert cli.main(["watch", str(run.root)]) == 2
    said = capsys.readouterr()
    assert (
        f"{run.root} is no longer there: it was renamed, moved or removed" in said.err
        and "is gone" not in said.out
    )


def test_watch_ends_with_the_run_and_names_a_missing_directory(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "run", steps=3, finished=True)
    watch = [sys.executable, str(ROOT / "scripts" / "watch.py")]
    done = subprocess.run(
        [*watch, str(tmp_path / "run")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and "finished" in done.stdout
    missing = subprocess.run(
        [*watch, str(tmp_path / "nothing")], capture_output=True, text=True, timeout=60, check=False
    )
    assert (
        missing.returncode == 2
        and "is not a directory" in missing.stderr
        and "Traceback" not in missing.stderr
    )
    with pytest.raises(DataError):
        read_summary(tmp_path / "nothing")


@pytest.mark.parametrize("ahead_s", [0, 600, -600])
def test_a_run_that_beats_on_another_machine_runs_whatever_its_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_s: int
) -> None:
    """On a share it was "interrupted", with the advice to start it again."""
    write_synthetic_run(tmp_path, steps=3, finished=False)
    run, pid = RunDir(tmp_path), 2**22 + 1  # none of this machine
    place = FolderId.of(tmp_path)
    then_s = time.time() + ahead_s - 100
    state = from_json(CampaignState, read_json(run.state), run.state)
    state = replace(state, attempt=1, attempt_open=True, paused=False, active_s=50.0, updated_unix_s=then_s)
    elsewhere = replace(place, device=place.device + 1)
    state = replace(state, state=State.TRAIN, folder=elsewhere, driver=ProcessId(pid, 1, "other"))
    write_json_atomic(run.state, asdict(state))
    _heartbeat(run, 9 - ahead_s, pid)
    reader = SummaryReader(tmp_path)
    seen = reader.read()
    assert seen.status is RunStatus.INTERRUPTED and "whether one is elsewhere" in plain_state(seen)
    assert any("no driver here; unless one is elsewhere, run the same" in line for line in _screen(tmp_path))
    assert (
        judge_run(seen, read_task_stats(tmp_path, 1))
        .advice[0]
        .startswith("No driver is running on this machine.")
    )
    assert reader.read().status is RunStatus.INTERRUPTED, "nothing new"

    _heartbeat(run, 2 - ahead_s, pid)
    seen = reader.read()
    clock = {0: "", 600: ", its clock 10 min ahead of this one", -600: ", its clock 10 min behind this one"}
    assert plain_state(seen).endswith(f", on another machine{clock[ahead_s]}") and seen.eta_s is not None
    beat_s = read_json(run.heartbeat)["unix_s"]
    assert seen.worked_s == pytest.approx(50 + beat_s - then_s, abs=1)
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(render(seen))
    words = console.export_text()
    assert "executing programs for 4.0 s · on another machine" in words and "no driver" not in words

    # it merges between two trainers
    write_json_atomic(
        run.state, asdict(replace(state, state=State.MERGE, attempt_open=False, sentence="Merging."))
    )
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 140)
    reader.read()
    write_beat(run, DriverBeat(time.time() + ahead_s, ProcessId(pid, 1, "other"), 9))
    seen = reader.read()
    assert plain_state(seen).endswith(f"MERGE of cycle 1, on another machine{clock[ahead_s]}")
    console.print(render(seen))
    assert "Merging. · on another machine" in console.export_text()

    later_s = time.monotonic() + 160
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    assert reader.read().status is RunStatus.INTERRUPTED, "it beats no more"


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_run_of_this_machine_that_was_killed_is_not_elsewhere(tmp_path: Path, seen_before: bool) -> None:
    """Its last beat came just before. A view that was opened after the driver was killed, while the trainer saved its step, said
    for 150 s that the run works on another machine."""
    write_synthetic_run(tmp_path, steps=3, finished=False)
    run, driver, trainer = RunDir(tmp_path), *(subprocess.Popen(["sleep", "60"]) for _ in range(2))
    state = from_json(CampaignState, read_json(run.state), run.state)
    state = replace(state, state=State.TRAIN, driver=ProcessId.of(driver.pid), folder=None, attempt=1)
    write_json_atomic(run.state, asdict(replace(state, attempt_open=True)))
    _heartbeat(run, 4, trainer.pid)
    reader = SummaryReader(tmp_path)
    lock = run.lock.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if seen_before:
        assert reader.read().status is RunStatus.RUNNING
    driver.kill()
    driver.wait()
    assert not reader.read().driver_gone, (
        "its lock is held: it works in a container, where its number is another"
    )
    lock.close()
    _heartbeat(run, 1, trainer.pid)
    seen = reader.read()
    gone = "its driver is gone, and its trainer ends once this step is saved"
    assert plain_state(seen).endswith(f"running, TRAIN of cycle 1, {gone}; the same command resumes")
    assert any(gone[:40] in line for line in _screen(tmp_path))
    assert judge_run(seen, read_task_stats(tmp_path, 1)).advice[0].startswith("No driver is running. Run")
    trainer.kill()
    trainer.wait()
    seen = reader.read()
    assert seen.status is RunStatus.INTERRUPTED and not seen.perhaps_elsewhere and not seen.elsewhere


def test_a_run_that_was_stopped_under_a_view_is_not_elsewhere(tmp_path: Path) -> None:
    """Its driver closed it. For 150 s the view said that it works on another machine."""
    write_synthetic_run(tmp_path, steps=3, finished=False)
    run, child = RunDir(tmp_path), subprocess.Popen(["sleep", "60"])
    own = ProcessId.of(child.pid)
    assert own is not None
    state = from_json(CampaignState, read_json(run.state), run.state)
    state = replace(state, state=State.TRAIN, driver=own, folder=None)
    write_json_atomic(run.state, asdict(state))
    reader = SummaryReader(tmp_path)
    for sequence in range(2):
        _heartbeat(run, 2 - sequence, child.pid)
        write_beat(run, DriverBeat(time.time(), own, sequence))
        assert reader.read().status is RunStatus.RUNNING
    child.kill()
    child.wait()
    write_json_atomic(run.state, asdict(replace(state, driver=None)))
    seen = reader.read()
    assert seen.status is RunStatus.INTERRUPTED and not seen.elsewhere, "as its own view sees it at the end"
    run.driver_beat.unlink()
    seen = reader.read()
    assert seen.status is RunStatus.INTERRUPTED and not seen.elsewhere
