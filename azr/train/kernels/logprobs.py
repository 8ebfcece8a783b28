"""Log-probabilities and entropy of given tokens, without ever holding the logits of the whole sequence.

A 151,936-word vocabulary makes logits the largest tensor of training: 8,192 tokens are 2.3 GiB in bf16, and a plain
implementation holds them in bf16, in fp32 and as a gradient, 11.6 GiB. Here the output head runs over ``chunk_tokens``
tokens at a time, in the backward pass again, so that one chunk of logits exists at any moment; of the forward pass two
numbers a token are kept. Rows that no loss looks at (prompt tokens) are left out altogether by ``rows``.

On a GPU the passes over a chunk are two small Triton kernels (``logprob_kernels``), one read for the statistics and one
read and write for the gradient; elsewhere they are plain torch operations. Logits are products in the model's own
precision, as the engine computes them; sums over the vocabulary, and the head's gradient over chunks, are float32.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any

import torch

from azr.errors import ModelError

DEFAULT_CHUNK_TOKENS = 1024


@dataclass(frozen=True)
class Bend:
    """What is done to the products of hidden states and output head before the softmax."""

    scale: float = 1.0
    cap: float | None = None
    temperature: float = 1.0

    def logits(self, products: torch.Tensor) -> torch.Tensor:
        """float32 logits ``[C, V]`` of products ``[C, V]`` of any float type."""
        scaled = products.float() * self.scale
        if self.cap is not None:
            scaled = self.cap * torch.tanh(scaled / self.cap)
        return scaled / self.temperature

    def slope(self, logits: torch.Tensor) -> torch.Tensor | float:
        """Derivative of a logit by its product, given the logits ``[C, V]`` in float32: as many values, or one
        number where nothing caps them."""
        slope = self.scale / self.temperature
        return slope if self.cap is None else slope * (1 - (logits * self.temperature / self.cap) ** 2)


def token_logprobs(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    *,
    temperature: float = 1.0,
    scale: float = 1.0,
    cap: float | None = None,
    vocabulary: int | None = None,
    chunk_tokens: int = DEFAULT_CHUNK_TOKENS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of each label and entropy of each distribution, both differentiable.

    Args:
        hidden: last hidden states ``[T, D]``, any float type; the products are computed in it.
        weight: the output head ``[V, D]``, of any float type.
        labels: token ids, int64 ``[T]``.
        temperature: the logits are divided by it.
        scale: the products are multiplied by it before anything else (Granite, Cohere).
        cap: the scaled logits are bent to ``cap * tanh(logit / cap)`` (Gemma 2); None leaves them.
        vocabulary: rows of the head from there on belong to no token and are left out, as the engine leaves them out.
        chunk_tokens: rows whose logits exist at once; ``chunk_tokens * V`` elements.

    Returns:
        ``(log_probs, entropy)``, float32 ``[T]`` each, in nats.
    """
    bend = Bend(float(scale), None if cap is None else float(cap), float(temperature))
    words = len(weight) if vocabulary is None else min(vocabulary, len(weight))
    return _TokenLogProbs.apply(hidden, weight, labels, bend, words, int(chunk_tokens))  # type: ignore[return-value]


class _TokenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        labels: torch.Tensor,
        bend: Bend,
        words: int,
        chunk: int,
    ) -> Any:
        # The logits of a chunk live as long as the loop's body; of each row three numbers are kept.
        with torch.autocast(hidden.device.type, enabled=False):
            head = weight[:words].to(hidden.dtype)
            # log-sum-exp, log-prob, entropy
            statistics = torch.empty(3, len(hidden), dtype=torch.float32, device=hidden.device)
            for rows in _chunks(len(hidden), chunk):
                logits = hidden[rows] @ head.T  # [C, V]
                _forward_chunk(logits, labels[rows], bend, statistics[:, rows])
                del logits
        logsumexp, log_probs, entropy = statistics.unbind()
        ctx.save_for_backward(hidden, weight, labels, logsumexp, entropy)
        ctx.bend, ctx.words, ctx.chunk = bend, words, chunk
        return log_probs, entropy.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        # of an output that no loss uses the gradient is zero
        grad_log_probs, grad_entropy = (gradient.float().contiguous() for gradient in gradients)
        hidden, weight, labels, logsumexp, entropy = ctx.saved_tensors

        with torch.autocast(hidden.device.type, enabled=False):
            head = weight[: ctx.words].to(hidden.dtype)
            grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
            # float32: in bf16 a sum over many chunks would stop growing
            grad_head: torch.Tensor | None = None
            if ctx.needs_input_grad[1]:
                grad_head = torch.zeros(weight.shape, dtype=torch.float32, device=head.device)
            # the logits are computed a second time, which costs less than keeping [T, V] of them
            for rows in _chunks(len(hidden), ctx.chunk):
                logits = hidden[rows] @ head.T  # [C, V]
                state = (logsumexp[rows], entropy[rows], grad_log_probs[rows], grad_entropy[rows])
                grad_logits = _backward_chunk(logits, labels[rows], ctx.bend, *state)
                del logits
                if grad_hidden is not None:
                    torch.mm(grad_logits, head, out=grad_hidden[rows])
                if grad_head is not None:
                    _add_product(grad_head[: ctx.words], grad_logits, hidden[rows])
                del grad_logits
        return grad_hidden, None if grad_head is None else grad_head.to(weight.dtype), None, None, None, None


def _chunks(total: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, total)) for start in range(0, total, size)]


def _forward_chunk(logits: torch.Tensor, labels: torch.Tensor, bend: Bend, out: torch.Tensor) -> None:
    """Writes log-sum-exp, log-prob and entropy of each row of ``logits`` ``[C, V]`` into ``out``, float32 ``[3, C]``;
    ``labels`` int64 ``[C]``."""
    if logits.is_cuda:
        from azr.train.kernels.logprob_kernels import forward

        forward(logits, labels, bend, out)
        return
    scaled = bend.logits(logits)
    logsumexp = torch.logsumexp(scaled, dim=-1)
    log_p = scaled - logsumexp[:, None]
    out[0] = logsumexp
    out[1] = log_p.gather(1, labels[:, None])[:, 0]
    out[2] = -(log_p.exp() * log_p).sum(-1)


def _backward_chunk(
    logits: torch.Tensor,
    labels: torch.Tensor,
    bend: Bend,
    logsumexp: torch.Tensor,
    entropy: torch.Tensor,
    grad_log_probs: torch.Tensor,
    grad_entropy: torch.Tensor,
) -> torch.Tensor:
    """Gradient of the logits ``[C, V]``: ``g (onehot - p) - h p (log p + H)``; on a GPU it replaces ``logits``.
    The other tensors as in ``logprob_kernels.backward``."""
    if logits.is_cuda:
        from azr.train.kernels.logprob_kernels import backward

        return backward(logits, labels, bend, logsumexp, entropy, grad_log_probs, grad_entropy)
    scaled = bend.logits(logits)
    log_p = scaled - logsumexp[:, None]
    p = log_p.exp()
    gradient = -p * (grad_log_probs[:, None] + grad_entropy[:, None] * (log_p + entropy[:, None]))
    gradient.scatter_add_(1, labels[:, None], grad_log_probs[:, None])
    return (gradient * bend.slope(scaled)).to(logits.dtype)


def _add_product(total: torch.Tensor, grad_logits: torch.Tensor, hidden: torch.Tensor) -> None:
    """``total += grad_logits.T @ hidden``, float32 sum ``[V, D]`` of possibly bf16 factors ``[C, V]`` and ``[C, D]``."""
    if grad_logits.dtype == total.dtype:
        total.addmm_(grad_logits.T, hidden)
    elif total.is_cuda:
        torch.ops.aten.addmm.dtype_out(total, grad_logits.T, hidden, torch.float32, out=total)
    else:
        total.add_((grad_logits.T @ hidden).float())


@dataclass
class ChunkedOutput:
    """What the patched model returns, under the names that verl's engine reads."""

    log_probs: torch.Tensor
    """float32 ``[B, T]``: log-probability of ``shift_labels`` at each position; 0 in rows that were left out."""
    entropy: torch.Tensor
    """float32 ``[B, T]``, in nats; 0 there too."""


def install_chunked_logprobs(
    model: Any, chunk_tokens: int = DEFAULT_CHUNK_TOKENS, vocabulary: int | None = None
) -> None:
    """Gives a transformers causal language model a ``forward`` that returns ``ChunkedOutput`` instead of logits.

    verl's engine calls it so where ``use_fused_kernels`` is on. The method is bound to this instance; the
    class is untouched.

    Args:
        vocabulary: tokens that the tokenizer knows. Heads are often padded beyond, and verl has the engine
            sample none of those rows.

    Raises:
        ModelError: the model bends its logits in a way this head does not know.
    """
    bend = _bend_of(model.config)
    has_bias = getattr(model.get_output_embeddings(), "bias", None) is not None
    if has_bias or not _is_the_models_own(model, bend):
        kind: Any = model.config
        raise ModelError(
            f"the output head of {kind.model_type} is more than a product with one matrix (a bias, or a scale that is not known here); "
            "set train.chunked_logprobs=false for this model"
        )
    model._azr_head = {
        "scale": bend.scale,
        "cap": bend.cap,
        "vocabulary": vocabulary,
        "chunk_tokens": chunk_tokens,
    }
    model.forward = types.MethodType(_chunked_forward, model)


def _bend_of(config: Any) -> Bend:
    divisor = getattr(config, "logits_scaling", None)  # Granite divides by it
    factor = getattr(config, "logit_scale", None)  # Cohere multiplies with it
    scale = (1.0 if factor is None else float(factor)) / (1.0 if divisor is None else float(divisor))
    return Bend(scale, getattr(config, "final_logit_softcapping", None))


@torch.no_grad()
def _is_the_models_own(model: Any, bend: Bend) -> bool:
    """Whether the model makes the same logits of the same hidden states: its layers are left out for one call."""
    from transformers.modeling_outputs import BaseModelOutputWithPast

    weight, layers = model.get_output_embeddings().weight, model.base_model
    if weight.is_meta:  # another process of the same model has looked
        return True
    if layers is model:  # where its layers end is not known
        return False
    generator = torch.Generator().manual_seed(0)

    # Random hidden states instead of the layers' own: this is about what comes behind them.
    hidden = torch.randn(1, 4, weight.shape[1], generator=generator).to(weight.device, weight.dtype)
    layers.forward = lambda *_, **__: BaseModelOutputWithPast(last_hidden_state=hidden)  # type: ignore[arg-type]
    try:
        ids = torch.zeros(1, 4, dtype=torch.long, device=weight.device)
        theirs = model(input_ids=ids, use_cache=False).logits[0].float()
    finally:
        del layers.forward  # the class's own again
    ours = bend.logits(hidden[0] @ weight.T)
    differ = bool((ours - theirs).abs().max() > 0.02 * theirs.abs().max() + 1e-6)
    return not differ  # NaN does not: its weights are to blame for it, and require_sound_weights names them


def _chunked_forward(
    self: Any,
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
    *,
    shift_labels: torch.Tensor | None = None,
    rows: torch.Tensor | None = None,
    temperature: float = 1.0,
    return_dict: bool | None = None,
    **kwargs: Any,
) -> ChunkedOutput:
    """What ``install_chunked_logprobs`` puts in place of the model's ``forward``; verl's engine calls it, with B = 1 where
    sequences are packed.

    Args:
        input_ids, position_ids: int64 ``[B, T]``; ``attention_mask``: ``[B, T]``, None for packed sequences.
        shift_labels: int64 ``[B, T]``, the token to score at each place; None: the next of ``input_ids``.
        rows: int64 ``[R]``, the places among all ``B * T`` that matter (``packed.scored_rows``); None: all.
    """
    del return_dict  # verl asks for it; there is only one kind of output here
    outputs = self.base_model(
        input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, **kwargs
    )
    hidden = outputs.last_hidden_state  # [B, T, D]

    if shift_labels is None:
        assert input_ids is not None
        shift_labels = torch.roll(input_ids, shifts=-1, dims=-1)
    shape, flat, labels = hidden.shape[:-1], hidden.flatten(0, 1), shift_labels.reshape(-1).long()
    weight = self.get_output_embeddings().weight

    # Prompt tokens are not part of the loss: their logits are two thirds of the head's work, and are left out.
    if rows is None:
        log_probs, entropy = token_logprobs(flat, weight, labels, temperature=temperature, **self._azr_head)
    else:
        scored = token_logprobs(flat[rows], weight, labels[rows], temperature=temperature, **self._azr_head)
        log_probs, entropy = (
            torch.zeros(len(flat), device=flat.device).index_copy(0, rows, values) for values in scored
        )
    return ChunkedOutput(log_probs.view(shape), entropy.view(shape))
