"""The engine's process and what the parent makes of it. Programs that speak as the engine does stand where
vLLM would start."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_fixture import TINY

from azr.errors import ModelError
from azr.evaluate import engine
from azr.evaluate.answers import Answer, AnswerStore
from azr.evaluate.engine import Batch, EngineModel, EngineOptions, answer_all, shape
from azr.evaluate.engine_requests import Decoding, EngineJob, Request
from azr.evaluate.engine_session import check_loaded
from azr.evaluate.options import number_type
from azr.evaluate.progress import ProgressLine, Tally
from azr.system.files import read_json, write_json_atomic
from azr.system.hardware import Machine, cpu_flags
from azr.tasks import Prompt

PROJECT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
OPTIONS = EngineOptions(dtype="float32")
SPEAKS = """\
import json, os, sys
job, pipe = json.load(open(sys.argv[3])), int(sys.argv[4])
open(NOTE, "a").write(json.dumps(job) + "\\n")
def send(event):
    os.write(pipe, (json.dumps(event) + "\\n").encode())
for number, (model, batches) in enumerate(job["models"]):
    send({"model": number})
    for batch in batches:
        answers = batch["store"]["folder"] + "/answers.jsonl"
        for request in batch["requests"]:
            for sample in request["missing"]:
                with open(answers, "a") as file:
                    file.write(json.dumps({"item_id": request["item_id"], "sample": sample, "completion": model["label"]}) + "\\n")
"""


def _requests(*names: str, samples: int = 1) -> list[Request]:
    decoding = Decoding(samples=samples, max_prompt_tokens=100, max_response_tokens=20)
    return [Request(name, Prompt((("user", name),), raw=True), decoding) for name in names]


def _stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> Path:
    """Makes ``code`` what is started as the engine; returns the file that it may write to as NOTE."""
    note, program, python = folder / "note", folder / "program.py", folder / "python"
    program.write_text(f"NOTE = {str(note)!r}\n{code}")
    python.write_text(f'#!/bin/sh\nexec "{PYTHON}" "{program}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return note


def test_models_of_one_shape_share_an_engine_and_others_get_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "wider"
    shutil.copytree(TINY, other)
    write_json_atomic(other / "config.json", read_json(TINY / "config.json") | {"intermediate_size": 640})
    note = _stand_in(monkeypatch, tmp_path, SPEAKS)
    models = [EngineModel("a", TINY), EngineModel("wide", other), EngineModel("b", TINY)]
    work = [
        (model, OPTIONS, [Batch(_requests("x", "y"), AnswerStore(tmp_path / model.label))])
        for model in models
    ]
    for _, _, [batch] in work:
        batch.store.folder.mkdir()
    said: list[str] = []
    answer_all(work, say=said.append)
    jobs = [json.loads(line) for line in note.read_text().splitlines()]
    assert [[model["label"] for model, _ in job["models"]] for job in jobs] == [["a", "b"], ["wide"]]
    assert EngineJob(OPTIONS, [(models[0], work[0][2])]).max_model_len == 120
    assert said == ["wide: has another shape than a, so another engine is started"]
    assert {answer.completion for answer in AnswerStore(tmp_path / "b").read().values()} == {"b"}


def test_going_on_asks_only_what_is_missing_and_nothing_starts_when_all_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = _stand_in(monkeypatch, tmp_path, SPEAKS)
    store = AnswerStore(tmp_path / "store")
    store.folder.mkdir()
    store.append([Answer("x", 0, "kept"), Answer("x", 1, "kept"), Answer("y", 1, "kept")])
    for _ in range(2):
        work = [(EngineModel("m", TINY), OPTIONS, [Batch(_requests("x", "y", "z", samples=2), store)])]
        answer_all(work)
    [job] = note.read_text().splitlines()
    asked = json.loads(job)["models"][0][1][0]["requests"]
    assert {request["item_id"]: request["missing"] for request in asked} == {"y": [0], "z": [0, 1]}
    assert len(store.read()) == 6


def test_a_model_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "store")
    store.folder.mkdir()
    with pytest.raises(ModelError, match="no-model is not a model that can be evaluated"):
        answer_all([(EngineModel("m", tmp_path / "no-model"), OPTIONS, [Batch(_requests("x"), store)])])


def test_an_engine_that_fails_is_reported_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(monkeypatch, tmp_path, "import sys\nsys.exit('No available memory for the cache blocks')")
    store = AnswerStore(tmp_path / "store")
    store.folder.mkdir()
    work = [(EngineModel("m", TINY), OPTIONS, [Batch(_requests("x", "y"), store)])]
    with pytest.raises(ModelError, match="status 1 and 2 answers missing") as caught:
        answer_all(work)
    assert "or raise --gpu-memory-share by 0.05. The answers so far are kept" in str(caught.value)
    assert "No available memory" in str(caught.value).partition("engine.log")[2]
    _stand_in(
        monkeypatch,
        tmp_path,
        'import os, sys\nos.write(int(sys.argv[4]), b\'{"failed": "m lacks a weight"}\\n\')\nsys.exit(3)',
    )
    with pytest.raises(ModelError, match="m lacks a weight") as caught:
        answer_all(work)
    assert str(caught.value) == "m lacks a weight"


def test_a_hung_engine_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import subprocess, time\nchild = subprocess.Popen(['sleep', '600'])\nopen(NOTE, 'w').write(str(child.pid))\ntime.sleep(600)"
    note = _stand_in(monkeypatch, tmp_path, code)
    monkeypatch.setattr(engine, "QUIET_LIMIT_S", 3.0)
    store = AnswerStore(tmp_path / "store")
    store.folder.mkdir()
    with pytest.raises(ModelError, match="gave no sign of life"):
        answer_all([(EngineModel("m", TINY), OPTIONS, [Batch(_requests("x"), store)])])
    _wait_until_gone(int(note.read_text()))


def test_an_engine_whose_parent_is_killed_ends_too(tmp_path: Path) -> None:
    """The engine's own watch, in a process group like the engine's, with its parent killed the hard way."""
    note = tmp_path / "pid"
    child = (
        "import os, time; from azr.system.processes import end_with_parent; "
        "end_with_parent(); "
        f"open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    parent_code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True).wait()"
    parent = subprocess.Popen([sys.executable, "-c", parent_code], cwd=PROJECT)
    engine_pid = _wait_for_pid(note)
    assert _alive(engine_pid)
    parent.kill()
    parent.wait(timeout=30)
    _wait_until_gone(engine_pid)


def test_ctrl_c_ends_the_engine_at_once_and_keeps_its_answers(tmp_path: Path) -> None:
    """The real parent in a process of its own, interrupted while an engine stand-in has written one of two
    answers."""
    code = SPEAKS.replace(
        '            for sample in request["missing"]:', '            for sample in request["missing"][:1]:'
    )
    code += "\nimport time\nopen(NOTE + '.pid', 'w').write(str(os.getpid()))\ntime.sleep(600)"
    script = f"""
import sys
sys.path[:0] = [{str(PROJECT)!r}, {str(Path(__file__).parent)!r}]
from pathlib import Path
import pytest
from test_engine_process import *
from test_engine_process import _requests, _stand_in
folder = Path({str(tmp_path)!r})
_stand_in(pytest.MonkeyPatch(), folder, {code!r})
store = AnswerStore(folder / "store")
store.folder.mkdir()
answer_all([(EngineModel("m", TINY), OPTIONS, [Batch(_requests("x", samples=2), store)])])
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    engine_pid = _wait_for_pid(tmp_path / "note.pid")
    parent.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in parent.communicate(timeout=60)[1]
    _wait_until_gone(engine_pid)
    assert len(AnswerStore(tmp_path / "store").read()) == 1


def test_a_torn_line_is_ended_before_the_next_answer(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path)
    store.path.write_text(json.dumps(vars(Answer("a", 0, "one"))) + '\n{"item_id": "b", "sam')
    store.append([Answer("c", 0, "näh \ud800")])
    assert {answer.completion for answer in store.read().values()} == {"one", "näh \ud800"}


def test_a_shape_is_what_an_engine_is_built_for(tmp_path: Path) -> None:
    same, other = tmp_path / "same", tmp_path / "other"
    for folder, change in (
        (same, {"eos_token_id": 5, "use_cache": False}),
        (other, {"tie_word_embeddings": False}),
    ):
        shutil.copytree(TINY, folder)
        write_json_atomic(folder / "config.json", read_json(TINY / "config.json") | change)
    assert shape(TINY, OPTIONS) == shape(same, OPTIONS)
    assert shape(TINY, OPTIONS) != shape(other, OPTIONS)
    assert shape(TINY, OPTIONS) != shape(TINY, EngineOptions(dtype="bfloat16"))


def test_a_model_that_did_not_arrive_in_the_engine_is_refused() -> None:
    before = {"w1": ("first", [-1.0, -2.5])}
    check_loaded("second", "w2", [-1.0, -2.4], before)
    check_loaded("copy", "w1", [-1.0, -2.5001], before)
    with pytest.raises(ModelError, match=r"second was loaded .* still answers as first"):
        check_loaded("second", "w2", [-1.0, -2.5], before)
    with pytest.raises(ModelError, match=r"copy has the weights of first, yet .* moved by 0.1"):
        check_loaded("copy", "w1", [-1.0, -2.4], before)
    with pytest.raises(ModelError, match="not numbers"):
        check_loaded("second", "w2", [-1.0, float("nan")], before)


def test_the_number_type_is_one_that_the_machine_computes_in() -> None:
    def machine(*capabilities: tuple[int, int]) -> Machine:
        return Machine.from_json(
            {"gpus": [{"total_gib": 16, "compute_capability": each} for each in capabilities]}
        )

    native = frozenset({"avx2", "avx512_bf16"})
    assert number_type("bfloat16", machine(), native) == "bfloat16"
    assert number_type("bfloat16", machine(), frozenset({"avx2"})) == "float32"
    assert number_type("float16", machine(), native) == "float32"
    assert number_type("bfloat16", machine((8, 6)), frozenset()) == "bfloat16"
    assert number_type("bfloat16", machine((8, 6), (7, 5)), native) == "float16"
    assert number_type("float32", machine((7, 5)), native) == "float32"


def test_the_processor_s_flags_are_read_and_their_absence_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "x86").write_text(
        "processor\t: 0\nflags\t\t: fpu avx512_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n"
    )
    (tmp_path / "arm").write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert cpu_flags(tmp_path / "x86") == {"fpu", "avx512_bf16"}
    assert "bf16" in cpu_flags(tmp_path / "arm")
    assert cpu_flags(tmp_path / "nowhere") == frozenset()


def test_the_tally_tells_rate_and_time_left() -> None:
    tally = Tally(10, most_tokens=1000)
    assert tally.words() == "0 of 10 answers"
    tally.note(0.0, 0)
    tally.note(10.0, 200)
    assert tally.words() == "0 of 10 answers, 20 tokens/s, at most 40 s left"
    tally.done, tally.done_tokens = 4, 160
    # 6 of 40 tokens, 40 of them written
    assert tally.words() == "4 of 10 answers, 20 tokens/s, about 10 s left"
    tally.note(20.0, 500)
    # the six have 340 tokens already, more than six of 40; they may have 600
    assert tally.words() == "4 of 10 answers, 25 tokens/s, at most 10 s left"
    tally.note(100.0, 500)
    assert tally.rate is None, "what was long ago says nothing about now"
    tally.paused()
    tally.done = 10
    assert tally.words() == "10 of 10 answers"


def test_a_log_gets_a_line_every_half_minute_and_a_terminal_one_line() -> None:
    now = [0.0]
    log, terminal = io.StringIO(), io.StringIO()
    lines = [
        ProgressLine(stream=stream, clock=lambda: now[0], terminal=stream is terminal)
        for stream in (log, terminal)
    ]
    for second in range(65):
        now[0] = float(second)
        for line in lines:
            line.show(f"{second} s")
    for line in lines:
        line.show("done", last=True)
    assert log.getvalue().split("\n") == ["0 s", "30 s", "60 s", "done", ""]
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().endswith("\r\x1b[K64 s\r\x1b[Kdone\n")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state not in "ZX"


def _wait_for_pid(note: Path) -> int:
    deadline = time.monotonic() + 120
    while not (note.exists() and note.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return int(note.read_text())


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while _alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)
