"""The trainer's model over an int4 base: built empty and filled from the int4 folder, so that the whole model is
never in memory as bfloat16."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from azr.errors import ModelError
from azr.models.quantised import quantisation_of
from azr.models.weight_files import require_whole_files
from azr.train.finite import require_finite
from azr.train.quantize.architecture import Parts, empty_model, parts_of
from azr.train.quantize.folder import SCALES, SHAPE, WORDS
from azr.train.quantize.linear import QWEIGHT, Int4Linear


def int4_model(folder: Path, dtype: torch.dtype, config: Any = None) -> nn.Module:
    """
    Args:
        folder: with the layout of ``int4_folder``.
        dtype: of everything that is trained or computed with, and of the tensors that hold the words.
        config: the model's configuration, where it differs from the folder's.

    Raises:
        ModelError: the folder holds another kind of model, or is damaged.
    """
    found = quantisation_of(folder)
    if found is None or found.layout != "pack-quantized":
        raise ModelError(f"{folder} is not an int4 model in the compressed-tensors layout")
    model: Any = empty_model(folder, config)
    parts = parts_of(model, folder, found.group)
    for name, (outputs, inputs) in parts.linears.items():
        bias = model.get_submodule(name).bias is not None
        model.set_submodule(name, Int4Linear(outputs, inputs, found.group, bias=bias, dtype=dtype))
    _fill(model, folder, parts, dtype)
    model.tie_weights()
    return model


def _fill(model: nn.Module, folder: Path, parts: Parts, dtype: torch.dtype) -> None:
    """
    Raises:
        ModelError: a tensor is missing, of another shape, damaged, or has no place.
    """
    places = {name: name for name in parts.others}
    for name in parts.linears:
        places |= {f"{name}.{WORDS}": f"{name}.{QWEIGHT}", f"{name}.{SCALES}": f"{name}.scales"}
    shapes = {f"{name}.{SHAPE}": list(shape) for name, shape in parts.linears.items()}
    found = require_whole_files(folder).keys() - parts.skipped
    if wrong := sorted((places.keys() | shapes.keys()) ^ found):
        state = "missing" if wrong[0] in places or wrong[0] in shapes else "not part of its architecture"
        raise ModelError(
            f"{folder}: {wrong[0]} is {state}; the int4 weights are of another model, or of another kind"
        )

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (no mapping)
                tensor = tensors.get_tensor(name)
                if name in shapes and tensor.tolist() != shapes[name]:
                    raise ModelError(
                        f"{folder}: {name} says {tensor.tolist()}, and config.json asks for {shapes[name]}"
                    )
                if name in places:
                    _put(model, folder, name, places[name], tensor, dtype)


def _put(
    model: nn.Module, folder: Path, name: str, place: str, tensor: torch.Tensor, dtype: torch.dtype
) -> None:
    module_name, _, attribute = place.rpartition(".")
    module = model.get_submodule(module_name)
    if attribute == QWEIGHT:
        if tensor.dtype != torch.int32:
            raise ModelError(f"{folder}: {name} is {tensor.dtype}, and int4 weights are packed in int32")
        value = tensor.view(dtype).clone()
    else:
        require_finite(folder, name, tensor)
        value = tensor.to(torch.bfloat16).to(dtype, copy=True)
    parameter: Any = getattr(module, attribute)
    if value.shape != parameter.shape:
        raise ModelError(
            f"{folder}: {name} has the shape {list(tensor.shape)}, and config.json asks for another; "
            "configuration and weights are of different models"
        )
    trained = bool(parameter.requires_grad)
    setattr(module, attribute, nn.Parameter(value, requires_grad=trained))


def served(weights: Iterable[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    """Weights of an ``int4_model`` under the int4 folder's names: words in int32, all else in bfloat16."""
    for name, weight in weights:
        module, _, kind = name.rpartition(".")
        if kind == QWEIGHT:
            yield f"{module}.{WORDS}", weight.contiguous().view(torch.int32)
        else:
            name = f"{module}.{SCALES}" if kind == "scales" else name
            yield name, weight.to(torch.bfloat16) if weight.is_floating_point() else weight


def dequantised_state(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of an int4 folder under the names of the plain model, in bfloat16: exactly what adapters were
    trained over.

    Raises:
        ModelError: as ``int4_model``.
    """
    model = int4_model(folder, torch.bfloat16)
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    for name, part in model.named_modules():
        if isinstance(part, Int4Linear):
            state[f"{name}.weight"] = part.dequantised()
            del state[f"{name}.{QWEIGHT}"], state[f"{name}.scales"]
    return state
