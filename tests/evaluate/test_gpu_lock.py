"""Two evaluations on one card: the second waits, and says so."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_fixture import PROJECT, TINY

from azr.errors import EngineError, ModelError
from azr.evaluate import engine, gpu_lock
from azr.evaluate.answers import AnswerStore
from azr.evaluate.engine import Batch, EngineModel, EngineOptions, answer_all
from azr.evaluate.engine_requests import Decoding, Request
from azr.evaluate.gpu_lock import hold_cards, lock_folder
from azr.tasks import Prompt

CARD = "GPU-5a0c1f62-0000-1111-2222-333344445555"
HOLDER = """
import sys
from pathlib import Path
from azr.evaluate.gpu_lock import hold_cards
with hold_cards([sys.argv[2]], folder=Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    """A process that evaluates on CARD until its input is closed."""
    command = [sys.executable, "-c", HOLDER, str(folder), CARD]
    holder = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def test_the_second_evaluation_waits_for_the_first(tmp_path: Path) -> None:
    holder, said = start_holder(tmp_path), list[str]()

    def say(text: str) -> None:
        said.append(text)
        holder.communicate(timeout=30)  # only now does the first one end

    with hold_cards([CARD], folder=tmp_path, limit_s=60, say=say):
        assert holder.returncode == 0
    assert len(said) == 1 and f"(process {holder.pid}) uses card {CARD}; waiting" in said[0]


def test_a_folder_without_locks_is_locked_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second evaluation did not wait there."""
    shared, real = tmp_path / "shared", fcntl.flock
    shared.mkdir()

    def flock(descriptor: int, operation: int) -> None:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(str(shared)):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    said: list[str] = []
    with hold_cards([CARD], folder=shared, say=said.append):
        assert len(said) == 1 and f"The file system of {shared} has no locks" in said[0]
        with (
            pytest.raises(EngineError, match=f"process {os.getpid()} is still evaluating"),
            hold_cards([CARD], folder=shared, limit_s=0, say=said.append),
        ):
            pass


def test_the_wait_has_a_limit_and_other_cards_are_free(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    try:
        with hold_cards(["GPU-another"], folder=tmp_path, limit_s=0):
            pass
        with (
            pytest.raises(EngineError, match="is still evaluating on card GPU-5a0c"),
            hold_cards([CARD], folder=tmp_path, limit_s=0),
        ):
            pass
    finally:
        holder.kill()
        holder.wait(timeout=30)
    with hold_cards([CARD, CARD], folder=tmp_path, limit_s=0):  # a killed holder leaves no lock behind
        pass


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lock_folder().stat().st_mode & 0o077 == 0
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"azr-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(EngineError, match="not a folder of yours"):
        lock_folder()


def test_nothing_is_locked_without_a_card(tmp_path: Path) -> None:
    with hold_cards([], folder=tmp_path / "never made"):
        assert not (tmp_path / "never made").exists()


def test_the_engine_holds_the_card_that_it_runs_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a card here, the machine is described and the engine itself is not started."""
    machine = tmp_path / "machine.json"
    machine.write_text(
        json.dumps({"gpus": [{"total_gib": 16, "uuid": CARD}, {"total_gib": 8, "uuid": "GPU-small"}]})
    )
    monkeypatch.setenv("AZR_MACHINE", str(machine))
    monkeypatch.setattr(gpu_lock, "lock_folder", lambda: tmp_path)
    free = []

    def is_free(card: str) -> bool:
        with contextlib.suppress(EngineError), hold_cards([card], limit_s=0):
            return True
        return False

    def instead_of_the_engine(*_: object) -> tuple[int, str]:
        free.append([card for card in (CARD, "GPU-small") if is_free(card)])
        return 0, "not started"

    monkeypatch.setattr(engine, "_run_child", instead_of_the_engine)
    request = Request(
        "a", Prompt((("user", "hello"),), raw=True), Decoding(max_prompt_tokens=8, max_response_tokens=8)
    )
    batch = Batch([request], AnswerStore(tmp_path / "answers"))
    for device in ("cuda", "cpu"):
        with pytest.raises(ModelError, match="not started"):
            answer_all([(EngineModel("tiny", TINY), EngineOptions(device=device), [batch])])
    assert free == [["GPU-small"], [CARD, "GPU-small"]] and is_free(CARD)
