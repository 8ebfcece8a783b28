"""A model whose JSON files another version of transformers saved again is the model that a run began with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from azr.models.model_hash import ModelHash, hash_model

TINY = Path(__file__).resolve().parents[2] / "data" / "models" / "azr-tiny"
COMMON = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896, "num_attention_heads": 14,
          "num_hidden_layers": 2, "rms_norm_eps": 1e-6, "use_sliding_window": False}  # fmt: skip
BY_4: dict[str, Any] = {**COMMON, "rope_theta": 1e6, "sliding_window": 32768, "max_window_layers": 21, "torch_dtype": "bfloat16",
        "transformers_version": "4.43.1", "use_cache": True, "_name_or_path": "Qwen/Qwen2.5"}  # fmt: skip
BY_5: dict[str, Any] = {"transformers_version": "5.9.0", "use_cache": True, "dtype": "bfloat16", "pad_token_id": None,
        "sliding_window": None, "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}, "max_window_layers": 21,
        "layer_types": ["full_attention"] * 2, **COMMON}  # fmt: skip
"""The same as transformers 5.9 saves it."""
LLAMA_3 = {"factor": 32.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}


def hash_of(folder: Path, name: str, values: dict[str, Any], **others: str) -> ModelHash:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / name).write_text(json.dumps(values))
    for other, text in others.items():
        (folder / other.replace("__", ".")).write_text(text)
    return hash_model(folder)


def test_a_config_saved_by_another_version_is_the_same_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert hash_of(folder, "config.json", BY_4) == hash_of(folder, "config.json", BY_5)
    scaled = {**BY_4, "rope_scaling": LLAMA_3}
    saved = {**BY_5, "rope_parameters": {**LLAMA_3, "rope_theta": 1e6}}
    assert hash_of(folder, "config.json", scaled) == hash_of(folder, "config.json", saved)
    settings = {"top_p": 0.8, "transformers_version": "4.37.0"}
    again = {"_from_model_config": True, "transformers_version": "5.9.0", "top_p": 0.8}
    assert hash_of(folder, "generation_config.json", settings) == hash_of(
        folder, "generation_config.json", again
    )


@pytest.mark.parametrize(
    "change",
    [
        {"rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}},
        {"rope_parameters": {**LLAMA_3, "rope_theta": 1e6}},
        {"rope_scaling": LLAMA_3},  # beside rope_parameters, of which transformers then takes nothing
        {"rms_norm_eps": 1e-5},
        {"dtype": "float16"},
        {"use_sliding_window": True},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"head_dim": 128},
        {"attention_bias": True},
    ],
)
def test_what_changes_the_model_still_counts(tmp_path: Path, change: dict[str, Any]) -> None:
    before = hash_of(tmp_path / "model", "config.json", BY_5)
    assert hash_of(tmp_path / "model", "config.json", BY_5 | change).model != before.model


def test_of_two_shares_of_a_rotation_the_one_that_transformers_takes_counts(tmp_path: Path) -> None:
    """An export has both."""
    rope = {"rope_theta": 1e6, "rope_type": "default"}
    half, quarter = (
        hash_of(
            tmp_path / "model",
            "config.json",
            BY_5 | {"partial_rotary_factor": 0.5, "rope_parameters": rope | {"partial_rotary_factor": share}},
        )
        for share in (0.5, 0.25)
    )
    assert half.model != quarter.model


def test_a_tokenizer_saved_by_another_version_is_the_same(tmp_path: Path) -> None:
    folder, template = tmp_path / "model", "{{ messages }}"
    merges: dict[str, Any] = {"model": {"merges": ["a b"], "end_of_word_suffix": None}}
    pairs: dict[str, Any] = {"model": {"merges": [["a", "b"]], "end_of_word_suffix": ""}}
    by_4 = {"add_bos_token": False, "bos_token": None, "eos_token": "<e>", "chat_template": template,
            "additional_special_tokens": ["<x>"], "added_tokens_decoder": {"1": {"content": "<e>"}}}  # fmt: skip
    by_5 = {"backend": "tokenizers", "eos_token": "<e>", "extra_special_tokens": ["<x>"], "is_local": True}
    before = hash_of(folder, "tokenizer_config.json", by_4, tokenizer__json=json.dumps(merges))
    beside = {"tokenizer__json": json.dumps(pairs), "chat_template__jinja": template}
    assert hash_of(folder, "tokenizer_config.json", by_5, **beside) == before
    for changed in (by_5 | {"eos_token": "<y>"}, by_5 | {"add_bos_token": True}):
        assert hash_of(folder, "tokenizer_config.json", changed, **beside) != before
    beside["chat_template__jinja"] += " "
    assert hash_of(folder, "tokenizer_config.json", by_5, **beside) != before
