"""Linear layers in float32 by oneDNN.

torch gives these products to MKL, which leaves AVX-512 alone on processors that are not Intel's (docs/performance.md).
oneDNN compiles a kernel for each shape and keeps a thousand of them, half a MiB each. Numbers of tokens are hardly ever
the same twice, so they are rounded up to one of some eighty sizes, with rows of zeros.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

PLAIN = torch.nn.functional.linear


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """``x @ weight.T + bias``, without a gradient; views are taken as they are."""
    both_float32 = x.dtype == weight.dtype == torch.float32
    if not (both_float32 and x.numel() and torch.backends.mkldnn.is_available()):
        return PLAIN(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])  # [tokens, in]
    made = torch.ops.mkldnn._linear_pointwise(padded(rows), weight, bias, "none", [], "")
    return made[: len(rows)].view(*x.shape[:-1], weight.shape[0])


def rounded_up(rows: int) -> int:
    """To one of eight sizes between two powers of two: at most an eighth more."""
    unit = 1 << max(0, (rows - 1).bit_length() - 4)
    return -(-rows // unit) * unit


def padded(rows: torch.Tensor) -> torch.Tensor:
    """With rows of zeros up to one of the sizes: [tokens, n] -> [rounded, n]."""
    missing = rounded_up(len(rows)) - len(rows)
    return torch.nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows


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
        rows = padded(grad.reshape(-1, grad.shape[-1]))  # [tokens, out]
        inputs = padded(x.reshape(-1, x.shape[-1]))  # [tokens, in]
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            linear(rows, weight.T)[: x.numel() // x.shape[-1]].view_as(x) if for_x else None,
            linear(rows.T, inputs.T) if for_weight else None,
            rows.sum(dim=0) if for_bias else None,
        )


def install_cpu_linear(module: torch.nn.Module) -> None:
    """Gives this forward pass to every linear layer."""
    for layer in module.modules():
        if type(layer) is torch.nn.Linear:
            vars(layer)["forward"] = partial(_forward, layer)


def _forward(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return Linear.apply(x, layer.weight, layer.bias)  # pyright: ignore[reportReturnType]
