"""Which parameters of an architecture are quantised, read off an empty model on the meta device."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from azr.errors import ModelError
from azr.models.quantised import INT4_ARCHITECTURES
from azr.models.weight_files import read_json_file


@dataclass(frozen=True)
class Parts:
    linears: dict[str, tuple[int, int]]
    """Modules whose weights are quantised -> (outputs, inputs). All but the output head."""
    others: dict[str, tuple[int, ...]]
    """Parameters that stay in bfloat16 -> shape. Of tied weights the first name alone."""
    skipped: frozenset[str]
    """Names that a file may hold besides: of what is computed, and of what is tied."""


def empty_model(folder: Path, config: Any = None) -> nn.Module:
    """The model of ``config.json``, its parameters on the meta device and its buffers on the CPU.

    Args:
        config: in place of the folder's.

    Raises:
        ModelError: an architecture that was not compared.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForCausalLM

    model_type = read_json_file(folder / "config.json").get("model_type")
    if model_type not in INT4_ARCHITECTURES:
        raise ModelError(
            f"{folder}: int4 weights are supported for {', '.join(INT4_ARCHITECTURES)}, not for {model_type}; use one of those, "
            "or a model with plain weights"
        )
    config = copy.deepcopy(config) if config is not None else AutoConfig.from_pretrained(folder)
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # transformers would bring linear layers of its own
    with init_empty_weights(include_buffers=False):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.tie_weights()
    return model


def parts_of(model: Any, folder: Path, group: int) -> Parts:
    """
    Raises:
        ModelError: a layer whose inputs cannot be divided into groups.
    """
    head = model.get_output_embeddings()
    linears = {
        name: (part.out_features, part.in_features)
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and part is not head
    }
    for name, (outputs, inputs) in linears.items():
        if inputs % group or outputs % 8:
            raise ModelError(
                f"{folder}: {name} has {inputs} inputs and {outputs} outputs; int4 weights need a multiple of {group} inputs "
                "and a multiple of 8 outputs"
            )
    quantised = {f"{name}.weight" for name in linears}
    others = {
        name: tuple(parameter.shape) for name, parameter in model.named_parameters() if name not in quantised
    }
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return Parts(linears, others, frozenset(every - quantised - set(others)))
