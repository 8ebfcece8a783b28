"""One interpreter for processes that use a card: what its children see, and that they have one another where they could
not. Without a card: whether one is seen is pretended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn
from unittest import mock

import pytest

pytest.importorskip("torch")

from azr.config.load import load_config, write_config
from azr.run.protocol import TrainRequest, write_request
from azr.run.rundir import RunDir
from azr.run.start_record import StartPart, mark_start
from azr.train import __main__ as entry
from azr.train import card_fork
from azr.train.__main__ import one_interpreter, warm_python
from azr.train.warm_python import CARD_RAY_MODULES, MODULES, RAY_MODULES, WarmPython

LIMIT_S = 120
PRETENDED = """
import logging, os, sys
import azr.train.card_fork as card_fork
card_fork._trouble_here = lambda: {trouble!r}
os.environ["SET_BY_AN_IMPORT"] = "1"
if {trouble!r}:
    import torch
    torch._C._cuda_getDeviceCount()
os.environ["SET_BY_BOTH"] = "1"
logging.getLogger().setLevel(logging.ERROR)
try:
    import asks_the_card
except ImportError:
    sys.was_hidden = True
"""
SEEN = (
    "import logging, os, sys, torch, torch._inductor.config as inductor; sys.path.insert(0, os.getcwd()); import asks_the_card; "
    "names = ('CUDA_VISIBLE_DEVICES', 'SET_BY_AN_IMPORT', 'SET_BY_BOTH', 'PYTORCH_NVML_BASED_CUDA_CHECK', 'VLLM_LOGGING_LEVEL'); "
    "print(getattr(sys, 'was_hidden', False), logging.getLogger().level, torch.get_num_threads(), inductor.compile_threads, "
    "*map(os.environ.get, names))"
)


def said_by_children(
    folder: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, codes: Sequence[str], **variables: str
) -> list[subprocess.CompletedProcess[str]]:
    (folder / "pretended.py").write_text(PRETENDED.format(trouble=trouble))
    (folder / "asks_the_card.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[2]}:{folder}")
    modules = ["torch", "torch._inductor.config"]
    # the server is another process and has the real list
    (folder / "hides.py").write_text(
        "import azr.train.card_fork as card_fork, functools\n"
        "card_fork.not_there = functools.partial(card_fork.not_there, ('asks_the_card',))\n"
    )
    with WarmPython(folder, [*modules, "hides"], ["pretended"], for_a_card=True) as warm:
        warm.start()
        return [
            subprocess.run(
                [str(warm.executable), "-c", code],
                env={**os.environ, **variables}, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False,
            )
            for code in codes
        ]  # fmt: skip


def test_a_child_has_its_own_environment_what_imports_set_and_random_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-of-the-run")
    monkeypatch.delenv("VLLM_LOGGING_LEVEL", raising=False)
    own = {"CUDA_VISIBLE_DEVICES": "1", "SET_BY_BOTH": "mine"}
    draw = "import numpy, torch; print(numpy.random.rand(), torch.rand(()).item())"
    said, *drawn = said_by_children(
        tmp_path,
        monkeypatch,
        "",
        [SEEN, draw, draw],
        **own,
        OMP_NUM_THREADS="3",
        TORCHINDUCTOR_COMPILE_THREADS="5",
    )
    assert said.stdout == "True 30 3 5 1 1 mine 1 None\n", said.stderr
    assert said.stderr == ""
    one, other = (child.stdout.split() for child in drawn)
    assert len(one) == len(other) == 2
    assert not set(one) & set(other)
    assert "one interpreter has imported for all processes in" in capfd.readouterr().out


def test_where_no_child_would_see_the_card_each_process_imports_and_the_log_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    [said] = said_by_children(tmp_path, monkeypatch, "a module has touched the card", [SEEN])
    assert said.returncode == 0
    assert said.stdout.startswith("False ")
    assert "starting a cold one" in said.stderr
    told = capfd.readouterr().err
    assert "azr.train: a module has touched the card (seen: " in told
    assert f"{tmp_path}/pretended.py:" in told
    assert "so train.one_interpreter is of no use here" in told


def test_cuda_that_a_module_initialises_is_noticed() -> None:
    code = (
        "import torch; from azr.train import card_fork; print(card_fork.why_no_fork_sees_a_card()); "
        "torch._C._cuda_getDeviceCount(); print(card_fork.why_no_fork_sees_a_card())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    before, after = said.stdout.splitlines()
    assert "has initialised CUDA" not in before
    assert after == "one of the modules has initialised CUDA"


def test_a_trial_that_dies_or_hangs_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_fork, "_trouble_here", lambda: os._exit(3))
    assert "died" in card_fork.why_no_fork_sees_a_card()
    monkeypatch.setattr(card_fork, "_trouble_here", lambda: time.sleep(LIMIT_S))
    assert "within 1 s" in card_fork.why_no_fork_sees_a_card(1.0)
    monkeypatch.setattr(card_fork, "_trouble_here", lambda: "")
    assert card_fork.why_no_fork_sees_a_card() == ""


def test_what_is_imported_first_asks_nvml_alone_and_does_not_load_ray(tmp_path: Path) -> None:
    """Where NVML counts a card, none of the modules goes on to ask CUDA; nor do torchao and bitsandbytes, which ask when
    transformers and peft find them (both seen on an H200)."""
    for name, version in (("torchao", "0.18.0"), ("bitsandbytes", "0.50.2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            f"import torch\n__version__ = '{version}'\ntorch._C._cuda_getDeviceCount()\n"
        )
    code = (
        "import importlib, sys, torch; asked = []; torch.cuda._device_count_nvml = lambda: 1; "
        "torch._C._cuda_getDeviceCount = lambda: asked.append('count') or 0; torch.cuda._lazy_init = lambda: asked.append('init')\n"
        "from azr.train import card_fork\n"
        f"with card_fork.not_there(): [importlib.import_module(name) for name in {MODULES!r}]\n"
        "print(torch.cuda.is_available(), asked, 'ray' in sys.modules)"
    )
    environment = card_fork.importing_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path)])
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert said.stdout.strip() == "True [] False", said.stderr


def test_nothing_of_the_engine_without_a_card_is_imported_beside_one() -> None:
    """It replaces torch.cuda's events and streams, in every process that is made afterwards."""
    assert len(CARD_RAY_MODULES) >= len(RAY_MODULES)
    assert not [name for name in CARD_RAY_MODULES if "cpu" in name]


def test_nothing_that_is_known_to_ask_the_card_is_imported_beside_one() -> None:
    assert not {"vllm.compilation.backends", "flashinfer"} & set(CARD_RAY_MODULES)


def test_one_interpreter_on_one_card() -> None:
    def asked(*settings: str, device: str = "cuda") -> bool:
        return one_interpreter(load_config(["recipe=0_5b_16gb", *settings]).config, device)

    assert asked() and asked("train.one_interpreter=false", device="cpu")
    assert not asked("train.one_interpreter=false")
    assert not asked("train.n_gpus_per_node=2")


@pytest.mark.parametrize(
    ("attempt", "device", "careful"), [(1, "cuda", False), (2, "cuda", True), (2, "cpu", False), (3, "cuda", False), (4, "cuda", False)]
)  # fmt: skip
def test_what_saves_time_at_a_start_is_left_aside_after_an_attempt_without_a_step(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    attempt: int,
    device: str,
    careful: bool,
) -> None:
    """A file of a compile cache that is cut off ended the engine at every start (test_patches.py)."""
    run = RunDir(tmp_path / "run")
    write_config(run.config, load_config(["recipe=cpu_tiny", "rollout.compile_cache=true"]).config)
    write_request(run, TrainRequest(cycle=2, attempt=attempt, first_step=1, last_step=1))
    mark_start(run.attempt(2, 1), StartPart.BEGIN)
    mark_start(run.attempt(2, 1), StartPart.POLICY)
    mark_start(run.attempt(2, 2), StartPart.BEGIN)
    mark_start(run.attempt(2, 2), StartPart.FIRST_STEP)  # attempt 3 has none: its trainer came from cycle 1
    found: dict[str, object] = {}

    def ends(device: str, on_a_card: bool) -> NoReturn:
        raise SystemExit(found.update(one=on_a_card))

    card = SimpleNamespace(kind=device, missing=0, take=lambda: None)
    monkeypatch.setattr(entry, "device_for", lambda *_: card)
    monkeypatch.setattr(entry, "set_environment", lambda *_, **named: found.update(named))
    monkeypatch.setattr(entry, "choose_weight_path", lambda _: None)
    monkeypatch.setattr(entry, "warm_python", ends)
    with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(tmp_path)), pytest.raises(SystemExit):
        entry.main([str(run.root)])
    kernels = None if careful or device == "cpu" else tmp_path / "azr" / "kernels"
    assert found == {"compile_cache": not careful, "kernels": kernels, "one": not careful}
    assert ("made no step" in capfd.readouterr().out) is careful


def test_a_card_has_one_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    register = "RAY_worker_register_timeout_seconds"
    monkeypatch.delenv(register, raising=False)
    with warm_python("cuda") as warm:
        assert warm is None
        assert register not in os.environ
    monkeypatch.setenv(register, "200")
    with warm_python("cuda", on_a_card=True) as warm:
        assert warm is not None
    assert os.environ[register] == "200"
