"""What counts as a run, for every command alike."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from azr.report.summary_reader import require_run
from azr.run.rundir import RUN_MARKS, is_run, run_named


def make(root: Path, *marks: str) -> Path:
    for mark in marks:
        path = root / mark.replace("?", "0")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if "." not in path.name else path.write_text("")
    return root


@pytest.mark.parametrize("marks", itertools.combinations(RUN_MARKS, 2))
def test_two_of_its_files_show_a_run_and_one_does_not(tmp_path: Path, marks: tuple[str, ...]) -> None:
    run = make(tmp_path / "whole", *marks)
    assert is_run(run)
    require_run(run)
    for mark in marks:
        assert not is_run(make(tmp_path / mark, mark))


def test_a_folder_with_a_config_of_its_own_is_not_named_as_the_run_that_is_meant(tmp_path: Path) -> None:
    make(tmp_path, "config.yaml")
    assert run_named(tmp_path / "runs" / "mine" / "report.html") is None
    run = make(tmp_path / "runs" / "mine", "config.yaml", "checkpoints/step_00000010")
    assert run_named(run / "report.html") == run_named(tmp_path / "mine") == run


def test_other_checkpoints_beside_a_configuration_are_no_run(tmp_path: Path) -> None:
    make(tmp_path, "config.yaml", "checkpoints/step_1000")
    assert not is_run(tmp_path)
