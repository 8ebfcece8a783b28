"""Where the time between two cycles went: marks of trainer and driver, and how people read them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from azr.config.report import ReportConfig
from azr.report.live import LiveView
from azr.run.hand_over import (
    HAND_OVER_FILE,
    HandOverPart,
    forget_hand_over,
    mark_hand_over,
    read_hand_over,
)
from azr.run.protocol import TrainRequest
from azr.run.rundir import RunDir
from azr.run.start_record import TimeMark
from azr.run.trainer_link import TrainerLink
from azr.system.files import append_jsonl

SECONDS = {
    HandOverPart.SAVE: 28.2,
    HandOverPart.CHECK: 6.0,
    HandOverPart.MERGE: 14.0,
    HandOverPart.REPORT: 0.3,
    HandOverPart.TRAINER: 1.0,
    HandOverPart.FIRST_STEP: 5.0,
}


def write(run: RunDir, cycle: int, parts: Sequence[HandOverPart] = tuple(SECONDS)) -> None:
    time_s, marks = 5000.0, [TimeMark(HandOverPart.BEGIN, 5000.0)]
    for part in parts:
        time_s += SECONDS[part]
        marks.append(TimeMark(part, time_s))
    append_jsonl(run.cycle(cycle) / HAND_OVER_FILE, map(asdict, marks))


def test_a_hand_over_reads_as_a_sentence(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    write(run, 1)
    write(run, 2, [HandOverPart.SAVE])  # not over
    told = read_hand_over(run)
    assert told is not None and told.sentence == (
        "from cycle 1 to 2 in 54 s: saving 28, checking the checkpoint 6, merging 14, trainer goes on 1, first step 5"
    )


def test_a_last_step_that_was_trained_again_begins_anew(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    write(run, 1, [HandOverPart.SAVE])
    write(run, 1)
    told = read_hand_over(run)
    assert told is not None and len(told.shares) == len(SECONDS)


def test_an_interrupted_hand_over_is_none(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    write(run, 1)
    write(run, 2, [HandOverPart.SAVE, HandOverPart.CHECK])
    for cycle in (0, 1, 2, 3):
        forget_hand_over(run, cycle)
    assert [*run.in_cycles(HAND_OVER_FILE)] == [1]
    mark_hand_over(run, 2, HandOverPart.FIRST_STEP)
    told = read_hand_over(run)
    assert told is not None and told.cycle == 1


def test_only_an_attempt_that_begins_a_cycle_ends_a_hand_over(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    mark_hand_over(run, 1, HandOverPart.BEGIN)
    file = run.cycle(1) / HAND_OVER_FILE
    for resume_step, lines in ((6, 1), (4, 2)):  # a restart in the middle, and the begin
        request = TrainRequest(cycle=2, attempt=1, first_step=5, last_step=8, resume_step=resume_step)
        TrainerLink(run, request).mark_taking_over(HandOverPart.TRAINER)
        assert len(file.read_text().splitlines()) == lines


def test_the_view_says_each_hand_over_once(tmp_path: Path) -> None:
    run, out = RunDir(tmp_path), io.StringIO()
    run.lock.touch()
    write(run, 1)
    with LiveView(run.root, ReportConfig(), Console(file=out, width=80), past=False) as view:
        view.update(force=True)
        assert "from cycle" not in out.getvalue()  # before this view
        write(run, 2)
        view.update(force=True)
        view.update(force=True)
    assert out.getvalue().count(": from cycle 2 to 3 in 54 s: saving 28,") == 1
