"""Two Ray nodes on one computer stand for two machines, each with a trainer process and an engine of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from azr.run.checkpoints import latest_verified_checkpoint
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.files import read_json, read_jsonl

pytest.importorskip("vllm")

PROJECT = Path(__file__).resolve().parents[2]
RAY = Path(sys.executable).with_name("ray")
LIMIT_S = 1500
NODES = ("--num-gpus=1", "--num-cpus=16", "--block")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3 * LIMIT_S),
    pytest.mark.skipif(
        Path("/proc/driver/nvidia/version").exists(), reason="the CPU path; a GPU machine takes the GPU path"
    ),
]


class Machines:
    """Starts Ray's nodes as docs/howto/several_gpus.md says, and ends them with all that runs there."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(PROJECT)}
        self.address = f"{socket.gethostbyname(socket.gethostname())}:{_free_port()}"

    def start_head(self) -> None:
        host, _, port = self.address.rpartition(":")
        options = (f"--temp-dir={self.folder}", "--include-dashboard=false", f"--node-ip-address={host}")
        self._start("--head", f"--port={port}", *options)

    def start_other(self) -> None:
        self._start(f"--address={self.address}", "--node-ip-address=127.0.0.2")

    def _start(self, *options: str) -> None:
        with open(f"{self.folder}/nodes.log", "ab") as log:
            command = [str(RAY), "start", *options, *NODES]
            self.nodes.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def kill_latest(self) -> None:
        """As a power failure does."""
        node = self.nodes.pop()
        for process in [*psutil.Process(node.pid).children(recursive=True), node]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        node.wait()


def _free_port() -> int:
    with socket.socket() as unused:
        unused.bind(("", 0))
        return unused.getsockname()[1]


@pytest.fixture
def machines() -> Iterator[Machines]:
    with tempfile.TemporaryDirectory(prefix="m-", ignore_cleanup_errors=True) as folder:
        started = Machines(folder)
        try:
            started.start_head()
            started.start_other()
            yield started
        finally:
            while started.nodes:
                started.kill_latest()


def command(folder: Path, name: str, *settings: str) -> list[str]:
    few = [
        f"runs_dir={folder}",
        f"name={name}",
        "campaign.cycles=1",
        "selfplay.batch_size=6",
        "report.html=false",
    ]
    few += ["train.probe_every_steps=0", "train.verdict_samples=0", "rollout.seeded_sampling=true"]
    return [sys.executable, "azr_single_gpu_pipeline.py", "recipe=cpu_tiny", *few, *settings]


def weights(run: RunDir, step: int) -> dict[str, torch.Tensor]:
    """Of a checkpoint, in float32 and put together from the shards of its workers."""
    shards = sorted((run.checkpoint(step) / "actor").glob("model_world_size_*_rank_*.pt"))
    parts = [torch.load(shard, weights_only=False) for shard in shards]

    def whole(name: str) -> torch.Tensor:
        found = [part[name] for part in parts]
        return torch.cat([value.to_local() for value in found]) if len(found) > 1 else found[0]

    return {name: whole(name) for name in parts[0]}


def test_a_step_over_two_machines_is_the_step_of_one_and_a_lost_machine_ends_it(
    machines: Machines, tmp_path: Path
) -> None:
    with open(tmp_path / "one.log", "wb") as log:
        alone = command(tmp_path, "one", "campaign.steps_per_cycle=1")
        assert subprocess.run(alone, cwd=PROJECT, stdout=log, stderr=log, timeout=LIMIT_S).returncode == 0

    over_two = command(
        tmp_path,
        "two",
        "campaign.steps_per_cycle=4",
        "train.early_saves=[1]",
        "train.n_nodes=2",
        f"train.ray_address={machines.address}",
        "rollout.agent_workers=2",
    )
    one, two = RunDir(tmp_path / "one"), RunDir(tmp_path / "two")
    with open(tmp_path / "two.log", "wb") as log:
        driver = subprocess.Popen(over_two, cwd=PROJECT, stdout=log, stderr=log, env=machines.environment)
        try:
            _wait(lambda: two.checkpoint(1).is_dir(), driver)
            time.sleep(1)  # into the next step
            machines.kill_latest()
            _wait(lambda: any("left the Ray cluster" in item["cause"] for item in incidents(two)), driver)
            machines.start_other()
            assert driver.wait(timeout=LIMIT_S) == 0
        finally:
            driver.kill()
            driver.wait()

    # the same draws and the same update
    [alone_first], trained = (
        [record for record in read_metrics(run) if record.step > 0] for run in (one, two)
    )
    same = ["train/rows", "train/response_tokens", "data/accepted"]
    assert [alone_first.values[name] for name in same] == [trained[0].values[name] for name in same]
    assert trained[0].values["train/grad_norm"] == pytest.approx(
        alone_first.values["train/grad_norm"], rel=1e-4
    )
    accepted = [
        sorted(
            task["task_id"] for task in read_jsonl(run.shard(1), strict=True) if task["lineage"]["step"] == 1
        )
        for run in (one, two)
    ]
    assert accepted[0] == accepted[1]
    before = load_file(PROJECT / "data/models/azr-tiny/model.safetensors")
    apart, together = weights(two, 1), weights(one, 1)
    assert set(apart) == set(together) >= set(before)
    change = sum(float((together[name] - value.float()).norm() ** 2) for name, value in before.items()) ** 0.5
    apart_by = sum(float((apart[name] - together[name]).norm() ** 2) for name in before) ** 0.5
    assert change > 0 and apart_by < 1e-3 * change  # 2e-5 when this was written

    # it went on where it was
    checkpoint = latest_verified_checkpoint(two)
    assert checkpoint is not None and checkpoint.step == 4
    assert [record.values["train/optimizer_steps"] for record in trained][-1] == 4
    assert all(record.values["train/logprob_mismatch"] < 1e-4 for record in trained), "both engines follow"
    assert {record.attempt for record in trained} == {1, 2}
    assert read_json(two.state)["state"] == "DONE"


def incidents(run: RunDir) -> list[dict[str, str]]:
    return list(read_jsonl(run.incidents)) if run.incidents.exists() else []


def _wait(until: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not until():
        assert driver.poll() is None and time.monotonic() < deadline_s
        time.sleep(0.2)
