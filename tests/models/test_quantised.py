"""Which quantised checkpoints are read, judged from config.json; all others get a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from azr.errors import ModelError
from azr.models.quantised import Quantised, quantisation_of

WEIGHTS = {
    "num_bits": 4,
    "type": "int",
    "symmetric": True,
    "strategy": "group",
    "group_size": 128,
    "actorder": None,
}
SCHEME = {"targets": ["Linear"], "weights": WEIGHTS, "input_activations": None, "output_activations": None}
PACKED = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {"group_0": SCHEME},
    "ignore": ["lm_head"],
}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 64, "sym": True, "desc_act": False}


def of(folder: Path, settings: Any) -> Quantised | None:
    values = {"model_type": "qwen2"} | ({} if settings is None else {"quantization_config": settings})
    (folder / "config.json").write_text(json.dumps(values))
    return quantisation_of(folder)


def test_what_is_read(tmp_path: Path) -> None:
    assert of(tmp_path, None) is None
    assert of(tmp_path, PACKED) == Quantised("pack-quantized", 128)
    assert of(tmp_path, GPTQ) == Quantised("gptq", 64)
    assert of(tmp_path, {**GPTQ, "checkpoint_format": "gptq_v2"}) == Quantised("gptq", 64)


def scheme(**changes: Any) -> dict[str, Any]:
    return {**PACKED, "config_groups": {"group_0": {**SCHEME, **changes}}}


def weights(**changes: Any) -> dict[str, Any]:
    return scheme(weights={**WEIGHTS, **changes})


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({**GPTQ, "bits": 8}, "bits is 8"),
        ({**GPTQ, "sym": False}, "sym is False"),
        ({**GPTQ, "desc_act": True}, "desc_act is True"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "sym is None"),
        ({**GPTQ, "group_size": -1}, "group_size is -1"),
        ({**GPTQ, "dynamic": {"-:.*down": {}}}, "settings of their own"),
        ({**GPTQ, "lm_head": True}, "lm_head is True"),
        ({**GPTQ, "checkpoint_format": "marlin"}, "checkpoint_format is 'marlin'"),
        ({"quant_method": "awq", "bits": 4}, "quantised with awq"),
        ({"bits": 4}, "an unnamed method"),
        ({"quant_method": ["gptq"]}, "quantised with"),
        ("four bits", "is not a mapping"),
        ({**PACKED, "format": "nvfp4-pack-quantized"}, "format is"),
        ({**PACKED, "config_groups": {}}, "not quantise all its linear layers alike"),
        ({**PACKED, "config_groups": {"a": SCHEME, "b": SCHEME}}, "not quantise all its linear layers alike"),
        ({**PACKED, "config_groups": {"a": None}}, "says nothing of the weights"),
        ({**PACKED, "ignore": ["lm_head", "model.layers.0.mlp.down_proj"]}, "down_proj is left out"),
        ({**PACKED, "kv_cache_scheme": {"num_bits": 8}}, "key-value cache"),
        ({**PACKED, "transform_config": {"config_groups": {"u": {}}}}, "transformed"),
        ({**PACKED, "sparsity_config": {"format": "marlin-24"}}, "sparse"),
        (scheme(targets=["re:.*mlp.*"]), "targets is"),
        (scheme(input_activations={"num_bits": 8}), "activations"),
        (weights(num_bits=8), "num_bits is 8"),
        (weights(type="float"), "type is 'float'"),
        (weights(symmetric=False), "symmetric is False"),
        (weights(strategy="channel"), "strategy is 'channel'"),
        (weights(actorder="group"), "actorder is 'group'"),
        (weights(group_size=16), "group_size is 16"),
    ],
)
def test_what_is_refused_with_a_sentence(tmp_path: Path, settings: Any, why: str) -> None:
    with pytest.raises(ModelError) as raised:
        of(tmp_path, settings)
    assert why in str(raised.value) and str(tmp_path) in str(raised.value)
