"""Files that appear whole, and what permissions they have."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from azr.errors import DataError
from azr.system import files
from azr.system.files import (
    append_jsonl,
    set_mode,
    whole_file,
    whole_folder,
    write_json_atomic,
    write_text_atomic,
)


@pytest.fixture(params=[0o077, 0o027, 0o022, 0o002, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_files_are_as_readable_as_the_umask_lets_them(tmp_path: Path, umask: int) -> None:
    """With ``umask 077`` they were readable for everybody."""
    write_text_atomic(tmp_path / "text", "x")
    write_json_atomic(tmp_path / "new folder" / "value.json", 1)
    with whole_file(tmp_path / "bytes") as file:
        file.write(b"x")
    append_jsonl(tmp_path / "lines.jsonl", [{}])
    with whole_folder(tmp_path / "folder") as staging:
        (staging / "inside").write_text("x")
        (staging / "private").touch(mode=0o600)  # as safetensors makes its files
        set_mode(staging / "private")
    (tmp_path / "plain").write_text("x")
    (tmp_path / "made").mkdir()
    found = list(tmp_path.rglob("*"))
    assert {mode(path) for path in found if path.is_file()} == {mode(tmp_path / "plain")} == {0o666 & ~umask}
    assert {mode(path) for path in found if path.is_dir()} == {mode(tmp_path / "made")} == {0o777 & ~umask}


@pytest.mark.parametrize(
    "name", ["/dev/null", "/dev/full", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/new"]
)
def test_a_device_is_not_replaced(name: str) -> None:
    """``azr report RUN --output /dev/null``, as root, made a file of it, for everybody."""

    def there() -> list[int]:
        found = [os.lstat(name)] if os.path.lexists(name) else []
        return [number for each in found for number in (each.st_mode, each.st_ino, each.st_rdev)]

    before = there()
    with pytest.raises(DataError, match=f"{name} is a device or a pipe, not a file"):
        files.write_bytes_atomic(Path(name), b"x")
    assert there() == before


def test_a_pipe_or_a_folder_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, what in (("pipe", "a device or a pipe"), (".", "a folder")):
        with pytest.raises(DataError, match=what):
            files.write_bytes_atomic(tmp_path / name, b"x")
    (tmp_path / "link").symlink_to("pipe")
    with pytest.raises(DataError, match="a device or a pipe"):
        files.write_bytes_atomic(tmp_path / "link", b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EBUSY])
def test_a_file_that_a_scanner_holds_for_a_moment_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Windows refuses the renaming of a file that another program has open (under /mnt/c): it was an error of the write."""
    refusals = [OSError(number, os.strerror(number))] * 2
    replace = os.replace

    def held(source: Path, target: Path) -> None:
        if refusals:
            raise refusals.pop()
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", held)
    (tmp_path / "state.json").write_text("old")
    files.write_bytes_atomic(tmp_path / "state.json", b"new")
    assert not refusals
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("state.json", "new")]


def test_a_renaming_that_stays_refused_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(files.time, "sleep", waited.append)
    monkeypatch.setattr(files.os, "replace", _refused)
    with pytest.raises(PermissionError):
        files.write_bytes_atomic(tmp_path / "state.json", b"new")
    assert sum(waited) == pytest.approx(3)
    assert list(tmp_path.iterdir()) == []


def _refused(source: Path, target: Path) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_the_umask_is_read_without_being_changed() -> None:
    before, seen, stop = os.umask(0o027), set[int](), threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.add(files._umask())

    thread = threading.Thread(target=look)
    try:
        thread.start()
        for _ in range(200):
            assert files._umask() == 0o027
    finally:
        stop.set()
        thread.join()
        os.umask(before)
    assert seen == {0o027}


def test_weights_for_which_a_disk_has_no_room_are_an_error_of_the_system(tmp_path: Path) -> None:
    """safetensors' own error was a traceback of ``azr export``."""
    program = (
        "import resource, sys, torch; from pathlib import Path; from safetensors.torch import save_file;"
        "from azr.system.files import safetensors_written_to\n"
        "sys.dont_write_bytecode = True\n"  # modules met from here on would be cut off in the cache, for every later test
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "try:\n"
        "    with safetensors_written_to(folder):\n"
        "        save_file({'a': torch.zeros(4096)}, folder / 'a.safetensors')\n"
        "except OSError as error:\n"
        "    print(error.errno, error.filename)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == [str(errno.EFBIG), str(tmp_path)], done.stderr


def test_a_folder_that_another_command_made_meanwhile_stays(tmp_path: Path) -> None:
    """The second of two exports said "Directory not empty" alone."""
    target = tmp_path / "tasks"
    with (
        pytest.raises(DataError, match="tasks was written by another command meanwhile"),
        whole_folder(target) as ours,
    ):
        (ours / "ours").touch()
        target.mkdir()
        (target / "theirs").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["tasks", "theirs"]
