"""The empty place of a disk that is not mounted is not written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr import cli
from azr.system import disks
from azr.system.disks import missing_disk, share_without_locks

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


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("/ rw - ext4 /dev/sdb1 rw", ""),
        ("/ rw - nfs4 host:/x rw,vers=4.2,local_lock=none,addr=10.0.0.1", ""),
        ("/ rw - nfs host:/x rw,nolock,local_lock=all,addr=10.0.0.1", "nfs"),
        ("/ rw shared:7 master:2 - fuse.sshfs me@host: rw", "fuse.sshfs"),
        ("/ rw - 9p C: rw", "9p"),
    ],
)
def test_shares_whose_locks_may_hold_on_one_machine_alone(disk: Path, line: str, kind: str) -> None:
    root, (_, options) = f"20 1 8:2 / {disk.anchor} rw - ext4 /dev/sda1 rw\n", line.split(" ", 1)
    place = str(disk).replace(" ", r"\040")
    disks.MOUNTS.write_text(f"{root}31 20 0:5 / {place} {options}\n{MOUNTED}")
    assert share_without_locks(disk / "runs" / "x") == kind
    assert share_without_locks(disk.parent / f"{disk.name} 2") == "", "a name that begins alike"
    disks.MOUNTS.write_text(
        f"31 20 0:5 / {place} {options}\n32 31 8:3 / {place} rw - ext4 /dev/sdc1 rw\n{root}"
    )
    assert share_without_locks(disk / "runs") == "", "another disk was mounted over it"


def test_without_these_files_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FSTAB", "MOUNTS", "KERNEL"):
        monkeypatch.setattr(disks, name, tmp_path / "none")
    assert missing_disk(tmp_path / "runs") == share_without_locks(tmp_path / "runs") == ""
