"""The Triton kernel under ``azr.train.kernels.optimizers.AdamW8bit``: one step in one pass over weights,
gradient and moments."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from azr.train.kernels.optimizers import BLOCK

ROWS = 8
"""Blocks handled by one program."""


@triton.jit
def _round(magnitude, levels: tl.constexpr, uniform):
    """Code of ``magnitude`` (0 to 1) on the quadratic grid, rounded stochastically and without bias."""
    squared = magnitude * (levels * levels)
    low = tl.floor(tl.sqrt(squared))
    chance = (squared - low * low) / (2 * low + 1)
    return tl.minimum(low + tl.where(uniform < chance, 1.0, 0.0), levels)


@triton.jit(do_not_specialize=["seed"])  # another in each step
def _adamw_kernel(
    weights, gradient, first, first_scale, second, second_scale, count,
    lr, beta1, beta2, eps, decay, correct1, correct2, largest, seed,
    BLOCK_: tl.constexpr, ROWS_: tl.constexpr, IS_BF16: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS_ + tl.arange(0, ROWS_)  # [R] block numbers
    places = rows[:, None] * BLOCK_ + tl.arange(0, BLOCK_)[None, :]  # [R, BLOCK]
    inside = places < count
    in_rows = rows * BLOCK_ < count

    # bytes to moments: (code / levels)^2 of the block's scale; of the second moment its root r
    w = tl.load(weights + places, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(gradient + places, mask=inside, other=0.0).to(tl.float32)
    m_share = tl.load(first + places, mask=inside, other=0).to(tl.float32) / 127.0
    r_share = tl.load(second + places, mask=inside, other=0).to(tl.float32) / 255.0
    m = m_share * tl.abs(m_share) * tl.load(first_scale + rows, mask=in_rows, other=0.0)[:, None]
    r = r_share * r_share * tl.load(second_scale + rows, mask=in_rows, other=0.0)[:, None]

    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * r * r + (1.0 - beta2) * g * g
    r = tl.sqrt(v)
    ratio = m * correct1 / (r * correct2 + eps)
    ratio = tl.minimum(tl.maximum(ratio, -largest), largest)
    w = w * (1.0 - lr * decay) - lr * ratio

    random1, random2, random3, _ = tl.randint4x(seed, places.to(tl.int32))  # type: ignore[misc]  (traced by Triton)
    to_unit = 1.0 / 16777216.0
    if IS_BF16:  # see optimizers.stochastic_bf16
        bits = w.to(tl.int32, bitcast=True) + (random1.to(tl.int32) & 0xFFFF)
        w = (bits & -65536).to(tl.float32, bitcast=True)
    tl.store(weights + places, w.to(weights.dtype.element_ty), mask=inside)

    m_scale = tl.max(tl.abs(m), axis=1)
    r_scale = tl.max(r, axis=1)
    u2 = (random2.to(tl.int32) & 0xFFFFFF).to(tl.float32) * to_unit
    u3 = (random3.to(tl.int32) & 0xFFFFFF).to(tl.float32) * to_unit
    m_code = _round(tl.abs(m) / tl.maximum(m_scale, 1e-38)[:, None], 127, u2)
    r_code = _round(r / tl.maximum(r_scale, 1e-38)[:, None], 255, u3)
    # never rounded to zero, by which the next step would divide
    r_code = tl.where(r > 0, tl.maximum(r_code, 1.0), r_code)
    tl.store(first + places, tl.where(m < 0, -m_code, m_code).to(tl.int8), mask=inside)
    tl.store(second + places, r_code.to(tl.uint8), mask=inside)
    tl.store(first_scale + rows, m_scale, mask=in_rows)
    tl.store(second_scale + rows, r_scale, mask=in_rows)


def adamw_step(
    weights: torch.Tensor,
    gradient: torch.Tensor,
    first: torch.Tensor,
    first_scale: torch.Tensor,
    second: torch.Tensor,
    second_scale: torch.Tensor,
    constants: tuple[float, ...],
    seed: int,
) -> None:
    """Updates weights and moments in place, for n weights on one card.

    Args:
        weights: bf16 or fp32 ``[n]``, contiguous.
        gradient: ``[n]`` of the same type.
        first, second: int8 and uint8 ``[n]``, bytes of the moments.
        first_scale, second_scale: float32 ``[ceil(n / BLOCK)]``, scale of each block.
        constants: of ``azr.train.kernels.optimizers._constants``.
        seed: of the rounding.
    """
    count = weights.numel()
    launch: Any = _adamw_kernel[(triton.cdiv(triton.cdiv(count, BLOCK), ROWS),)]
    launch(
        weights, gradient.contiguous(), first, first_scale, second, second_scale, count, *constants, seed,
        BLOCK_=BLOCK, ROWS_=ROWS, IS_BF16=weights.dtype == torch.bfloat16, num_warps=4,
    )  # fmt: skip
