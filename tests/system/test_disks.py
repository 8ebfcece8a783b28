"""The empty place of a disk that is not mounted is not written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr import cli
from azr.system import disks
from azr.system.disks import missing_disk

MOUNTED = "22 27 0:21 / /proc rw,relatime - proc proc rw\n"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a disk that fstab names, not mounted."""
    place = tmp_path / "my disk"
    place.mkdir()
    escaped = str(place).replace(" ", r"\040")
    (tmp_path / "fstab").write_text(f"# disks\nUUID=1 {escaped}/ ext4 nofail 0 2\nUUID=2 none swap sw 0 0\n")
    (tmp_path / "mounts").write_text(MOUNTED)
    (tmp_path / "kernel").write_text("6.1.0-generic\n")
    monkeypatch.setattr(disks, "FSTAB", tmp_path / "fstab")
    monkeypatch.setattr(disks, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(disks, "KERNEL", tmp_path / "kernel")
    return place


def test_every_command_says_so_and_writes_nothing(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = f"{disk} is empty, and nothing is mounted there, although {disk.parent}/fstab names it; mount it first"
    for words in (
        ["run", "recipe=cpu_tiny", f"runs_dir={disk}/runs", "name=x"],
        ["run", "recipe=cpu_tiny", f"runs_dir={disk}", "name=x"],
        ["run", "recipe=cpu_tiny", f"runs_dir={disk.parent}/runs", f"model.path={disk}/model"],
        ["run", "recipe=cpu_tiny", f"runs_dir={disk.parent}/runs", f"data.extra_files=[{disk}/mine.jsonl]"],
        ["report", f"{disk}/runs/x"],
        ["evaluate", f"{disk}/runs/x@best"],
        ["export", "runs/x", f"--out={disk}/model"],
    ):
        assert cli.main(words) == 2
        assert told in capsys.readouterr().err, words
    assert list(disk.iterdir()) == [] and not (disk.parent / "runs").exists()


def test_a_disk_that_is_mounted_or_a_folder_in_use_is_fine(disk: Path) -> None:
    assert missing_disk(disk / "runs")
    assert not missing_disk(disk.parent / "other")
    escaped = str(disk).replace(" ", r"\040")
    disks.MOUNTS.write_text(f"{MOUNTED}31 27 8:1 / {escaped} rw - ext4 /dev/sdb1 rw\n")
    assert not missing_disk(disk / "runs")
    disks.MOUNTS.write_text(MOUNTED)
    (disk / "runs").mkdir()  # somebody uses the folder itself, as in a container with the host's fstab
    assert not missing_disk(disk / "runs")
    disk.joinpath("runs").rmdir()
    disk.rmdir()
    assert missing_disk(disk / "runs"), "also where the place itself is gone"


def test_a_link_that_leads_to_such_a_place(disk: Path) -> None:
    (disk.parent / "runs").symlink_to(disk)
    assert missing_disk(disk.parent / "runs" / "x")


def test_drives_of_windows_that_are_not_there(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "_drives", lambda: [disk.parent / "d"])
    (disk.parent / "d").mkdir()
    assert not missing_disk(disk.parent / "d" / "runs")
    disks.KERNEL.write_text("5.15.153.1-microsoft-standard-WSL2\n")
    assert "the place of a drive of Windows" in missing_disk(disk.parent / "d" / "runs")


def test_without_these_files_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FSTAB", "MOUNTS", "KERNEL"):
        monkeypatch.setattr(disks, name, tmp_path / "none")
    assert missing_disk(tmp_path / "runs") == ""
