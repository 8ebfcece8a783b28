"""Several workers by configuration: FULL_SHARD gives the update that one worker gives, and the real trainer
runs on two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from azr.run.checkpoints import latest_verified_checkpoint
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.files import read_json

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_S = 900


@pytest.mark.timeout(420)
def test_two_ranks_update_as_one_does(tmp_path: Path) -> None:
    """The same sequences on one process (NO_SHARD) and on two (FULL_SHARD), clipped gradients and AdamW
    included."""
    command = [sys.executable, str(PROJECT / "tests/train/sharded_update.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run(command, cwd=PROJECT, env=environment, timeout=400, check=True)
    one, two = (torch.load(tmp_path / f"{ranks}.pt", weights_only=True) for ranks in (1, 2))
    assert one["norm"] > 0.5, "the gradients are clipped"
    assert two["norm"] == pytest.approx(one["norm"], rel=1e-5)
    assert set(one["weights"]) == set(two["weights"])
    for name, weight in one["weights"].items():
        torch.testing.assert_close(
            two["weights"][name], weight, rtol=1e-4, atol=2e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT_S + 60)
@pytest.mark.skipif(
    Path("/proc/driver/nvidia/version").exists(), reason="the CPU path; a GPU machine takes the GPU path"
)
def test_the_pipeline_runs_and_resumes_on_two_workers(tmp_path: Path) -> None:
    """Two trainer processes and two engines: weights are gathered, engines follow, a sharded checkpoint is
    resumed."""
    run = RunDir(tmp_path / "two")
    settings = ["name=two", f"runs_dir={tmp_path}", "train.n_gpus_per_node=2", "campaign.steps_per_cycle=2"]
    settings += ["train.probe_every_steps=0", "train.verdict_samples=0"]
    for cycles in (1, 2):
        command = [sys.executable, "azr_single_gpu_pipeline.py", *settings, f"campaign.cycles={cycles}"]
        with open(tmp_path / f"{cycles}.log", "wb") as log:
            assert (
                subprocess.run(
                    command, cwd=PROJECT, stdout=log, stderr=log, timeout=LIMIT_S, check=False
                ).returncode
                == 0
            )
        checkpoint = latest_verified_checkpoint(run)
        assert checkpoint is not None and checkpoint.step == 2 * cycles
        assert len(list((checkpoint.path / "actor").glob("model_world_size_2_rank_*.pt"))) == 2
    steps = [record.values for record in read_metrics(run) if record.step > 0]
    assert [values["train/optimizer_steps"] for values in steps] == [1, 2, 3, 4]
    # rollouts after an update agree with the trainer only if both engines got the gathered weights
    assert all(values["train/logprob_mismatch"] < 1e-4 for values in steps)
    assert read_json(run.state)["state"] == "DONE"
