"""One product of the engine's int4 kernel against torch, on this machine's card.

    python -m azr.train.quantize.kernel_check

Prints a line of JSON: what was measured, or why int4 models cannot be served here.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch

from azr.errors import TrainingError
from azr.train.quantize.int4 import GROUP, dequantise, pack_int4

OLDEST = (8, 0)
"""Compute capability from which on the kernel multiplies bfloat16."""
LARGEST_ERROR = 0.01
"""Relative, on average. The result's own rounding to bfloat16 makes 0.0014; a wrong layout 1.4."""


@dataclass(frozen=True)
class KernelCheck:
    device: str
    capability: str
    outputs: int
    inputs: int
    rows: int
    error: float
    """Mean difference from torch over the mean magnitude."""
    torch_error: float
    """The same of torch's own product with the dequantised bfloat16 matrix."""
    different_weights: float
    """Share of weights that the kernel reads off otherwise than ``dequantise``, 0 to 1."""


def require_kernel() -> None:
    """
    Raises:
        TrainingError: the card is too old, or this vLLM has no int4 kernel for it.
    """
    if not torch.cuda.is_available():
        raise TrainingError("int4 models are served on an NVIDIA GPU, and torch finds none here")
    found = torch.cuda.get_device_capability()
    if found < OLDEST:
        raise TrainingError(
            f"{torch.cuda.get_device_name()} has compute capability {found[0]}.{found[1]}, and int4 models need 8.0 (Ampere, "
            "from 2020 on); choose a recipe with a bfloat16 base"
        )
    from vllm import _custom_ops  # noqa: F401  (registers the kernels)

    missing = [name for name in ("marlin_gemm", "gptq_marlin_repack") if not hasattr(torch.ops._C, name)]
    if missing:
        raise TrainingError(
            f"this vLLM was built without {missing[0]}, the kernel for int4 models; install the pinned set again "
            "(scripts/setup.sh), or choose a recipe with a bfloat16 base"
        )


@torch.no_grad()
def check_kernel(outputs: int = 1152, inputs: int = 896, rows: int = 33) -> KernelCheck:
    """
    Raises:
        TrainingError: the kernel is missing, or computes something else than torch.
    """
    require_kernel()
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(-8, 8, (outputs, inputs), dtype=torch.int8, generator=generator)
    scales = torch.randn(outputs, inputs // GROUP, generator=generator).mul_(0.2 / inputs**0.5).bfloat16()
    x, bias = (torch.randn(n, generator=generator) for n in ((rows, inputs), (outputs,)))
    parts = (pack_int4(values), scales, x.bfloat16(), bias.bfloat16())
    words, scales, x, bias = (part.cuda() for part in parts)

    multiply = _marlin(words, scales, bias)
    weight = dequantise(words, scales)
    exact = x.double() @ weight.double().T + bias.double()
    size = exact.abs().mean()
    error = float((multiply(x) - exact).abs().mean() / size)
    torch_error = float((torch.nn.functional.linear(x, weight, bias) - exact).abs().mean() / size)
    # a unit vector picks a weight, and nothing is added to it
    unit = torch.eye(inputs, dtype=x.dtype, device="cuda")
    read = _marlin(words, scales, torch.zeros_like(bias))(unit)
    different = float((weight != read.T).double().mean())
    major, minor = torch.cuda.get_device_capability()
    result = KernelCheck(
        torch.cuda.get_device_name(), f"{major}.{minor}", outputs, inputs, rows, error, torch_error, different
    )
    if not error < LARGEST_ERROR:
        raise TrainingError(
            f"the int4 kernel of this vLLM is wrong on {result.device}: its product differs from torch's by {error:.1%} on "
            "average. Choose a recipe with a bfloat16 base"
        )
    return result


def _marlin(words: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor) -> Any:
    """The product as vLLM calls it, over weights arranged as it arranges them."""
    from vllm import _custom_ops as ops
    from vllm.model_executor.layers.quantization.utils import marlin_utils as marlin
    from vllm.scalar_type import scalar_types

    outputs, inputs = words.shape[0], words.shape[1] * 8
    nothing = marlin.marlin_make_empty_g_idx(words.device)
    weight = ops.gptq_marlin_repack(words.T.contiguous(), nothing, inputs, outputs, 4)
    weight_scale = marlin.marlin_permute_scales(scales.T.contiguous(), inputs, outputs, GROUP)
    settings = {
        "weight": weight,
        "weight_scale": weight_scale,
        "weight_zp": nothing,
        "g_idx": nothing,
        "g_idx_sort_indices": nothing,
        "workspace": marlin.marlin_make_workspace_new(words.device),
        "wtype": scalar_types.uint4b8,
        "output_size_per_partition": outputs,
        "input_size_per_partition": inputs,
        "is_k_full": True,
        "bias": marlin.marlin_permute_bias(bias),
    }
    return lambda x: marlin.apply_gptq_marlin_linear(x, **settings)


def main() -> int:
    try:
        print(json.dumps({"result": asdict(check_kernel())}), flush=True)
    except TrainingError as error:
        print(json.dumps({"wrong": str(error)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
