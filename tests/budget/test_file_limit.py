"""``ulimit -f`` below what Ray or a checkpoint takes: told by start, preflight and doctor, before anything is started."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from azr.budget import advice
from azr.budget.advice import file_limit
from azr.budget.shape import shape_for
from azr.campaign.start_check import require_startable
from azr.cli import preflight
from azr.config.load import load_config
from azr.doctor.checks import Level, fit_findings
from azr.errors import ConfigError
from azr.run.rundir import RunDir
from azr.system.hardware import Machine

PROJECT = Path(__file__).resolve().parents[2]
MACHINE = Machine((), cpu_cores=8, ram_gib=64.0, ram_available_gib=60.0)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(advice, "file_size_gib", lambda: 1.0)
    return monkeypatch


def test_start_doctor_and_preflight_say_so(
    limit: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray's processes did not come up, which was called a busy machine, or the first checkpoint was cut short."""
    settings = ["recipe=cpu_tiny", f"runs_dir={tmp_path}"]
    config = load_config(settings).config
    with pytest.raises(
        ConfigError, match=r"1.0 GiB here \(ulimit -f\), and Ray's shared memory takes 18.0 GiB"
    ):
        require_startable(config, MACHINE, RunDir(tmp_path / "default"))
    found = list(fit_findings(MACHINE, config, tmp_path))
    assert [each.subject for each in found if each.level is Level.PROBLEM] == ["file size"]
    assert "ulimit -f unlimited" in next(each.fix for each in found if each.subject == "file size")
    limit.setattr(preflight, "detect", lambda: MACHINE)
    assert preflight.main(settings) == 1
    assert "refused: a file may have 1.0 GiB here" in capsys.readouterr().out
    assert preflight.main([*settings, "--ram", "32"]) == 0, "a plan for another machine"


def test_a_checkpoint_counts_too(limit: pytest.MonkeyPatch) -> None:
    config = load_config(["recipe=cpu_tiny", "model.path=data/models/azr-tiny"]).config
    shape = shape_for(config)
    assert shape is not None
    small = replace(MACHINE, ram_available_gib=3.0)
    assert not file_limit(config, small, shape)
    whole = replace(shape, layers=shape.layers * 400)
    assert "a checkpoint's largest file takes" in file_limit(config, small, whole)
    limit.setattr(advice, "file_size_gib", lambda: float("inf"))
    assert not file_limit(config, MACHINE, whole)


def test_soft_limits_are_raised() -> None:
    """One of processes was called too low, with the advice to raise it."""
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 30))\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (300, 5000))\n"
        "from azr.system.process_limits import file_size_gib, raise_limits\n"
        "raise_limits(print)\nprint(resource.getrlimit(resource.RLIMIT_NPROC)[0], file_size_gib())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert told.stdout.split() == ["5000", "1.0"]
