"""Which quantised checkpoints are supported: symmetric int4 with a scale for each group of inputs.

Judged from ``config.json`` alone. Two layouts hold the same numbers: that of compressed-tensors
(``pack-quantized``) and that of GPTQ without reordering (``sym``, ``desc_act=false``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from azr.errors import ModelError
from azr.models.weight_files import read_json_file

INT4_ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""Model types whose quantised forward and backward pass were compared with the plain ones."""
GROUPS = (32, 64, 128)
"""Inputs that share a scale, as the engine's kernels know them."""
GROUP = 64
"""Of what is quantised here: 4.25 bits a weight."""
READ = (
    "Supported is symmetric int4 with groups of 32, 64 or 128: compressed-tensors pack-quantized, "
    "or GPTQ with sym=true and desc_act=false. Otherwise use the original model"
)


@dataclass(frozen=True)
class Quantised:
    layout: Literal["pack-quantized", "gptq"]
    group: int
    """Inputs that share a scale."""


def quantisation_of(folder: Path) -> Quantised | None:
    """How the weights in ``folder`` are quantised; None for plain ones.

    Raises:
        ModelError: in a way that is not supported.
    """
    return quantisation_in(read_json_file(folder / "config.json"), str(folder))


def quantisation_in(values: dict[str, Any], where: str) -> Quantised | None:
    """The same, of what ``config.json`` holds.

    Raises:
        ModelError: in a way that is not supported; the message begins with ``where``.
    """
    settings = values.get("quantization_config") or values.get("compression_config")
    if not settings:
        return None
    if not isinstance(settings, dict):
        raise ModelError(f"{where}: quantization_config is not a mapping")
    readers = {"compressed-tensors": _compressed_tensors, "gptq": _gptq}
    method = settings.get("quant_method")
    reader = readers.get(method) if isinstance(method, str) else None
    told = f"{where} is quantised with {method or 'an unnamed method'}"
    if reader is None:
        raise ModelError(f"{told}. {READ}")
    found, wrong = reader(settings)
    if wrong:
        raise ModelError(f"{told}, but {wrong}. {READ}")
    return found


def _gptq(settings: dict[str, Any]) -> tuple[Quantised, str]:
    group = settings.get("group_size")
    wrong = _first(
        _unlike(settings, "bits", 4),
        _unlike(settings, "sym", True),
        _unlike(settings, "desc_act", False),
        _unlike(settings, "lm_head", False) if settings.get("lm_head") else "",
        "some of its layers have settings of their own (dynamic)" if settings.get("dynamic") else "",
        _unlike(settings, "checkpoint_format", None, "gptq", "gptq_v2"),
        _unlike(settings, "group_size", *GROUPS),
    )
    return Quantised("gptq", group if isinstance(group, int) else 0), wrong


def _compressed_tensors(settings: dict[str, Any]) -> tuple[Quantised, str]:
    groups = settings.get("config_groups")
    none = Quantised("pack-quantized", 0)
    if not isinstance(groups, dict) or len(groups) != 1:
        return none, "it does not quantise all its linear layers alike (config_groups)"
    [scheme] = groups.values()
    weights = scheme.get("weights") if isinstance(scheme, dict) else None
    if not isinstance(weights, dict):
        return none, "config_groups says nothing of the weights"
    left_out = [name for name in settings.get("ignore") or () if name != "lm_head"]
    group = weights.get("group_size")
    activations = scheme.get("input_activations") or scheme.get("output_activations")
    transforms, sparsity = (
        value if isinstance(value := settings.get(key), dict) else {}
        for key in ("transform_config", "sparsity_config")
    )
    wrong = _first(
        _unlike(settings, "format", "pack-quantized"),
        _unlike(scheme, "targets", ["Linear"]),
        "its activations are quantised too" if activations else "",
        f"{left_out[0]} is left out of it" if left_out else "",
        "its key-value cache is quantised too" if settings.get("kv_cache_scheme") else "",
        "its weights are transformed as well" if any(transforms.values()) else "",
        "its weights are sparse as well" if sparsity.get("format") not in (None, "dense") else "",
        _unlike(weights, "num_bits", 4),
        _unlike(weights, "type", "int"),
        _unlike(weights, "symmetric", True),
        _unlike(weights, "strategy", "group"),
        _unlike(weights, "actorder", None, False, "weight", "static"),
        _unlike(weights, "group_size", *GROUPS),
    )
    return Quantised("pack-quantized", group if isinstance(group, int) else 0), wrong


def _first(*wrong: str) -> str:
    return next((sentence for sentence in wrong if sentence), "")


def _unlike(settings: dict[str, Any], key: str, *wanted: Any) -> str:
    return "" if settings.get(key) in wanted else f"{key} is {settings.get(key)!r}"
