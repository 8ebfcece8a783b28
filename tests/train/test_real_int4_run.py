"""A run over an int4 base on a CPU, through the one command: quantised, trained, stopped, resumed by another trainer,
exported, evaluated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_real_run import PROJECT, pytestmark, run, temporary  # noqa: F401  (marks and fixture)

from azr.run.checkpoints import latest_verified_checkpoint
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.files import read_json, read_jsonl

SETTINGS = [
    "recipe=cpu_tiny", "name=int4", "model.base_format=int4", "model.lora_rank=8", "rollout.dtype=bfloat16",
    "campaign.steps_per_cycle=2", "selfplay.batch_size=4", "selfplay.difficulty_samples=2", "train.probe_every_steps=0",
    "report.html=false",
]  # fmt: skip


@pytest.mark.slow
def test_a_run_over_an_int4_base_is_resumed_and_exported(
    tmp_path: Path,
    temporary: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch
    from safetensors.torch import load_file

    from azr.train.quantize.folder import ready_int4_folder
    from azr.train.quantize.model import dequantised_state

    monkeypatch.setenv("AZR_CACHE", str(tmp_path / "cache"))
    for cycles in (1, 2):
        command = [sys.executable, "azr_single_gpu_pipeline.py", *SETTINGS, f"runs_dir={tmp_path}"]
        log = tmp_path / f"log-{cycles}"
        assert run([*command, f"campaign.cycles={cycles}"], log, temporary) == 0, log.read_text()[-3000:]
    directory = RunDir(tmp_path / "int4")
    trained = [record for record in read_metrics(directory) if record.step > 0]
    assert [record.step for record in trained] == [1, 2, 3, 4]
    assert [record.values["train/optimizer_steps"] for record in trained] == [1, 2, 3, 4], (
        "restored, not begun anew"
    )
    assert all(record.values["train/logprob_mismatch"] < 0.005 for record in trained)
    assert len({record.process_name for record in trained}) == 2

    checkpoint = latest_verified_checkpoint(directory)
    assert checkpoint is not None and checkpoint.info["base_format"] == "int4"
    config = read_json(directory.identity)
    assert config["base_format"] == "int4"
    folder = ready_int4_folder(Path(config["folder"]))
    assert folder is not None, "made once, in the cache"
    exported = tmp_path / "exported"
    command = [
        sys.executable,
        "scripts/export.py",
        str(directory.root),
        "--out",
        str(exported),
        "--step",
        "latest",
    ]
    assert run(command, tmp_path / "export-log", temporary) == 0, (tmp_path / "export-log").read_text()[
        -3000:
    ]
    base, merged = dequantised_state(folder), load_file(exported / "model.safetensors")
    changed = {name for name, tensor in merged.items() if not torch.equal(tensor.float(), base[name].float())}
    assert changed == {name for name in merged if name.endswith("_proj.weight")}, (
        "the adapters, over what they were trained on"
    )

    probes = PROJECT / "data/probes/azr_tiny_train_families.jsonl"
    command = [
        sys.executable,
        "scripts/evaluate.py",
        f"{directory.root}@0",
        f"{directory.root}@latest",
        "--limit",
        "4",
    ]
    command += ["--suite", f"probes={probes}", "--out", str(tmp_path / "scores")]
    assert run(command, tmp_path / "scores-log", temporary) == 0, (tmp_path / "scores-log").read_text()[
        -3000:
    ]
    assert "another engine" not in (tmp_path / "scores-log").read_text(), (
        "one base; adapters beside it, or none"
    )
    answers = sorted((tmp_path / "scores").glob("*/*/answers.jsonl"))
    assert len(answers) == 2 and all(len(list(read_jsonl(path))) == 4 for path in answers)
