"""A frozen linear layer with int4 weights: the matrix is dequantised for each product, and again for the
backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from azr.errors import TrainingError
from azr.train.quantize.int4 import dequantise

QWEIGHT = "qweight"
"""Name of the parameter that holds the words."""


class Int4Linear(nn.Linear):
    """Looks like an ``nn.Linear``, so that peft wraps it with its adapters.

    FSDP flattens the parameters of a unit into one tensor of one floating-point type. The words are therefore
    stored under the model's type. Only their bits matter, so they must never be cast.

        qweight  [out, in / 2 / bytes of the type]
        scales   [out, in / group], bfloat16 values
    """

    def __init__(self, outputs: int, inputs: int, group: int, *, bias: bool, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = inputs, outputs
        self.qweight = _frozen((outputs, inputs // 2 // dtype.itemsize), dtype)
        self.scales = _frozen((outputs, inputs // group), dtype)
        self.register_parameter("bias", _frozen((outputs,), dtype) if bias else None)

    @property
    def weight(self) -> nn.Parameter:  # type: ignore[override]
        """Not the matrix: peft reads the layer's device and type from here."""
        return self.qweight

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return _Product.apply(input, self.qweight, self.scales, self.bias)  # type: ignore[no-any-return]

    def dequantised(self) -> torch.Tensor:
        """The bfloat16 weight ``[out, in]``."""
        return dequantise(self.qweight.detach(), self.scales.detach())

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, int4"

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        """What ``to``, ``cuda``, ``float`` and the like call.

        Raises:
            TrainingError: the words were to be cast to another type.
        """
        if not self.qweight.is_meta and fn(self.qweight[:0]).dtype != self.qweight.dtype:
            raise TrainingError(
                f"an int4 base was built for {self.qweight.dtype} and cannot be cast; build it for the type that is wanted"
            )
        return super()._apply(fn, recurse)


def _frozen(shape: tuple[int, ...], dtype: torch.dtype) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, dtype=dtype, device="meta"), requires_grad=False)


@torch.library.custom_op("azr::dequantised_again", mutates_args=())
def _dequantised_again(words: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """``dequantise`` for the backward pass, as an operator that the compiler does not look into. It would see that the
    forward pass computes the same matrix, and keep that one: at 7B half a gibibyte a layer."""
    return dequantise(words, scales)


@_dequantised_again.register_fake
def _(words: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    return words.new_empty((words.shape[0], 2 * words.shape[1] * words.element_size()), dtype=torch.bfloat16)


class _Product(torch.autograd.Function):
    """``input @ weight.T + bias``. Words and scales are kept for the backward pass, the matrix is not."""

    @staticmethod
    def forward(
        ctx: Any, input: torch.Tensor, words: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(words, scales)
        return functional.linear(input, dequantise(words, scales).to(input.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        words, scales = ctx.saved_tensors
        [gradient] = gradients
        return gradient @ _dequantised_again(words, scales).to(gradient.dtype), None, None, None
