"""Adapters exported alone: peft loads them over the base, and has the model that was trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from run_fixture import make_run, random_model, save_checkpoint

from azr.cli.export import main
from azr.config.load import read_config, write_config
from azr.errors import CheckpointError, ModelError
from azr.evaluate.adapters import export_adapters
from azr.models.model_hash import hash_model
from azr.run.identity import RunIdentity, write_identity
from azr.run.rundir import RunDir
from azr.system.files import append_jsonl

IDS = torch.arange(5, 30)[None]


def silent(text: str) -> None: ...


def trained(tmp_path: Path, *, without: str = "") -> tuple[RunDir, Any]:
    run = make_run(tmp_path, model={"path": str(tmp_path / "base"), "lora_rank": 4, "lora_alpha": 12})
    model: Any = get_peft_model(random_model(), LoraConfig(r=4, lora_alpha=12, target_modules="all-linear"))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items() if "lora_" in name}
    state.pop(without, None)
    save_checkpoint(run, 2, state, model.base_model.model.config, lora_alpha=12)
    return run, model


OF_PEFT_0_10 = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights",
    "layer_replication", "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout", "megatron_config",
    "megatron_core", "modules_to_save", "peft_type", "r", "rank_pattern", "revision", "target_modules", "task_type", "use_dora",
    "use_rslora",
}  # fmt: skip


def test_peft_loads_what_was_trained(tmp_path: Path) -> None:
    run, model = trained(tmp_path)
    assert main([str(run.root), "--out", str(tmp_path / "out"), "--adapters", "--step", "2"]) == 0
    assert sorted(
        path.name for path in (tmp_path / "out").iterdir() if path.suffix in (".json", ".safetensors")
    ) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"]) == (4, 12)
    assert settings["base_model_name_or_path"] == str(tmp_path / "base")
    # "unexpected keyword argument 'corda_config'" is how peft before 0.15 ends at a key of a later one
    assert not [key for key in settings if key not in OF_PEFT_0_10]
    loaded: Any = PeftModel.from_pretrained(random_model(), str(tmp_path / "out"))
    with torch.no_grad():
        own, expected, base = (part(input_ids=IDS).logits for part in (loaded, model, random_model()))
    assert torch.equal(own, expected) and not torch.allclose(own, base, atol=0.01)


@pytest.mark.parametrize(
    ("began_with", "base", "revision"),
    [("{}/gone", "{}/moved", None), ("org/name@v1", "org/name", "v1"), ("org/name", "org/name", None)],
)
def test_the_base_is_named_as_peft_finds_it(
    tmp_path: Path, began_with: str, base: str, revision: str | None
) -> None:
    """It was the folder that the run began with, which had moved, or a revision in the name."""
    run, _ = trained(tmp_path)
    moved = tmp_path / "moved"
    random_model().save_pretrained(moved)
    began = began_with.format(tmp_path)
    settings = read_config(run.config)
    write_config(run.config, replace(settings, model=replace(settings.model, path=str(moved))))
    content = hash_model(moved)
    write_identity(run, replace(RunIdentity.of(settings, moved, content), model=began), moved)
    changed = "Changed since the latest start: train.control shuffled_rewards -> none."
    append_jsonl(run.incidents, [{"kind": "settings", "cause": changed, "cycle": 1, "attempt": 1}])
    said: list[str] = []
    export_adapters(run, tmp_path / "out", "2", said.append)
    assert said[-1].startswith("A control experiment (train.control=shuffled_rewards)"), "as of a whole model"
    written = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (written["base_model_name_or_path"], written["revision"]) == (base.format(tmp_path), revision)


def test_what_cannot_be_exported_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight"
    run, _ = trained(tmp_path, without=half)
    with pytest.raises(
        CheckpointError, match=r"adapter of model\.layers\.0\.self_attn\.q_proj is incomplete"
    ):
        export_adapters(run, tmp_path / "out", "2", silent)
    with pytest.raises(ModelError, match="exists"):
        export_adapters(run, tmp_path / "runs", "2", silent)
    with pytest.raises(ModelError, match="--gguf"):
        main([str(run.root), "--out", str(tmp_path / "out"), "--adapters", "--gguf"])
    assert not (tmp_path / "out").exists()
    whole = make_run(tmp_path / "whole")
    with pytest.raises(ModelError, match="leave out --adapters"):
        export_adapters(whole, tmp_path / "out", "2", silent)
