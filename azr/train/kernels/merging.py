"""A low-rank adapter added to its weight without being lost to rounding."""

from __future__ import annotations

import hashlib

import torch

from azr.train.kernels.optimizers import stochastic_bf16

SLICE = 1 << 23
"""Values merged at once: bounds the temporary memory, about 16 bytes each."""


@torch.no_grad()
def merged(
    weight: torch.Tensor,  # [out, in], any float type
    down: torch.Tensor,  # A [rank, in], float32 or bf16
    up: torch.Tensor,  # B [out, rank]
    scale: float,
    dtype: torch.dtype,
    generator: torch.Generator,
) -> torch.Tensor:
    """``weight + scale * up @ down``: ``[out, in]`` in ``dtype``, summed in float32; all on one device.

    In bfloat16 the sum is rounded stochastically: an adapter moves a weight by a hundredth of the distance to
    its neighbour in a step, and rounded to nearest the result would be the unchanged weight for dozens of
    steps. The weight counts as the trainer computes with it, in ``dtype``.
    """
    result = torch.empty_like(weight, dtype=dtype)
    rows = max(1, SLICE // weight.shape[1])
    for start in range(0, len(weight), rows):
        here = slice(start, start + rows)
        total = weight[here].to(dtype).float().addmm(up[here].float(), down.float(), alpha=scale)
        result[here] = stochastic_bf16(total, generator) if dtype == torch.bfloat16 else total
    return result


def rounding_seed(seed: int, step: int, name: str) -> int:
    """The same for the same run, step and layer, whoever merges."""
    digest = hashlib.blake2b(f"{seed}/{step}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
