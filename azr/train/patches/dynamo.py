"""What keeps ``torch.compile`` from compiling layers under FSDP."""

from __future__ import annotations

import torch
from torch._subclasses import meta_utils

COMPILE_THREADS = 1
"""In the trainer's own process: by default a pool of up to 32 processes would stay for good, in a host memory
that is short."""


def install_gradient_type() -> None:
    torch._inductor.config.compile_threads = COMPILE_THREADS  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    meta_utils.safe_grad = _gradient_of_same_type  # type: ignore[assignment]


def let_dynamo_in(layer: torch.nn.Module) -> None:
    """Takes FSDP's mark off the modules of a layer.

    Dynamo refuses marked modules whose weights are views into a flat parameter, because FSDP exchanges them.
    Here the compiled function begins after FSDP has put them in place and ends before it takes them away; to
    it they are inputs like others.
    """
    for module in layer.modules():
        if getattr(module, "_is_fsdp_managed_module", False):
            module._is_fsdp_managed_module = False  # type: ignore[assignment]


_gradient = meta_utils.safe_grad


def _gradient_of_same_type(tensor: torch.Tensor) -> torch.Tensor | None:
    """What Dynamo learns about a weight's gradient: none where its type differs, which it cannot describe.

    FSDP sums the gradients of float32 weights in float32 while the flat parameter, which the weights are
    views into, is in bfloat16. A graph made between two micro-batches meets both; it reads no gradients.
    """
    gradient = _gradient(tensor)
    return gradient if gradient is None or gradient.dtype == tensor.dtype else None
