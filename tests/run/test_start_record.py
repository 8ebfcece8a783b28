"""Where a trainer's start went: marks of its processes, and what vLLM's own lines say."""

from __future__ import annotations

import io
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from azr.config.report import ReportConfig
from azr.report.live import LiveView
from azr.run.protocol import TrainRequest
from azr.run.rundir import RunDir
from azr.run.start_record import START_FILE, StartPart, TimeMark, engine_seconds, latest_start, read_start
from azr.run.trainer_link import TrainerLink
from azr.system.files import append_jsonl

# of vLLM 0.24 on a card
ENGINE_LOG = """\
(EngineCore pid=2004) INFO 11-27 02:50:15 [default_loader.py:430] Loading weights took 0.16 seconds
(EngineCore pid=2004) INFO 11-27 02:50:16 [gpu_model_runner.py:5255] Model loading took 0.93 GiB memory and 1.250962 seconds
(EngineCore pid=2004) INFO 11-27 02:50:31 [backends.py:393] Compiling a graph for compile range (1, 16384) takes 9.42 s
(EngineCore pid=2004) INFO 11-27 02:50:33 [monitor.py:53] torch.compile took 17.42 s in total
(EngineCore pid=2004) INFO 11-27 02:50:34 [monitor.py:81] Initial profiling/warmup run took 0.24 s
(EngineCore pid=2004) INFO 11-27 02:50:47 [gpu_model_runner.py:6656] Graph capturing finished in 4 secs, took 0.33 GiB
(EngineCore pid=2004) INFO 11-27 02:50:48 [core.py:337] init engine (profile, create kv cache, warmup model) took 31.92 s
"""


def _start(run: RunDir, attempt: int, seconds: dict[StartPart, float], log: str = "") -> Path:
    folder = run.attempt(1, attempt)
    time_s = 5000.0
    marks = [TimeMark(StartPart.BEGIN, time_s)]
    for part, lasted_s in seconds.items():
        time_s += lasted_s
        inside = {"generate": 8.6, "sync": 0.1} if part is StartPart.FIRST_STEP else {}
        marks.append(TimeMark(part, time_s, inside))
    append_jsonl(folder / START_FILE, map(asdict, marks))
    (folder / "trainer.log").write_text(log, encoding="utf-8")
    return folder


SECONDS = {
    StartPart.IMPORTS: 20.6,
    StartPart.RAY: 6.0,
    StartPart.POLICY: 9.0,
    StartPart.ENGINE: 38.0,
    StartPart.RESTORE: 0.2,
    StartPart.FIRST_STEP: 13.2,
}


def test_a_start_reads_as_a_sentence(tmp_path: Path) -> None:
    start = read_start(_start(RunDir(tmp_path), 1, SECONDS, ENGINE_LOG))
    assert start is not None
    assert start.sentence == (
        "started in 87 s: imports 21, Ray 6, model 9, engine 38 (weights 1, compile 17, graphs 4), first step 13 (generate 9)"
    )


def test_lines_of_the_engine_are_read_whatever_is_in_front_of_them() -> None:
    ray = "".join(f"\x1b[36m(vLLMHttpServer pid=9)\x1b[0m {line}\n" for line in ENGINE_LOG.splitlines())
    found = {"weights": 1.250962, "compile": 17.42, "graphs": 4.0}
    assert engine_seconds(ENGINE_LOG) == engine_seconds(ray) == found
    slower = ENGINE_LOG.replace("took 17.42 s in", "and initial profiling/warmup run together took 19.5 s in")
    assert engine_seconds(ENGINE_LOG + slower) == found | {"compile": 19.5}
    assert engine_seconds("torch.compile took very long") == {}


@pytest.mark.parametrize("missing", ["first step", "begin"])
def test_half_a_start_is_none(tmp_path: Path, missing: str) -> None:
    folder = _start(RunDir(tmp_path), 1, SECONDS)
    lines = (folder / START_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / START_FILE).write_text("".join(line for line in lines if f'"{missing}"' not in line))
    assert read_start(folder) is None


def test_an_attempt_that_goes_on_in_a_process_of_before_has_no_start(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for attempt, process in ((1, ""), (2, "1/1")):
        request = TrainRequest(cycle=1, attempt=attempt, first_step=1, last_step=2, process=process)
        TrainerLink(run, request).mark(StartPart.RUNNER)
    assert latest_start(run) == run.attempt(1, 1)
    assert not (run.attempt(1, 2) / START_FILE).exists()


def test_the_view_says_each_start_once(tmp_path: Path) -> None:
    run, out = RunDir(tmp_path), io.StringIO()
    run.lock.touch()
    _start(run, 1, SECONDS)
    with LiveView(run.root, ReportConfig(), Console(file=out, width=80), past=False) as view:
        view.update(force=True)
        assert "started in" not in out.getvalue()  # before this view
        _start(run, 2, SECONDS)
        view.update(force=True)
        view.update(force=True)
    assert out.getvalue().count(": trainer started in 87 s: imports 21,") == 1
