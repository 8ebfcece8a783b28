"""Changes to verl and vLLM on a machine without a GPU, so that new weights can be sent to an engine, and tokens are drawn
cheaply."""

from __future__ import annotations

import sys
from typing import Any

import torch

from azr.train.cpu.linear import linear


def keep_plain_linear_weights() -> None:
    """Makes vLLM's CPU build keep ordinary linear weights, so that they can be updated.

    After loading, it replaces them by packed copies (oneDNN or AMX kernels); a later weight update then fails
    with ``'Parameter' object has no attribute 'weight_loader'``. Only the process that holds the model
    imports these layers, so this does nothing elsewhere.
    """
    import vllm.model_executor.layers.utils as layer_utils

    def dispatch(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = linear

    layer_utils.dispatch_cpu_unquantized_gemm = dispatch


def receive_weights_as_copies() -> None:
    """Makes verl's weight receiver hand out copies of what is in shared memory.

    On a GPU the receiver copies from the segment to the card. On a CPU its ``.to(device)`` is a view, and
    closing the segment while a tensor still views it raises ``BufferError``.
    """
    from verl.workers.rollout.vllm_rollout import bucketed_weight_transfer as transfer

    receiver: Any = transfer.BucketedWeightReceiver
    original = receiver.receive_weights

    def receive_weights(self: Any, on_bucket_received: Any) -> Any:
        def on_copies(weights: list[tuple[str, torch.Tensor]], is_last: bool) -> Any:
            return on_bucket_received([(name, tensor.clone()) for name, tensor in weights], is_last)

        return original(self, on_copies)

    receiver.receive_weights = receive_weights


def one_number_for_each_token(logits: torch.Tensor) -> torch.Tensor:
    """Draws a token of each row's softmax: [rows, vocabulary] -> [rows].

    The place of a uniform number in the cumulative distribution. vLLM's exponential noise needs a number for every
    word of the vocabulary, drawn by one thread: as long as a forward pass of the bundled model on two.
    """
    cumulative = logits.softmax(dim=-1, dtype=torch.float32).cumsum(dim=-1)
    total = cumulative[:, -1:]
    drawn = torch.rand(len(logits), 1) * total
    # rounding may end at the total, beyond the last word that can be drawn
    drawn = torch.minimum(drawn, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, drawn, right=True).view(-1)


def draw_tokens_cheaply() -> None:
    """For requests without a generator of their own."""
    import vllm.v1.sample.ops.topk_topp_sampler as sampler

    sampler.compiled_random_sample = one_number_for_each_token


def apply() -> None:
    """Applies what this process needs. verl imports its plugins after vLLM in the engine's worker process,
    before it elsewhere."""
    if "vllm" in sys.modules:
        keep_plain_linear_weights()
        draw_tokens_cheaply()
        receive_weights_as_copies()
