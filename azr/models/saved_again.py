"""What a model's JSON files say, whichever version of transformers saved them: the same model under other
names of its keys, or with defaults spelled out, is the same model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WRITERS_OWN = (
    "transformers_version",
    "_name_or_path",
    "name_or_path",
    "is_local",
    "local_files_only",
    "backend",
    "_from_model_config",
)
"""Who saved it, where, and whether the hub could be reached."""
_WITHOUT_EFFECT = ("use_cache", "initializer_range", "attention_dropout", "pretraining_tp")
"""Neither trainer nor engine goes by them (dropout is off); older files lack some."""
_NONE_IS_ABSENT = ("bos_token_id", "eos_token_id", "pad_token_id", "rope_scaling")


def settings_that_count(name: str, values: Mapping[str, Any], *, has_tokenizer_json: bool) -> dict[str, Any]:
    """
    Args:
        name: of the file: each has its own keys.
        has_tokenizer_json: then it holds the added tokens, and their list in tokenizer_config.json is a copy.
    """
    values = {key: value for key, value in values.items() if key not in _WRITERS_OWN}
    if name == "config.json":
        return _config(values)
    if name == "tokenizer.json":
        return _tokenizer(values)
    if name == "tokenizer_config.json":
        return _tokenizer_config(values, has_tokenizer_json)
    return values


def _config(values: dict[str, Any]) -> dict[str, Any]:
    values = {
        key: value
        for key, value in values.items()
        if key not in _WITHOUT_EFFECT and not (value is None and key in _NONE_IS_ABSENT)
    }
    for key in ("attention_bias", "mlp_bias"):
        if values.get(key) is False:
            del values[key]
    if "torch_dtype" in values:
        values.setdefault("dtype", values["torch_dtype"])
        del values["torch_dtype"]
    hidden, heads = values.get("hidden_size"), values.get("num_attention_heads")
    if (
        isinstance(hidden, int)
        and isinstance(heads, int)
        and heads
        and values.get("head_dim") == hidden // heads
    ):
        del values["head_dim"]
    if values.get("use_sliding_window") is False:  # then no layer has a window
        for key in ("sliding_window", "max_window_layers"):
            values.pop(key, None)
        layers = values.get("layer_types")
        if isinstance(layers, list) and all(layer == "full_attention" for layer in layers):
            del values["layer_types"]
    return _rotation(values)


def _rotation(values: dict[str, Any]) -> dict[str, Any]:
    """``rope_theta`` and ``rope_scaling`` (transformers 4) as ``rope_parameters`` (5), where there is one for all layers.
    Of both transformers takes ``rope_scaling``, which people add as a model's card says."""
    parameters = values.get("rope_parameters") or {}
    rope = values.get("rope_scaling") or parameters
    if not (isinstance(rope, dict) and isinstance(parameters, dict)):
        return values
    if any(isinstance(value, dict) for value in [*rope.values(), *parameters.values()]):
        return values
    old = {"rope_theta": values["rope_theta"]} if "rope_theta" in values else {}
    rope = {**old, **rope}
    rope["rope_type"] = rope.get("rope_type", rope.pop("type", "default"))
    rope.pop("type", None)
    share = rope.pop("partial_rotary_factor", None)
    if share is not None:
        values = {**values, "partial_rotary_factor": share}
    gone = ("rope_theta", "rope_scaling", "rope_parameters")
    return {key: value for key, value in values.items() if key not in gone} | {"rope_parameters": rope}


def _tokenizer(values: dict[str, Any]) -> dict[str, Any]:
    """Merges as pairs or as texts with a blank between, an affix that is empty or not there."""
    model = values.get("model")
    if not isinstance(model, dict):
        return values
    model = {
        key: value
        for key, value in model.items()
        if not (key in ("continuing_subword_prefix", "end_of_word_suffix") and value in (None, ""))
    }
    if isinstance(merges := model.get("merges"), list):
        model["merges"] = [" ".join(map(str, pair)) if isinstance(pair, list) else pair for pair in merges]
    return {**values, "model": model}


def _tokenizer_config(values: dict[str, Any], has_tokenizer_json: bool) -> dict[str, Any]:
    values = {key: value for key, value in values.items() if value is not None}
    extra = values.pop("additional_special_tokens", None) or values.get("extra_special_tokens") or []
    values["extra_special_tokens"] = extra
    if has_tokenizer_json:
        values.pop("added_tokens_decoder", None)
    for added, token in (("add_bos_token", "bos_token"), ("add_eos_token", "eos_token")):
        if values.get(added) is False and token not in values:
            del values[added]
    return values
