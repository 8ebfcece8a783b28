from __future__ import annotations

import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from fake_campaign import wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.campaign.state import rebuild_state
from azr.errors import DataError, RunMovedError
from azr.run.protocol import (
    CHECKPOINT_FILE,
    MARKER_VARIABLE,
    STOP_FILE,
    Ending,
    Heartbeat,
    MetricsRecord,
    MetricsTail,
    Phase,
    TrainRequest,
    TrainResult,
    append_metrics,
    ask,
    current_request,
    effective_metrics,
    following_request,
    read_heartbeat,
    read_metrics,
    read_request,
    read_result,
    write_beat,
    write_request,
    write_result,
)
from azr.run.rundir import RunDir
from azr.run.trainer_link import DriverWatch, TrainerLink


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def test_messages_survive_the_disk(run: RunDir) -> None:
    request = TrainRequest(2, 3, 11, 20, 14, 0.5, 1, 77)
    write_request(run, request)
    assert read_request(run.request(2)) == request == current_request(run)
    beat = Heartbeat(1.5, 7, 2, 3, 14, Phase.UPDATE, 1.0, 9)
    write_beat(run, beat)
    assert read_heartbeat(run) == beat
    result = TrainResult(Ending.STOPPED, 15, "asked", 2, 3)
    write_result(run, result)
    assert read_result(run, 2, 3) == result and read_result(run, 2, 4) is None, (
        "a result of another attempt is none"
    )


def test_cycle_1000_comes_after_999(run: RunDir) -> None:
    for cycle in (1000, 999, 1):
        write_request(run, TrainRequest(cycle, 1, cycle, cycle))
        run.shard(cycle).touch()
        run.attempt(cycle, 1000).mkdir(parents=True)
        run.attempt(cycle, 999).mkdir()
    (run.root / "cycles" / "notes").mkdir()
    (run.root / "cycles" / "notes" / "shard.jsonl").touch()
    assert current_request(run).cycle == rebuild_state(run).cycle == 1000
    assert list(run.in_cycles("shard.jsonl").items()) == [
        (cycle, run.shard(cycle)) for cycle in (1, 999, 1000)
    ]
    assert run.attempts(1000) == [999, 1000]
    for place in ((999, 1000), (1000, 999), (1000, 1000)):
        (run.attempt(*place) / "config.yaml").touch()
    assert [path.parts[-4:-1:2] for path in run.records("config.yaml")] == [
        ("1000", "1000"),
        ("1000", "999"),
        ("999", "1000"),
    ]


def test_added_fields_are_ignored_and_damage_is_named(run: RunDir) -> None:
    write_request(run, TrainRequest(1, 1, 1, 4))
    path = run.request(1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"new_in_a_later_version": 1}))
    assert read_request(path).last_step == 4
    path.write_text('{"cycle": 1')
    with pytest.raises(DataError, match=str(path)):
        current_request(run)
    path.write_text('{"cycle": 1}')
    with pytest.raises(DataError, match="is not a TrainRequest"):
        current_request(run)


def test_a_slow_trainer_of_an_ended_attempt_does_not_take_the_next_ones_request(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_request(run, TrainRequest(1, 2, 1, 4))
    monkeypatch.setenv(MARKER_VARIABLE, "run/1/1")
    with pytest.raises(DataError, match="started for attempt 1/1"):
        current_request(run)
    monkeypatch.setenv(MARKER_VARIABLE, "run/1/2")
    assert current_request(run).attempt == 2


def test_without_a_request_the_message_says_what_to_start(run: RunDir) -> None:
    with pytest.raises(DataError, match="azr_single_gpu_pipeline"):
        current_request(run)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=8))
@settings(deadline=None, max_examples=200)
def test_effective_metrics_are_those_of_the_attempts_that_count(attempts: list[tuple[int, int]]) -> None:
    """Attempts (resume step, steps trained): a model that simply overwrites."""
    records, expected = [], {}
    reached = 0
    for number, (resume, count) in enumerate(attempts, 1):
        resume = min(resume, reached)
        expected = {step: attempt for step, attempt in expected.items() if step <= resume}
        for step in range(resume + 1, resume + count + 1):
            records.append(MetricsRecord(step, 1, number, 0.0))
            expected[step] = number
        reached = resume + count
    assert {record.step: record.attempt for record in effective_metrics(records)} == expected
    assert [record.step for record in effective_metrics(records)] == sorted(expected)


def test_tail_reads_whole_lines_once_and_survives_torn_ones(run: RunDir) -> None:
    tail = MetricsTail(run.metrics)
    assert list(tail.new_records()) == []
    append_metrics(run, MetricsRecord(1, 1, 1, 5.0, {"a": math.nan}))
    first = list(tail.new_records())
    assert [record.step for record in first] == [1] and math.isnan(first[0].values["a"])
    with open(run.metrics, "ab") as file:
        file.write(b'{"step": 2, "cyc')
    assert list(tail.new_records()) == []
    append_metrics(run, MetricsRecord(2, 1, 2, 5.0))
    assert [(record.step, record.attempt) for record in tail.new_records()] == [(2, 2)]
    assert [record.step for record in read_metrics(run)] == [1, 2]


def test_link_reports_and_listens(run: RunDir) -> None:
    write_request(run, TrainRequest(1, 1, 1, 4, resume_step=2))
    with TrainerLink(run, beat_interval_s=0.02) as link:
        first = read_heartbeat(run)
        assert first is not None and (first.phase, first.step, first.pid) == (Phase.START, 2, os.getpid())
        wait_for(lambda: (beat := read_heartbeat(run)) is not None and beat.sequence > first.sequence + 2)
        link.phase(Phase.UPDATE)
        link.step_done(3, {"reward": 0.5})
        beat = read_heartbeat(run)
        assert beat is not None and (beat.phase, beat.step) == (Phase.UPDATE, 3)
        assert not link.asked().stop and not link.asked().checkpoint
        ask(run, 1, 1, CHECKPOINT_FILE, "please")
        assert link.asked().checkpoint and link.asked().reason == "please"
        link.saved(3)
        assert not link.asked().checkpoint, "an answered request is gone"
        ask(run, 1, 1, STOP_FILE, "enough")
        assert link.asked().stop and link.asked().reason == "enough"
        os.kill(os.getpid(), signal.SIGUSR1)
        link.finish(Ending.STOPPED, "enough")
    assert "test_link_reports_and_listens" in (run.attempt(1, 1) / "stacks.txt").read_text()
    assert read_result(run, 1, 1) == TrainResult(Ending.STOPPED, 3, "enough", 1, 1)
    last = read_heartbeat(run)
    link.phase(Phase.IDLE)  # beats end with the link's thread; a late phase change is harmless
    assert last is not None


def test_a_trainer_that_finished_takes_the_next_cycles_request_if_it_is_meant(run: RunDir) -> None:
    request = TrainRequest(3, 2, 9, 12, wait_s=60)
    with TrainerLink(run, request) as link:
        write_request(run, TrainRequest(4, 1, 13, 16, resume_step=12))
        assert following_request(run, request) is None, "that is for another process"
        wanted = TrainRequest(4, 1, 13, 16, resume_step=12, process="3/2", wait_s=60)
        write_request(run, wanted)
        assert link.next_request() == wanted
        beat = read_heartbeat(run)
        assert beat is not None and beat.phase is Phase.IDLE
    write_request(run, replace(wanted, cycle=5, process="3/2"))
    assert following_request(run, wanted) is not None, "the third cycle of the same process"


def test_a_trainer_that_waits_ends_when_it_is_asked_to_or_has_waited_long_enough(run: RunDir) -> None:
    with TrainerLink(run, TrainRequest(1, 1, 1, 4)) as link:
        assert link.next_request() is None, "this one does not wait"
    with TrainerLink(run, TrainRequest(1, 2, 1, 4, wait_s=0.05)) as link:
        assert link.next_request() is None
    with TrainerLink(run, TrainRequest(1, 3, 1, 4, wait_s=1e6)) as link:
        ask(run, 1, 3, STOP_FILE, "enough")
        assert link.next_request() is None


def test_driver_watch_asks_to_stop_what_the_process_works_on_by_then(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARKER_VARIABLE, "run/1/1")
    write_request(run, TrainRequest(2, 1, 5, 8, process="1/1"))
    with DriverWatch(run, TrainRequest(1, 1, 1, 4, driver_pid=2**22 + 1), interval_s=0.01):
        wait_for((run.attempt(2, 1) / STOP_FILE).exists)
    assert not (run.attempt(1, 1) / STOP_FILE).exists()


def test_driver_watch_asks_for_a_stop_when_the_parent_is_another(run: RunDir) -> None:
    with DriverWatch(run, TrainRequest(1, 1, 1, 4, driver_pid=os.getppid()), interval_s=0.01):
        pass
    assert not (run.attempt(1, 1) / STOP_FILE).exists()
    with DriverWatch(run, TrainRequest(1, 1, 1, 4, driver_pid=2**22 + 1), interval_s=0.01):
        wait_for((run.attempt(1, 1) / STOP_FILE).exists)


def test_nothing_is_saved_under_the_old_name_of_a_folder(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    write_request(run, TrainRequest(1, 1, 1, 4))
    link = TrainerLink(run)
    link.require_folder()
    run.root.rename(tmp_path / "renamed")
    with pytest.raises(RunMovedError, match="run was renamed or removed while the run was going on"):
        link.require_folder()


def test_a_trainer_whose_driver_and_folder_are_gone_writes_nothing_into_the_next_run(tmp_path: Path) -> None:
    """``kill -9``, ``rm -rf runs/x`` and the same command again: the old trainer made the folder anew."""
    run = RunDir(tmp_path / "run")
    write_request(run, TrainRequest(1, 1, 1, 4))
    child = os.fork()
    if child == 0:
        os.setsid()
        with DriverWatch(run, TrainRequest(1, 1, 1, 4, driver_pid=os.getppid()), interval_s=0.01) as watch:
            watch._request = replace(watch._request, driver_pid=2**22 + 1)
            signal.pause()
    wait_for(lambda: (run.attempt(1, 1) / STOP_FILE).exists())
    run.root.rename(tmp_path / "away")
    ended: list[int] = []
    wait_for(lambda: ended.append(os.waitpid(child, os.WNOHANG)[1]) or ended[-1] != 0)
    assert os.waitstatus_to_exitcode(ended[-1]) == -signal.SIGKILL
    assert not run.root.exists()
