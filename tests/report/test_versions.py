"""Which commit a run is said to be made with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from azr.report import versions


def make_repository(folder: Path, file: str) -> str:
    """One commit; its name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("text\n")
    git = ("git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c")
    for words in (["init", "-q"], ["add", file], ["commit", "-qm", "one"]):
        subprocess.run([*git, *words], check=True)
    command = [*git, "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_project_that_is_no_clone_has_no_commit_of_the_repository_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(tmp_path, "dotfile")
    project = tmp_path / "azr-main"
    project.mkdir()
    monkeypatch.setattr(versions, "PROJECT", project)
    assert "azr" not in versions.collect_versions("compact")
    assert "commit" not in versions.version_text()

    commit = make_repository(project, "file")
    assert versions.collect_versions("compact")["azr"] == commit


def test_git_s_variables_of_another_repository_name_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository(tmp_path / "home", "dotfile")
    commit = make_repository(tmp_path / "azr", "file")
    monkeypatch.setattr(versions, "PROJECT", tmp_path / "azr")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "home" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "home"))
    assert versions.collect_versions("compact")["azr"] == commit


@pytest.mark.parametrize("clone", [True, False])
def test_other_edits_of_the_project_are_another_version_with_the_same_commit_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, clone: bool
) -> None:
    (tmp_path / "azr").mkdir()
    if clone:
        make_repository(tmp_path, "azr/rewards.py")
    monkeypatch.setattr(versions, "PROJECT", tmp_path)
    found = []
    for edit in ("-0.5", "0.0", "0.0"):
        (tmp_path / "azr" / "rewards.py").write_text(f"EXTREMES = {edit}\n")
        found.append(versions.collect_versions("compact"))
    assert found[0].get("azr") == found[1].get("azr")
    assert found[0] != found[1] and found[1] == found[2]
