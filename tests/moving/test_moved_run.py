"""A real run is stopped, packed and unpacked under another path, with its model elsewhere too; beside it one
with the same settings that never stopped. From the move on both do the same, step after step (minutes)."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from azr.run.checkpoints import latest_verified_checkpoint
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.files import read_jsonl

pytest.importorskip("vllm")

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_S = 900
STEPS, AFTER = 14, 10
MEASURED = ("time_s/", "memory/", "sandbox/wait_s")
"""Of the machine, not of the run."""
OF_THE_ENGINE = ("train/logprob_mismatch", "train/logprob_mismatch_max", "train/logprob_mismatch_nats")
"""The engine's log-probs depend in their last digits on which requests meet in a batch; nothing else does, as
long as the update does not start from them (``train.recompute_logprobs=true``)."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3 * LIMIT_S + 60),
    pytest.mark.skipif(
        Path("/proc/driver/nvidia/version").exists(), reason="the CPU path; a GPU machine takes the GPU path"
    ),
]


@contextlib.contextmanager
def started(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryDirectory(prefix="ci-") as temporary, log.open("wb") as output:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": temporary, "RAY_TMPDIR": temporary}
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def finish(process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.wait(LIMIT_S) == 0, log.read_text(errors="replace")[-4000:]


def script(name: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, f"scripts/{name}.py", *words],
        cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def metrics(run: RunDir) -> dict[int, dict[str, float]]:
    return {
        record.step: {name: value for name, value in record.values.items() if not name.startswith(MEASURED)}
        for record in read_metrics(run)
    }


def played(run: RunDir) -> dict[tuple[int, str, str], dict[str, Any]]:
    """Every prompt and response of every step, with what was judged about it."""
    return {
        (entry["step"], entry["row_id"], entry["stream"]): entry
        for entry in read_jsonl(run.transcripts(1), strict=True)
    }


def accepted(run: RunDir) -> list[dict[str, Any]]:
    tasks = list(read_jsonl(run.shard(1), strict=True))
    for task in tasks:
        for name in ("attempt", "model", "run"):
            del task["lineage"][name]
    return tasks


def adapters(run: RunDir) -> dict[str, torch.Tensor]:
    checkpoint = latest_verified_checkpoint(run)
    assert checkpoint is not None and checkpoint.step == STEPS
    return torch.load(checkpoint.path / "actor" / "model_world_size_1_rank_0.pt", weights_only=False)


def test_the_steps_after_a_move_are_those_of_the_run_that_stayed(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(PROJECT / "data/models/azr-tiny", here / "model")
    probes = here / "few.jsonl"
    lines = (PROJECT / "data/probes/azr_tiny_train_families.jsonl").read_text().splitlines(keepends=True)
    probes.write_text("".join(lines[:6]))
    settings = [
        "recipe=cpu_tiny", f"model.path={here}/model", "model.lora_rank=8", "rollout.seeded_sampling=true",
        "train.recompute_logprobs=true", "train.learning_rate=1e-3", "train.master_dtype=bfloat16", "train.optimizer=adamw_8bit",
        "selfplay.batch_size=2", "selfplay.difficulty_samples=2", "selfplay.transcripts_per_stream=100",
        "train.probe_tasks=6", "train.probe_every_steps=5", "train.verdict_samples=0",
        f"data.probe_files=[{probes}]", "report.html=false",
        "campaign.cycles=1", f"campaign.steps_per_cycle={STEPS}",
    ]  # fmt: skip
    command = [sys.executable, "azr_single_gpu_pipeline.py", *settings]
    log = tmp_path / "log"

    stayed = RunDir(here / "runs" / "stays")
    with started([*command, f"runs_dir={here}/runs", "name=stays"], log) as process:
        finish(process, log)

    left = RunDir(here / "runs" / "leaves")
    with started([*command, f"runs_dir={here}/runs", "name=leaves"], log) as process:
        waited_s = time.monotonic() + LIMIT_S
        while not left.metrics.exists() or max(metrics(left), default=0) < 1:
            assert process.poll() is None and time.monotonic() < waited_s, log.read_text(errors="replace")[
                -4000:
            ]
            time.sleep(0.2)
        script("control", str(left.root), "stop")
        finish(process, log)
    checkpoint = latest_verified_checkpoint(left)
    assert checkpoint is not None and 1 <= checkpoint.step <= STEPS - AFTER

    archive = tmp_path / "leaves.azr.zip"
    script("move_run", "pack", str(left.root), str(archive))
    shutil.move(here / "model", there / "models" / "tiny")
    (here / "few.jsonl").unlink()
    shutil.move(left.root, tmp_path / "gone")
    moved = RunDir(there / "my runs" / "leaves")
    said = script("move_run", "unpack", str(archive), str(moved.root), "--model", str(there / "models/tiny"))
    _, *words = shlex.split(said.partition("Resume with: ")[2])
    with started([sys.executable, *words], log) as process:
        finish(process, log)

    compare(stayed, moved)


def compare(stayed: RunDir, moved: RunDir) -> None:
    ours, theirs = played(stayed), played(moved)
    assert ours.keys() == theirs.keys()
    assert {step for step, _, _ in ours} == {0, *range(1, STEPS + 1)}
    for key in sorted(ours):
        assert ours[key] == theirs[key], key
    assert accepted(stayed) == accepted(moved) != []
    mine, yours = metrics(stayed), metrics(moved)
    assert sorted(mine) == sorted(yours) == list(range(STEPS + 1))
    apart = 0.0
    for step, values in mine.items():
        assert values.keys() == yours[step].keys()
        for name, value in values.items():
            if name in OF_THE_ENGINE:
                apart = max(apart, abs(value - yours[step][name]))
            else:
                assert value == yours[step][name], (step, name)
    print(f"the engine's token probabilities differ by at most {apart:.2g}")
    assert apart < 1e-4
    weights, others = adapters(stayed), adapters(moved)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weight, others[name]) for name, weight in weights.items())
