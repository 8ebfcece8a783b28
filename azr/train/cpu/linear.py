"""Linear layers in float32 by oneDNN.

torch gives these products to MKL, which leaves AVX-512 alone on processors that are not Intel's (docs/performance.md).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

PLAIN = torch.nn.functional.linear


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """``x @ weight.T + bias``, without a gradient; views are taken as they are."""
    if x.dtype != torch.float32 or weight.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return PLAIN(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class Linear(torch.autograd.Function):
    """``linear`` with a gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        [grad] = grads
        x, weight = ctx.saved_tensors
        rows, inputs = (
            grad.reshape(-1, grad.shape[-1]),
            x.reshape(-1, x.shape[-1]),
        )  # [tokens, out], [tokens, in]
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            linear(rows, weight.T).view_as(x) if for_x else None,
            linear(rows.T, inputs.T) if for_weight else None,
            rows.sum(dim=0) if for_bias else None,
        )


def install(module: torch.nn.Module) -> None:
    """Gives this forward pass to every linear layer."""
    for layer in module.modules():
        if type(layer) is torch.nn.Linear:
            vars(layer)["forward"] = partial(_forward, layer)


def _forward(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return Linear.apply(x, layer.weight, layer.bias)  # pyright: ignore[reportReturnType]
