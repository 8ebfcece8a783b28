from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from azr.config.report import ReportConfig
from azr.errors import ConfigError
from azr.report.loggers import make_loggers, wandb_id
from azr.run.protocol import MetricsRecord, append_metrics
from azr.run.rundir import RunDir


def _scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(directory))
    accumulator.Reload()
    return {
        tag: [(event.step, round(event.value, 4)) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_reads_back_what_was_logged(tmp_path: Path) -> None:
    (logger,) = make_loggers(ReportConfig(), tmp_path)
    logger.log(1, {"actor/entropy": 0.5, "data/accepted": 3}, 1000.0)
    logger.log(2, {"actor/entropy": 0.25}, 1001.0)
    logger.close()
    assert _scalars(tmp_path / "tensorboard") == {
        "actor/entropy": [(1, 0.5), (2, 0.25)],
        "data/accepted": [(1, 3.0)],
    }


def test_a_resume_supersedes_the_undone_steps(tmp_path: Path) -> None:
    for first_step, values in ((0, {1: 0.1, 2: 0.2, 3: 0.3}), (2, {2: 0.9})):
        (logger,) = make_loggers(ReportConfig(), tmp_path, first_step=first_step)
        for step, value in values.items():
            logger.log(step, {"x": value}, 1000.0 + step)
        logger.close()
    assert _scalars(tmp_path / "tensorboard")["x"] == [(1, 0.1), (2, 0.9)]


def test_a_resume_supersedes_the_undone_steps_after_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or on a machine whose clock is behind: the new steps were dropped, and the undone ones shown."""
    for now, first_step, value in ((5000.0, 0, 0.1), (1400.0, 2, 0.9), (1400.0, 3, 0.7)):
        monkeypatch.setattr("azr.report.loggers.time.time", lambda now=now: now)
        (logger,) = make_loggers(ReportConfig(), tmp_path, first_step=first_step)
        for step in range(max(1, first_step), 4):
            logger.log(step, {"x": value}, now + step)
        logger.close()
    assert _scalars(tmp_path / "tensorboard")["x"] == [(1, 0.1), (2, 0.9), (3, 0.7)]


def test_a_file_that_cannot_grow_is_an_error_of_the_call_and_no_traceback_of_a_thread(tmp_path: Path) -> None:
    code = """
import pathlib, resource, sys, time
from azr.config.report import ReportConfig
from azr.report.loggers import make_loggers, wandb_id
(logger,) = make_loggers(ReportConfig(), pathlib.Path(sys.argv[1]))
sys.dont_write_bytecode = True  # modules met from here on would be cut off in the cache, for every later test
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for step in range(1, 40):
    try:
        logger.log(step, {"x": 1.0}, 1000.0)
    except OSError as error:
        print(error.strerror)
        break
    time.sleep(0.05)
logger.close()
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    assert (result.stdout, result.stderr) == ("File too large\n", "")


def test_wandb_offline_writes_into_the_run_directory(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    config = ReportConfig(loggers=["wandb"])
    config.validate()
    (logger,) = make_loggers(config, tmp_path, run_config={"a": 1})
    logger.log(1, {"x": 1.0}, 1000.0)
    logger.close()
    assert list((tmp_path / "wandb").glob("offline-run-*"))


class FakeWandb:
    """As the real one, it ignores a step that is not above its last one; a killed service fails at its end."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, float]] = []
        self.last = -1

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self  # setup, Settings, init, define_metric, teardown

    def log(self, values: dict[str, float], step: int) -> None:
        if step > self.last:
            self.last = step
            self.shown.append((int(values["step"]), values["x"]))

    def finish(self) -> None:
        raise ConnectionResetError("Connection lost")


def test_wandb_has_the_steps_that_were_trained_again_and_its_end_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash it kept the undone steps, and ignored the valid ones until it came to a new number."""
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for steps, x in (((0, 1, 2, 3), 0.1), ((2, 3, 4), 0.9)):
        (logger,) = make_loggers(ReportConfig(loggers=["wandb"]), tmp_path, first_step=steps[0])
        for step in steps:
            append_metrics(RunDir(tmp_path), MetricsRecord(step, 1, 1, 1000.0 + step, {"x": x}))
            logger.log(step, {"x": x}, 1000.0 + step)
        logger.close()
    assert dict(wandb.shown) == {0: 0.1, 1: 0.1, 2: 0.9, 3: 0.9, 4: 0.9}
    assert len(wandb.shown) == 7


def test_no_two_runs_are_one_for_wandb(tmp_path: Path) -> None:
    """Its run was known by the folder's name: two machines wrote into one ``default``, a run that was begun anew into
    the old one, and a name with a time in it was refused, with the advice to log in."""
    ids = []
    for name in ("a/10:30", "b/10:30", "a/10-30"):
        (tmp_path / name).mkdir(parents=True)
        ids.append(wandb_id(tmp_path / name))
        assert wandb_id(tmp_path / name) == ids[-1] and re.fullmatch(r"10-30-[0-9a-f]{8}", ids[-1])
    assert len(set(ids)) == 3
    shutil.copytree(tmp_path / "a/10:30", tmp_path / "copy")
    assert wandb_id(tmp_path / "copy").startswith("copy-")


def test_wandb_without_a_key_asks_nobody_and_is_a_sentence(tmp_path: Path) -> None:
    """It asked on the live screen and waited, or ended the run in a traceback."""
    pytest.importorskip("wandb")
    code = f"""
from pathlib import Path
from azr.config.report import ReportConfig
from azr.report.loggers import make_loggers, wandb_id
try:
    make_loggers(ReportConfig(loggers=["wandb"], wandb_mode="online"), Path({str(tmp_path)!r}))
except Exception as error:
    print(type(error).__name__, error)
"""
    shown, terminal = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment |= {"HOME": str(tmp_path), "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal, env=environment, timeout=60, check=True
    )  # fmt: skip
    assert done.returncode == 0
    said = os.read(shown, 10_000).decode()
    assert said.startswith("ConfigError report.loggers: wandb does not start (No API key configured")
    assert "report.wandb_mode=offline" in said


def test_unknown_logger_is_named() -> None:
    with pytest.raises(ConfigError, match="tensorbored"):
        ReportConfig(loggers=["tensorbored"]).validate()


def test_the_report_package_imports_no_torch() -> None:
    code = "import sys, pkgutil, importlib, azr.report as r\n"
    code += "[importlib.import_module('azr.report.' + m.name) for m in pkgutil.iter_modules(r.__path__)]\n"
    code += "from azr.config.report import ReportConfig; from azr.report.loggers import make_loggers; import tempfile, pathlib\n"
    code += "make_loggers(ReportConfig(), pathlib.Path(tempfile.mkdtemp()))\n"
    code += "print([m for m in ('torch', 'verl', 'vllm', 'ray', 'tensorflow') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert result.stdout.strip() == "[]"
