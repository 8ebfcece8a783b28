"""The types of the fields of a ``config.json`` that an edit by hand leaves wrong most often."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from azr.errors import ModelError
from azr.models.families import CHECKED


def _is_token(value: Any) -> bool:
    ids = value if isinstance(value, list) else [value]
    return all(type(each) is int for each in ids)  # -1: older models have it for none


_KINDS: tuple[tuple[str, Callable[[Any], bool], tuple[str, ...]], ...] = (
    ("a whole number above 0", lambda value: type(value) is int and value > 0, (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
        "max_position_embeddings", "original_max_position_embeddings")),
    ("a number", lambda value: type(value) in (int, float), (
        "rms_norm_eps", "layer_norm_eps", "norm_eps", "rope_theta", "partial_rotary_factor", "factor", "attention_factor", "beta_fast",
        "beta_slow", "low_freq_factor", "high_freq_factor", "short_mscale", "long_mscale")),
    ("true or false", lambda value: isinstance(value, bool), (
        "tie_word_embeddings", "use_sliding_window", "attention_bias", "mlp_bias", "is_encoder_decoder")),
    ("a text", lambda value: isinstance(value, str), ("model_type", "hidden_act")),
    ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value), (
        "architectures", "layer_types")),
    ("a mapping", lambda value: isinstance(value, dict), ("rope_scaling", "rope_parameters")),
    ("the id of a token, or a list of them", _is_token, ("bos_token_id", "eos_token_id", "pad_token_id")),
)  # fmt: skip
ROTATIONS = ("default", "linear", "dynamic", "yarn", "longrope", "su", "llama3", "proportional")
"""Kinds of positions that transformers 5 computes; ``su`` is Phi's first name for ``longrope``."""
_NOT_NULL = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "rms_norm_eps",
)
"""Where null does not stand for the usual value."""


def require_field_types(where: Path | str, values: Mapping[str, Any]) -> None:
    """
    Args:
        where: the file, for the message.
        values: what it says; fields that it lacks, and those that are not known here, are passed over.

    Raises:
        ModelError: a field has a type that transformers or the engine would fail at.
    """
    for kind, fits, keys in _KINDS:
        for key in keys:
            if key not in values or (values[key] is None and key not in _NOT_NULL) or fits(values[key]):
                continue
            found = json.dumps(values[key], ensure_ascii=False)
            meant = _meant(values[key], fits)
            advice = (
                f"write {json.dumps(key)}: {json.dumps(meant)}" if meant is not None else "correct that entry"
            )
            raise ModelError(f"{where}: {key} is {found[:80]}, and it has to be {kind}; {advice}")
    if "auto_map" not in values:  # code of its own says itself what it reads
        _require_known_layers(where, values)


def _require_known_layers(where: Path | str, values: Mapping[str, Any]) -> None:
    """Raises: ModelError: there are more or fewer kinds of layers than layers, as where layers were taken out by hand, or positions
    of a kind that transformers does not compute."""
    kinds, layers = values.get("layer_types"), values.get("num_hidden_layers")
    if isinstance(kinds, list) and isinstance(layers, int) and len(kinds) != layers:
        raise ModelError(
            f"{where}: layer_types has {len(kinds)} entries, and num_hidden_layers is {layers}; write one for each layer that there is"
        )
    for key in ("rope_scaling", "rope_parameters"):
        rope = values.get(key) or {}
        nested = [inner for inner in rope.values() if isinstance(inner, dict)]
        for each in nested or [rope]:
            require_field_types(f"{where}, {key}", {**each, "auto_map": None})
            kind = each.get("rope_type", each.get("type", "default"))
            if values.get("model_type") in CHECKED and kind not in ROTATIONS:
                raise ModelError(
                    f"{where}: {key} is of the kind {kind!r}, and transformers computes {', '.join(ROTATIONS)}; of a text model that was "
                    'taken out of one for images ("mrope") write "default"'
                )


def _meant(value: Any, fits: Callable[[Any], bool]) -> Any:
    """The value that was meant; None where that is not clear."""
    guesses: list[Any] = [[value]]
    if isinstance(value, float) and value.is_integer():
        guesses.append(int(value))
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            guesses.append(json.loads(value.lower()))
    if isinstance(value, list) and len(value) == 1:
        guesses.append(value[0])
    return next((guess for guess in guesses if guess is not None and fits(guess)), None)
