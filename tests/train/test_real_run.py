"""The real thing on a CPU: verl's trainer, FSDP, the vLLM engine, the sandbox and the bundled model, through
the one command."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from azr.data.consolidate import MERGE_FILE
from azr.run.checkpoints import latest_verified_checkpoint
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.files import read_json, read_jsonl
from azr.tasks import STREAMS, Role

pytest.importorskip("vllm")

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_S = 1200

pytestmark = [
    pytest.mark.timeout(LIMIT_S + 60),
    pytest.mark.skipif(
        Path("/proc/driver/nvidia/version").exists(), reason="the CPU path; a GPU machine takes the GPU path"
    ),
]


def run(command: list[str], log: Path, temporary: str) -> int:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": temporary, "RAY_TMPDIR": temporary}
    with open(log, "wb") as output:
        return subprocess.run(
            command, cwd=PROJECT, env=environment, stdout=output, stderr=output, timeout=LIMIT_S
        ).returncode


def leftovers(run_dir: Path) -> list[str]:
    """Command lines of processes that still belong to the run."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(run_dir) in process.environ().get("AZR_ATTEMPT", "") or str(run_dir) in " ".join(
                process.cmdline()
            ):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture
def temporary() -> Iterator[str]:
    """A folder for temporary files with a path short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="ci-") as folder:
        yield folder


def test_two_cycles_of_self_play_through_verl_and_vllm_in_one_trainer(tmp_path: Path, temporary: str) -> None:
    probes, family = tmp_path / "few.jsonl", PROJECT / "data/probes/azr_tiny_train_families.jsonl"
    probes.write_text("".join(family.read_text().splitlines(keepends=True)[:12]))
    settings = [
        "recipe=cpu_tiny",
        f"runs_dir={tmp_path}",
        "name=ci",
        "campaign.cycles=2",
        "campaign.steps_per_cycle=2",
        "campaign.keep_last=4",
    ]
    settings += [
        "selfplay.batch_size=6",
        "selfplay.difficulty_samples=2",
        "train.probe_tasks=12",
        "report.html=false",
    ]
    # a floor that is never reached
    settings += ["train.early_saves=[1]", "train.entropy_floor=50", "train.drop_zero_advantages=true"]
    settings += ["selfplay.strict_format=true", "selfplay.overlong_tokens=100", "selfplay.seed_share=0.5"]
    settings += [f"data.probe_files=[{probes}]", f"data.evaluation_files=[{family}]"]
    log = tmp_path / "driver.log"
    status = run([sys.executable, "azr_single_gpu_pipeline.py", *settings], log, temporary)
    trainer_logs = sorted(tmp_path.glob("ci/cycles/001/attempts/*/trainer.log"))
    tail = log.read_text(errors="replace")[-3000:] + "".join(
        path.read_text(errors="replace")[-6000:] for path in trainer_logs
    )
    assert status == 0, tail

    directory = RunDir(tmp_path / "ci")
    trained = [record for record in read_metrics(directory) if record.step > 0]
    assert [record.step for record in trained] == [1, 2, 3, 4]
    assert {record.process_name for record in trained} == {"1/1"}, "the second cycle starts nothing"
    assert [path.parts[-4] for path in directory.root.glob("cycles/*/attempts/*/processes.json")] == ["001"]
    for record in trained:
        for stream in STREAMS:
            assert record.values[f"{stream.name}/count"] == 6, stream.name
        assert record.values["train/optimizer_steps"] == record.step, (
            "exactly one optimizer step a step, by the optimizer's own count"
        )
        assert record.values["train/failed_rows"] == 0
        assert record.values["train/logprob_mismatch"] < 0.005
        assert 0 <= record.values["train/dropped_rows"] < record.values["train/rows"]
        assert record.values["plan/seed_solve_rows"] == 9, "half of three streams of six"
        assert 0 < record.values["train/overlong"] <= 1
    assert (directory.checkpoint(1)).is_dir(), "saved early"
    bonus = [record.values["train/entropy_coefficient"] for record in trained]
    assert bonus[0] == 0.001 and all(0.019 < value < 0.02 for value in bonus[1:]), (
        "the first entropy is far below the floor, so later updates pay more for it, also over the end of a cycle"
    )
    last = trained[1].values
    assert last["probe/tasks"] == last["verdict/all/tasks"] == 12
    assert (
        len(read_json(directory.first_verdict_scores)["scores"]) == 12
        and -1 <= last["verdict/all/change"] <= 1
    )
    assert "verdict/all/change" not in trained[0].values, "before the first step and after the last one only"

    accepted = list(read_jsonl(directory.shard(1), strict=True))
    kinds = {task["task_type"] for task in accepted}
    assert kinds == {stream.task_type.value for stream in STREAMS if stream.role is Role.PROPOSE}, (
        "each propose stream had a proposal accepted"
    )
    assert all(
        task["lineage"]["source"] == "selfplay" and task["lineage"]["step"] in (1, 2) for task in accepted
    )
    assert len({task["task_id"] for task in accepted}) == len(accepted), "nothing twice"
    start = sum(1 for _ in read_jsonl(directory.cycle_tasks(1)))
    before, after, _, _ = (sum(record.values[f"buffer/{kind}/size"] for kind in kinds) for record in trained)
    assert after - before == last["data/accepted"] > 0, "the buffer grows by what is accepted"
    assert len(accepted) == last["data/accepted_total"]
    accepted += read_jsonl(directory.shard(2), strict=True)
    assert len(accepted) == trained[-1].values["data/accepted_total"], "over both cycles"
    pool = sum(1 for _ in read_jsonl(directory.pool_tasks))
    assert start < pool <= start + len(accepted), "merged, after duplicates were removed"

    leaked = [record.values.get("data/rejected/leaked_evaluation", 0) for record in trained]
    assert sum(leaked) > 0, "in a default run some three a step"
    merged = [read_json(directory.cycle(cycle) / MERGE_FILE)["new"]["left_out"] for cycle in (1, 2)]
    assert not any("leaked_evaluation" in each for each in merged), "so the merge finds none"

    checkpoint = latest_verified_checkpoint(directory)
    assert checkpoint is not None and checkpoint.step == 4
    assert read_json(checkpoint.path / "trainer_state.json")["optimizer_steps"] == 4
    assert any(read_jsonl(directory.transcripts(1)))
    assert leftovers(directory.root) == []
    left = [
        path for path in Path(temporary).rglob("*") if path.is_socket() or path.name.startswith("session_2")
    ]
    assert left == [], "the trainer takes its sockets and Ray's session with it"
