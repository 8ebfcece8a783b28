"""Adapters that were trained over an int4 base are exported as an ordinary model: the dequantised base plus
s B A."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from run_fixture import make_run, save_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from azr.evaluate.weights import write_model_folder
from azr.run.checkpoints import read_checkpoint
from azr.train.quantize.folder import int4_folder
from azr.train.quantize.linear import Int4Linear
from azr.train.quantize.model import dequantised_state, int4_model

PROJECT = Path(__file__).resolve().parents[2]
SCALE = 12 / 4
IDS = torch.arange(5, 30)[None]


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AZR_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=4096, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    plain: Any = Qwen2ForCausalLM(config)
    plain.to(torch.bfloat16).save_pretrained(tmp_path / "plain")
    AutoTokenizer.from_pretrained(PROJECT / "data/models/azr-tiny").save_pretrained(tmp_path / "plain")
    return int4_folder(tmp_path / "plain", say=lambda text: None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_was_trained_is_exported(base: Path, dtype: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, model={"path": str(base), "lora_rank": 4, "lora_alpha": 12})
    trained: Any = get_peft_model(
        int4_model(base, torch.float32),  # type: ignore[arg-type]
        LoraConfig(r=4, lora_alpha=12, target_modules="all-linear"),
    )
    torch.manual_seed(1)
    for name, parameter in trained.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    adapters = {name: tensor.clone() for name, tensor in trained.state_dict().items() if "lora_" in name}
    path = save_checkpoint(run, 2, adapters, trained.base_model.model.config, lora_alpha=12)
    write_model_folder(read_checkpoint(path), tmp_path / "out", dtype=dtype)

    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())
    exported: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=getattr(torch, dtype))
    merged = 0
    for name, part in trained.base_model.model.named_modules():
        if not isinstance(part, Int4Linear):
            continue
        plain_name = name.removesuffix(".base_layer")
        down, up = (
            adapters[f"base_model.model.{plain_name}.lora_{half}.default.weight"].double() for half in "AB"
        )
        exact = part.dequantised().double() + SCALE * up @ down
        found = exported.get_submodule(plain_name).weight.double()
        bound = 1e-6 if dtype == "float32" else exact.abs() * 2.0**-7 + 1e-6  # to one of the two neighbours
        assert bool(((found - exact).abs() <= bound).all()), plain_name
        merged += 1
    assert merged == 14
    own, expected = (model(input_ids=IDS).logits.float() for model in (exported, trained))
    assert (own - expected).norm() < (1e-5 if dtype == "float32" else 0.02) * expected.norm()


def test_the_dequantised_weights_are_those_that_other_libraries_read(base: Path) -> None:
    read: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    read(input_ids=IDS)  # it unpacks at its first use
    expected = {name: tensor for name, tensor in read.state_dict().items() if "weight_" not in name}
    found = dequantised_state(base)
    assert set(found) == set(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
