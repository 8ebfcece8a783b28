"""Triton kernels under ``azr.train.kernels.logprobs``: statistics of a chunk of logits in one read, its
gradient in one read and write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from azr.train.kernels.logprobs import Bend

BLOCK = 4096
NUM_WARPS = 8


@triton.jit
def _capped(x, cap):
    """``cap * tanh(x / cap)``; Triton has no tanh of its own."""
    return cap * (2.0 * tl.sigmoid(2.0 * x / cap) - 1.0)


@triton.jit(do_not_specialize=["out_stride"])  # another in each micro-batch
def _forward_kernel(
    logits, labels, out, row_stride, out_stride, vocabulary, scale, inverse_temperature, cap,
    CAPPED: tl.constexpr, BLOCK_: tl.constexpr
):  # fmt: skip
    """One row: running maximum m, sum of exp(x - m), and sum of (x - m) exp(x - m); entropy follows without
    cancellation."""
    row = tl.program_id(0).to(tl.int64)
    start_of_row = logits + row * row_stride
    maximum = -1e30  # finite: it is multiplied by a zero sum in the first round
    total = 0.0
    weighted = 0.0

    # One read of the row. Where a block brings a higher maximum, the sums so far are brought down to it: no exponent
    # is ever above 0, so nothing overflows.
    for start in range(0, vocabulary, BLOCK_):
        columns = start + tl.arange(0, BLOCK_)
        inside = columns < vocabulary
        x = tl.load(start_of_row + columns, mask=inside, other=0.0).to(tl.float32) * scale
        if CAPPED:
            x = _capped(x, cap)
        x = tl.where(inside, x * inverse_temperature, -float("inf"))
        higher = tl.maximum(maximum, tl.max(x, axis=0))
        shrink = tl.exp(maximum - higher)
        e = tl.exp(x - higher)
        # each x - m changes by (old m - new m), its weight by shrink
        weighted = (weighted + (maximum - higher) * total) * shrink + tl.sum(
            tl.where(inside, e * (x - higher), 0.0), axis=0
        )
        total = total * shrink + tl.sum(e, axis=0)
        maximum = higher

    logsumexp = maximum + tl.log(total)
    # the label's logit is read again: one value, against a comparison with every column
    label = tl.load(labels + row)
    chosen = tl.load(start_of_row + label).to(tl.float32) * scale
    if CAPPED:
        chosen = _capped(chosen, cap)
    chosen = chosen * inverse_temperature

    tl.store(out + row, logsumexp)
    tl.store(out + out_stride + row, chosen - logsumexp)
    # entropy = log-sum-exp - E[x] = log(total) - E[x - maximum], a difference of small numbers
    tl.store(out + 2 * out_stride + row, tl.log(total) - weighted / total)


@triton.jit
def _backward_kernel(
    logits, labels, logsumexp, entropy, grad_log_probs, grad_entropy, row_stride, vocabulary, scale, inverse_temperature, cap,
    CAPPED: tl.constexpr, BLOCK_: tl.constexpr
):  # fmt: skip
    """One block of one row: the logits are replaced by their gradient."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_ + tl.arange(0, BLOCK_)
    inside = columns < vocabulary
    place = logits + row * row_stride + columns
    x = tl.load(place, mask=inside, other=0.0).to(tl.float32) * scale
    slope = scale * inverse_temperature
    if CAPPED:
        x = _capped(x, cap)
        # the derivative of cap * tanh(x / cap) is 1 - tanh(x / cap)^2
        slope = slope * (1.0 - (x / cap) * (x / cap))

    # d log p(label) / dx = [x is the label's] - p, and dH / dx = -p (log p + H)
    log_p = tl.where(inside, x * inverse_temperature, -float("inf")) - tl.load(logsumexp + row)
    p = tl.exp(log_p)
    g = tl.load(grad_log_probs + row)
    h = tl.load(grad_entropy + row)
    gradient = -p * (g + h * (tl.where(inside, log_p, 0.0) + tl.load(entropy + row)))
    gradient += tl.where(columns == tl.load(labels + row), g, 0.0)
    # over the logit it was computed from: no second [C, V] exists
    tl.store(place, (gradient * slope).to(logits.dtype.element_ty), mask=inside)


def forward(logits: torch.Tensor, labels: torch.Tensor, bend: Bend, out: torch.Tensor) -> None:
    """``logits`` ``[C, V]`` of any float type (the products, not yet bent), ``labels`` int64 ``[C]`` -> ``out`` float32
    ``[3, C]``: log-sum-exp, log-prob, entropy."""
    assert logits.stride(1) == 1 and out.stride(1) == 1
    launch: Any = _forward_kernel[(len(logits),)]
    strides = logits.stride(0), out.stride(0)
    launch(logits, labels.contiguous(), out, *strides, logits.shape[1], *_numbers(bend), **_settings(bend))


def backward(
    logits: torch.Tensor,
    labels: torch.Tensor,
    bend: Bend,
    logsumexp: torch.Tensor,
    entropy: torch.Tensor,
    grad_log_probs: torch.Tensor,
    grad_entropy: torch.Tensor,
) -> torch.Tensor:
    """Replaces ``logits`` by their gradient and returns them.

    Args:
        logits: ``[C, V]`` as ``forward`` got them, computed again.
        labels: int64 ``[C]``.
        logsumexp, entropy: float32 ``[C]``, what ``forward`` wrote.
        grad_log_probs, grad_entropy: float32 ``[C]``, gradients of the loss by what ``forward`` wrote.
    """
    assert logits.stride(1) == 1
    vectors = [vector.contiguous() for vector in (labels, logsumexp, entropy, grad_log_probs, grad_entropy)]
    launch: Any = _backward_kernel[(len(logits), triton.cdiv(logits.shape[1], BLOCK))]
    launch(logits, *vectors, logits.stride(0), logits.shape[1], *_numbers(bend), **_settings(bend))
    return logits


def _numbers(bend: Bend) -> tuple[float, float, float]:
    return bend.scale, 1.0 / bend.temperature, bend.cap or 1.0


def _settings(bend: Bend) -> dict[str, Any]:
    return {"CAPPED": bend.cap is not None, "BLOCK_": BLOCK, "num_warps": NUM_WARPS}
