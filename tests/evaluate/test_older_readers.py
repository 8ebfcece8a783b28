"""An exported folder means the same to transformers 4 and 5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_fixture import TINY, make_run, random_model, save_checkpoint
from transformers import AutoConfig, AutoTokenizer

from azr.evaluate.export import ExportOptions, export_model
from azr.evaluate.older_readers import write_for_older_readers

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "rope_theta": 5e5}
LLAMA3 = {
    **{"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 128, "rope_theta": 5e5},
    **{"low_freq_factor": 1.0, "high_freq_factor": 4.0},
}
LONG = {
    "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 8, "long_factor": [2.0] * 8,
    "original_max_position_embeddings": 128,
}  # fmt: skip
GEMMA = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}


def test_the_base_of_positions_reaches_transformers_4(tmp_path: Path) -> None:
    """It knows ``rope_theta`` alone, and took 10,000 for the million of Qwen2.5."""
    run, model = make_run(tmp_path), random_model()
    model.config.rope_parameters = {"rope_type": "default", "rope_theta": 1e6}
    save_checkpoint(run, 2, model.state_dict(), model.config)
    folder = export_model(run, tmp_path / "out", ExportOptions(step="latest", check=False), lambda _: None)
    config = json.loads((folder / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 1e6
    assert config["torch_dtype"] == config["dtype"] == "bfloat16"
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert settings.get("tokenizer_class", config["tokenizer_class"]) == "PreTrainedTokenizerFast"


@pytest.mark.parametrize(
    ("kind", "rope", "older"),
    [
        ("qwen2", YARN, {"rope_theta": 5e5, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
        ("llama", LLAMA3, {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "low_freq_factor": 1.0}}),
        ("phi3", LONG, {"rope_theta": 1e4, "rope_scaling": {"type": "longrope", "long_factor": [2.0] * 8}}),
        ("gemma3_text", GEMMA, {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": {"factor": 8.0}}),
    ],
)  # fmt: skip
def test_scaled_positions_mean_the_same_to_transformers_5_as_before(
    tmp_path: Path, kind: str, rope: dict[str, Any], older: dict[str, Any]
) -> None:
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4, "num_hidden_layers": 6}
    extra = {"original_max_position_embeddings": 128} if kind == "phi3" else {}
    before = AutoConfig.for_model(kind, **sizes, **extra, max_position_embeddings=512, rope_parameters=rope)
    before.save_pretrained(tmp_path)
    before = AutoConfig.from_pretrained(tmp_path).rope_parameters
    write_for_older_readers(tmp_path)
    after = AutoConfig.from_pretrained(tmp_path).rope_parameters
    assert after == before | {key: value for key, value in after.items() if key == "type"}
    written = json.loads((tmp_path / "config.json").read_text())
    scaling = older.pop("rope_scaling")
    assert older.items() <= written.items() and scaling.items() <= written["rope_scaling"].items()
    if kind == "phi3":  # transformers 4 refuses any other key there
        assert set(written["rope_scaling"]) == {"type", "short_factor", "long_factor"}


def test_further_special_tokens_have_the_older_name(tmp_path: Path) -> None:
    """transformers 4 ends at the new one with "'list' object has no attribute 'keys'"."""
    tokenizer = AutoTokenizer.from_pretrained(TINY, extra_special_tokens=["<think>", "</think>"])
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((TINY / "config.json").read_text())
    before = AutoTokenizer.from_pretrained(tmp_path).extra_special_tokens
    write_for_older_readers(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert "extra_special_tokens" not in settings and len(settings["additional_special_tokens"]) == 2
    assert AutoTokenizer.from_pretrained(tmp_path).extra_special_tokens == before == ["<think>", "</think>"]
