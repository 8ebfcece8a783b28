"""Decoder layers as compiled functions: fewer kernels to launch, and fewer passes over memory between the
matrix products.

A step of three micro-batches at 0.5B launches 14,500 kernels, and a fast card runs them faster than the host
launches them; compiled, what lies between two products is one kernel, and 7,200 are left
(`scripts/dev/bench_update.py --ways ours ours+compile --explain-time`). Each layer is one graph, whose
numbers of tokens and of sequences are left open: micro-batches of all sizes share it, and all layers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from azr.errors import ModelError
from azr.train.patches.dynamo import install_gradient_type, let_dynamo_in


def compile_layers(model: torch.nn.Module, backend: str | Callable[..., Any] = "inductor") -> int:
    """Has the forward of each decoder layer of a transformers model compiled when it is first called; returns
    their number.

    Call it before FSDP wraps the layers, one unit a layer.

    Raises:
        ModelError: the model does not name its layers (``_no_split_modules``).
    """
    names = set(getattr(model, "_no_split_modules", None) or ())
    layers: list[Any] = [module for module in model.modules() if type(module).__name__ in names]
    if not layers:
        raise ModelError(
            f"{type(model).__name__} does not name its decoder layers; set train.compile_layers=false for this model"
        )
    install_gradient_type()
    for layer in layers:
        layer.forward = CompiledForward(layer, backend)
    return len(layers)


class CompiledForward:
    """What a layer calls in place of its ``forward``."""

    def __init__(self, layer: torch.nn.Module, backend: str | Callable[..., Any]) -> None:
        self._compiled = torch.compile(layer.forward, backend=backend)
        self._layer: torch.nn.Module | None = layer

    def __call__(self, hidden: torch.Tensor, **kwargs: Any) -> Any:
        """``hidden`` ``[1, T, D]`` and the layer's own arguments; T, and the number of sequences in ``cu_seq_lens_q`` int32
        ``[N + 1]``, may differ from call to call without another compilation."""
        if self._layer is not None:
            let_dynamo_in(self._layer)
            self._layer = None
        torch._dynamo.maybe_mark_dynamic(hidden, 1)
        for table in kwargs.get("position_embeddings") or ():  # cos and sin
            torch._dynamo.maybe_mark_dynamic(table, 1)
        for name, dimension in (("position_ids", 1), ("cu_seq_lens_q", 0)):
            if isinstance(kwargs.get(name), torch.Tensor):
                torch._dynamo.maybe_mark_dynamic(kwargs[name], dimension)
        return self._compiled(hidden, **kwargs)
