"""The real engine answers with the real trainer's weights: when these change, after a sleep, and with
adapters on a card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm")

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_S = 600
GPU = Path("/proc/driver/nvidia/version").exists()

pytestmark = pytest.mark.timeout(2 * LIMIT_S + 60)


def follow(folder: Path, device: str, *cases: list[str]) -> list[dict[str, Any]]:
    """For each list of settings, how far engine and trainer are apart; one after another in one Ray."""
    script = str(PROJECT / "tests/train/engine_follows.py")
    command = [sys.executable, script, str(folder), device, json.dumps(cases)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
    }
    with open(folder / "log", "wb") as log:
        status = subprocess.run(
            command, cwd=PROJECT, env=environment, stdout=log, stderr=log, timeout=LIMIT_S, check=False
        ).returncode
    text = (folder / "log").read_text(errors="replace")
    assert status == 0, text[-6000:]
    lines = [line.removeprefix("RESULT ") for line in text.splitlines() if line.startswith("RESULT ")]
    found = [json.loads(line) for line in lines]
    for settings, answers in zip(cases, found, strict=True):
        assert answers["moved"]["share"] > 0.9, settings
        assert answers["not_synced"] == answers["before"], (
            f"{settings}: the engine's weights are its own until they are synced"
        )
        assert answers["synced"] != answers["before"], (
            f"{settings}: a change of the trainer's weights must change what the engine answers"
        )
        print(settings, answers["apart"])
    return [answers["apart"] for answers in found]


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    def make(size: str) -> Path:
        folder = tmp_path_factory.getbasetemp() / f"random-{size}"
        if not folder.exists():
            command = [sys.executable, "scripts/dev/make_random_model.py", size, str(folder)]
            subprocess.run(command, cwd=PROJECT, timeout=LIMIT_S, check=True)
        return folder

    return make


@pytest.mark.skipif(GPU, reason="the CPU path; a GPU machine takes the GPU path")
def test_a_model_and_merged_adapters_on_a_cpu(tmp_path: Path, random_model: Callable[[str], Path]) -> None:
    whole = ["recipe=cpu_tiny", f"model.path={random_model('tiny')}"]
    adapters = ["recipe=cpu_tiny", "model.lora_rank=8", "rollout.merge_adapters=true"]
    for apart in follow(tmp_path, "cpu", whole, adapters):
        assert max(apart["before"], apart["synced"]) < 1e-4 < 0.01 < apart["not_synced"]


@pytest.mark.slow
@pytest.mark.skipif(GPU, reason="the CPU path; a GPU machine takes the GPU path")
def test_the_bundled_model_and_adapters_beside_it_on_a_cpu(tmp_path: Path) -> None:
    """Of the bundled model test_real_run.py compares the trainer with the engine, too, after each update."""
    adapters = ["recipe=cpu_tiny", "model.lora_rank=8", "rollout.merge_adapters=false"]
    for apart in follow(tmp_path, "cpu", ["recipe=cpu_tiny"], adapters):
        assert max(apart["before"], apart["synced"]) < 1e-4 < 0.01 < apart["not_synced"]


@pytest.mark.slow
@pytest.mark.skipif(GPU, reason="the CPU path; a GPU machine takes the GPU path")
def test_adapters_over_an_int4_base_on_a_cpu(
    tmp_path: Path, random_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer in float32 and the engine in bfloat16, in which alone it knows int4 on a CPU."""
    monkeypatch.setenv("AZR_CACHE", str(tmp_path / "cache"))
    settings = ["recipe=cpu_tiny", f"model.path={random_model('tiny')}", "model.base_format=int4"]
    settings += ["model.lora_rank=8", "rollout.dtype=bfloat16"]
    [apart] = follow(tmp_path, "cpu", settings)
    assert max(apart["before"], apart["synced"]) < 0.01 < 0.1 < apart["not_synced"]


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("recipe", "merge"),
    [("0_5b_16gb", "true"), ("3b_lora_16gb", "true"), ("3b_lora_16gb", "false"), ("7b_int4_16gb", "false")],
)
def test_on_a_card(
    recipe: str,
    merge: str,
    tmp_path: Path,
    random_model: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The engine forgets its weights in the sleep; with adapters the base, plain or int4, is sent with them or
    with them merged in. Trainer and engine compute in bfloat16."""
    monkeypatch.setenv("AZR_CACHE", str(tmp_path / "cache"))
    settings = [f"recipe={recipe}", f"model.path={random_model('0.5b')}", "train.compile_layers=false"]
    settings.append(f"rollout.merge_adapters={merge}")
    [apart] = follow(tmp_path, "cuda", settings)
    assert max(apart["before"], apart["synced"]) < 0.05
    assert apart["not_synced"] > 10 * apart["synced"]


@pytest.mark.gpu
def test_on_a_card_from_one_interpreter(tmp_path: Path, random_model: Callable[[str], Path]) -> None:
    """All processes are forks of one, which has not touched the card."""
    settings = ["recipe=0_5b_16gb", f"model.path={random_model('0.5b')}"]
    [apart] = follow(tmp_path, "cuda", settings)
    assert max(apart["before"], apart["synced"]) < 0.05
    assert apart["not_synced"] > 10 * apart["synced"]
    assert "a process made from it sees the card" in (tmp_path / "log").read_text(errors="replace")
