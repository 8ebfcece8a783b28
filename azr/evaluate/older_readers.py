"""What transformers 5 writes, in a form that transformers 4 reads as well: many programs that take an exported model
are built on it.

It passes over what it does not know, without a word: of positions that are under ``rope_parameters`` alone it takes its
own default base, and every answer of the model is another one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from azr.system.files import read_json, write_json_atomic

_LONGROPE = ("short_factor", "long_factor")
"""What transformers 4 takes beside the type, and nothing else."""

_ADAPTER_KEYS = (
    "auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "lora_alpha", "lora_dropout", "modules_to_save", "peft_type", "r", "revision", "target_modules",
    "task_type",
)  # fmt: skip


def keep_what_older_peft_reads(settings: Path) -> None:
    """Takes the keys of later versions out of an ``adapter_config.json`` of ours, which has their defaults: before 0.15 peft
    ends at one that it does not know."""
    values = read_json(settings)
    write_json_atomic(settings, {key: value for key, value in values.items() if key in _ADAPTER_KEYS})


def write_for_older_readers(folder: Path) -> None:
    """Adds the older names to ``config.json``, beside the newer ones, and replaces those in ``tokenizer_config.json``.

    Both versions then read the same model; transformers 5 does not read another one than before.
    """
    config = read_json(folder / "config.json")
    write_json_atomic(folder / "config.json", config | _older_names(config))
    settings = folder / "tokenizer_config.json"
    if not settings.is_file():
        return
    tokenizer = read_json(settings)
    # the new name of the class that has no rules of its own
    if tokenizer.get("tokenizer_class") == "TokenizersBackend":
        tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    # transformers 4 expects names with tokens there
    if isinstance(tokenizer.get("extra_special_tokens"), list):
        tokenizer["additional_special_tokens"] = tokenizer.pop("extra_special_tokens")
    write_json_atomic(settings, tokenizer)


def _older_names(config: dict[str, Any]) -> dict[str, Any]:
    older = {"torch_dtype": config["dtype"]} if "dtype" in config else {}
    rope = config.get("rope_parameters") or {}
    if isinstance(local := rope.get("sliding_attention"), dict):  # Gemma 3: of each kind of layer its own
        older["rope_local_base_freq"] = local.get("rope_theta")
        rope = rope.get("full_attention") or {}
    older |= {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
    kind = rope.get("rope_type", "default")
    if kind == "longrope":
        older["rope_scaling"] = {"type": kind, **{key: rope[key] for key in _LONGROPE if key in rope}}
    elif kind != "default":
        older["rope_scaling"] = {key: value for key, value in rope.items() if key not in older}
    return older
