"""Are the weights in a folder those of the model that its ``config.json`` describes, whole and clean? Judged from their
headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azr.errors import ModelError
from azr.models.families import CHECKED, TIED_BY_DEFAULT, TIED_IN_THE_ENGINE, WITHOUT_NORM_WEIGHTS
from azr.models.weight_files import Tensor, read_json_file, same_content

PACKED_TENSOR = re.compile(
    r"\.(qweight|qzeros|weight_packed|weight_scale|weight_scale_inv|absmax|quant_map|SCB|scales|lut)$"
)
PLAIN = {"BF16", "F16", "F32"}
EMBEDDING, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
ADAPTER_TENSOR = re.compile(r"\.(lora_[A-Z]|lora_embedding|lora_magnitude|base_layer)")
LAYER = re.compile(r"^model\.layers\.(\d+)\.")


def refuse_unclean_merge(
    folder: Path, tensors: Mapping[str, Tensor], *, may_be_quantised: bool = False
) -> None:
    """What a fine-tune leaves behind when it is merged or saved.

    Args:
        tensors: what the headers of the weights say, by name.

    Raises:
        ModelError: ``config.json`` says that the weights are quantised, and they are not; or that the output head is the
            embedding matrix, and the weights hold another one; or they hold what is no part of a language model.
    """
    values = read_json_file(folder / "config.json")
    method = None if may_be_quantised else quantisation_told(values)
    if method and {tensor.dtype for tensor in tensors.values()} <= PLAIN:
        raise ModelError(
            f"{folder / 'config.json'} says that the weights are quantised ({method}), and they are not: as a fine-tune over a quantised "
            "model leaves it when it is merged. Remove that entry (quantization_config), or what loads the model quantises it"
        )
    _refuse_second_head(folder, values, tensors)
    model_type = values.get("model_type")
    if model_type in CHECKED:
        _refuse_adapter(folder, tensors)
        if not may_be_quantised:
            _refuse_other_names(folder, model_type, tensors)
        _refuse_foreign_tensors(folder, model_type, tensors)
        _refuse_further_layers(folder, values, tensors)


def _refuse_second_head(folder: Path, values: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """transformers uses the head that is in the weights, and the engine the embeddings."""
    model_type = values.get("model_type")
    tied = values.get("tie_word_embeddings", model_type in TIED_BY_DEFAULT)
    if not tied or not {EMBEDDING, HEAD} <= tensors.keys() or same_content(folder, EMBEDDING, HEAD):
        return
    way_out = (
        "use the original model"
        if model_type in TIED_IN_THE_ENGINE
        else 'write "tie_word_embeddings": false there'
    )
    raise ModelError(
        f"{folder / 'config.json'} says that the output head is the embedding matrix, and the weights hold a head of its own ({HEAD}), "
        f"as a fine-tune that trained both leaves it when it is merged: {way_out}"
    )


def _refuse_adapter(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    adapter = next((name for name in tensors if ADAPTER_TENSOR.search(name)), None)
    if adapter:
        raise ModelError(
            f"{folder}: its weights hold an adapter that was not merged ({adapter}), which transformers and the engine would leave out; "
            "merge it (docs/howto/other_models.md), or train from the base model"
        )


def _refuse_other_names(folder: Path, model_type: str, tensors: Mapping[str, Tensor]) -> None:
    """What transformers does not find, under its name and in its shape, it makes up, with no more than a warning."""
    hollow = next((name for name, tensor in tensors.items() if 0 in tensor.shape), None)
    if hollow:
        raise ModelError(
            f"{folder}: {hollow} is empty, as ZeRO-3 of DeepSpeed leaves weights that were saved without being gathered. The whole ones "
            "are in the trainer's checkpoint, out of which its zero_to_fp32.py writes them; else take another save"
        )
    if EMBEDDING in tensors:
        return
    if (folder / "modules.json").is_file():  # Qwen3-Embedding's architecture is Qwen3ForCausalLM
        raise ModelError(
            f"{folder} is an embedding model (modules.json of sentence-transformers), which turns texts into vectors and writes "
            "none; use the model of that family that writes text"
        )
    before = next((name.removesuffix(EMBEDDING) for name in tensors if name.endswith(f".{EMBEDDING}")), "")
    way_out = "take another save of the model, or rename them"
    if before:
        way_out = f"take {before} off their names, as docs/howto/other_models.md shows"
    elif EMBEDDING.removeprefix("model.") in tensors:  # saved without its head, which transformers knows
        way_out = "save the model again with AutoModelForCausalLM"
    raise ModelError(
        f"{folder}: the weights are not named as those of {CHECKED[model_type]} are: there is no {EMBEDDING}, but for example "
        f"{min(tensors, default='nothing at all')}, and transformers would make up new ones; {way_out}"
    )


def _refuse_foreign_tensors(folder: Path, model_type: str, tensors: Mapping[str, Tensor]) -> None:
    """The value head of a trainer: transformers passes over it, and the engine ends there."""
    if EMBEDDING not in tensors:  # quantised, in a layout of its own
        return
    foreign = [name for name in tensors if not name.startswith("model.") and name != HEAD]
    if foreign:
        raise ModelError(
            f"{folder}: {foreign[0]} is no part of {CHECKED[model_type]}, as a trainer leaves its value or reward head; the engine does "
            f'not load it. To save without: AutoModelForCausalLM.from_pretrained("{folder}", dtype="auto").save_pretrained("OTHER"), '
            "and copy the tokenizer's files there"
        )


def _refuse_further_layers(folder: Path, values: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Layers that were taken out in ``config.json`` alone: transformers passes over their weights, and the engine ends there."""
    wanted = values.get("num_hidden_layers")
    held = 1 + max((int(match[1]) for name in tensors if (match := LAYER.match(name))), default=-1)
    if isinstance(wanted, int) and held > wanted:
        raise ModelError(
            f"{folder}: config.json says {wanted} layers, and the weights hold {held}, which the engine does not load. Write "
            f'"num_hidden_layers": {held}, or, to leave layers out, save the model with {wanted}: '
            f'AutoModelForCausalLM.from_pretrained("{folder}", dtype="auto").save_pretrained("OTHER"), and copy the tokenizer there'
        )


def require_matching_weights(folder: Path, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Weights that are not the architecture's would be left out, and the gaps filled with noise, with no more
    than a warning.

    Raises:
        ModelError: they are quantised, or do not match ``config.json``.
    """
    for name, tensor in tensors.items():
        whole_numbers = tensor.dtype[0] in "IU" and name.endswith(".weight")
        if whole_numbers or PACKED_TENSOR.search(name) or tensor.dtype.startswith("F8"):
            raise ModelError(
                f"{folder} is quantised ({name} is {tensor.dtype}), and quantised weights cannot be trained"
            )
    model_type = values["model_type"]
    if model_type not in CHECKED:
        return
    wanted = values.get("num_hidden_layers")
    if isinstance(wanted, int) and (absent := absent_tensor(tensors, model_type, wanted)):
        raise ModelError(
            f"{folder}: config.json says {wanted} layers, and the weights lack {absent}; "
            "configuration and weights are of different models, or some of the weights are missing"
        )
    rows, width = values.get("vocab_size"), values.get("hidden_size")
    if isinstance(rows, int) and isinstance(width, int) and tensors[EMBEDDING].shape != (rows, width):
        raise ModelError(
            f"{folder}: config.json says {rows} embeddings of {width} numbers, and the weights hold "
            f"{' x '.join(map(str, tensors[EMBEDDING].shape))}; configuration and weights are of different models"
        )
    if values.get("tie_word_embeddings") is False and HEAD not in tensors:
        raise ModelError(
            f"{folder}: config.json says that the output head is separate from the embeddings, and the weights have no {HEAD}"
        )


def absent_tensor(tensors: dict[str, Tensor], model_type: str, layers: int) -> str:
    """A layer, or the first tensor that other layers have and one lacks, or the last norm; empty for none.
    transformers would fill it with fresh values."""
    found: dict[int, set[str]] = {}
    for name in tensors:
        if (match := LAYER.match(name)) and "rotary_emb" not in name:  # older files hold computed positions
            found.setdefault(int(match[1]), set()).add(name[match.end() :])
    every = set().union(*(names for number, names in found.items() if number < layers))
    for number in range(layers):
        if number not in found:
            return f"layer {number}"
        if missing := sorted(every - found[number]):
            return f"model.layers.{number}.{missing[0]}"
    return "" if model_type in WITHOUT_NORM_WEIGHTS or NORM in tensors else NORM


def quantisation_told(values: dict[str, Any]) -> str | None:
    """What is done to the weights, for people; None for plain ones."""
    for key in ("quantization_config", "compression_config", "quantization"):
        settings = values.get(key)
        if isinstance(settings, dict) and settings:
            named = (settings.get(name) for name in ("quant_method", "format", "quant_algo"))
            method = next(filter(None, named), "MLX")
            loaded = 4 if settings.get("load_in_4bit") else 8 if settings.get("load_in_8bit") else None
            bits = settings.get("bits") or loaded
            return f"{method}, {bits} bit" if isinstance(bits, int) else str(method)
    return None
