"""Int4 weights: symmetric, with a scale for each group of inputs of each output.

The layout is that of compressed-tensors (``pack-quantized``), which engines read: value ``i`` of a word lies
in its bits ``4 i`` to ``4 i + 3``, eight above what it stands for.

    weight  [out, in]  bfloat16   = (value - 8) * scale, rounded to bfloat16 once
    words   [out, in / 8]  int32
    scales  [out, in / group]  bfloat16

This product *is* the quantised model: trainer, engine and export multiply by the same bfloat16 numbers.
"""

from __future__ import annotations

import torch

from azr.models.quantised import GROUP

PER_WORD = 8
CANDIDATES = tuple((61 + 3 * step) / 100 for step in range(19))
"""Scales that are tried, as shares of the one that takes a group's largest value to -8. Below 1 that value is
cut off, and the others are rounded more finely."""
BLOCK = 1 << 19
"""Weights looked at together: what is computed of them stays in the processor's cache."""
SMALLEST_SCALE = 2.0**-120
"""Whose inverse is a number."""


def pack_int4(values: torch.Tensor) -> torch.Tensor:
    """Values of -8 to 7, int8 ``[out, in]`` with ``in`` a multiple of 8 -> words, int32 ``[out, in / 8]``."""
    pairs = (values + 8).to(torch.uint8).unflatten(-1, (-1, 2))
    return (pairs[..., 0] | pairs[..., 1] << 4).view(torch.int32)


def unpack_int4(words: torch.Tensor) -> torch.Tensor:
    """Words of any type of at least a byte, ``[out, bytes]`` -> values of -8 to 7, int8 ``[out, in]``."""
    pairs = words.view(torch.uint8)
    return torch.stack((pairs & 15, pairs >> 4), dim=-1).flatten(-2).view(torch.int8).sub_(8)


def dequantise(words: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The bfloat16 weight ``[out, in]``; three bytes a weight in all while it is made.

    Args:
        words: ``[out, bytes]``; FSDP holds them under another type, and their bits are what counts.
        scales: ``[out, groups]``, of any type that holds their bfloat16 values.
    """
    weight = unpack_int4(words).to(torch.bfloat16)
    weight.unflatten(-1, (scales.shape[1], -1)).mul_(scales.to(torch.bfloat16).unsqueeze(-1))
    return weight


@torch.no_grad()
def quantise(weight: torch.Tensor, group: int = GROUP) -> tuple[torch.Tensor, torch.Tensor]:
    """Words and scales of a weight ``[out, in]``; of each group the scale with the least squared error among
    ``CANDIDATES``. No data is needed.

    Scales may be negative. Int4 reaches from -8 to 7, and the sign lets the value of largest magnitude use
    the longer side: a tenth less squared error than positive scales have, with normally distributed weights.

    ``in`` is a multiple of ``group``, and every weight is finite.
    """
    outputs, inputs = weight.shape
    words = torch.empty(outputs, inputs // PER_WORD, dtype=torch.int32, device=weight.device)
    scales = torch.empty(outputs, inputs // group, dtype=torch.bfloat16, device=weight.device)
    rows = max(1, BLOCK // inputs)
    for start in range(0, outputs, rows):
        block = weight[start : start + rows].float().unflatten(-1, (-1, group))  # [rows, groups, group]
        scale = _best_scale(block)
        values = _rounded(block, scale).to(torch.int8).flatten(-2)
        words[start : start + rows] = pack_int4(values)
        scales[start : start + rows] = scale.squeeze(-1)
    return words, scales


def _best_scale(block: torch.Tensor) -> torch.Tensor:
    """float32 with bfloat16 values: ``[rows, groups, 1]``."""
    largest = block.gather(-1, block.abs().argmax(-1, keepdim=True)) / -8
    best = least = torch.empty(0)
    for share in CANDIDATES:
        scale = (largest * share).bfloat16().float()
        error = (_rounded(block, scale) * scale - block).square_().sum(-1, keepdim=True)
        if not least.numel():
            best, least = scale, error
            continue
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return best


def _rounded(block: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The nearest values; 0 where the scale is next to 0 (a group of zeros)."""
    inverse = torch.where(scale.abs() > SMALLEST_SCALE, 1 / scale, 0.0)
    return (block * inverse).round_().clamp_(-8, 7)
