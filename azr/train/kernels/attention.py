"""Causal attention inside each of several sequences packed into one row, without flash-attn and without a dense mask.

verl hands the model one row of tokens (batch 1) whose ``position_ids`` restart at 0 with every sequence. transformers'
own SDPA path turns that into a dense ``T x T`` mask: at 8,192 packed tokens most of the arithmetic is spent on pairs
that are masked out, and the mask alone is 64 MiB a layer. ``torch.nn.attention.varlen.varlen_attn`` (in torch since
2.10, forward and backward, grouped key/value heads as they are) needs only the sequence boundaries. It runs on a GPU in
bf16 or fp16; everything else (CPU, fp32) goes through SDPA, one sequence at a time, which is the same arithmetic.
Soft-capped scores (Gemma 2) are in neither; they are computed in blocks of queries (``capped_attention``), which is
slower and takes little memory.

``register()`` makes it known to transformers under ``IMPLEMENTATION``; a model takes it by
``attn_implementation="azr_packed"``. What is not covered is refused, never ignored: padded batches, caches
(generation is the engine's work), attention dropout, masks other than causal ones with or without a window,
and arguments this file does not know. ``tests/train/test_families.py`` holds every family in
``azr.models.families`` to its own eager attention.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.varlen import varlen_attn
from torch.utils.checkpoint import checkpoint
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from azr.errors import TrainingError

IMPLEMENTATION = "azr_packed"
FLASH_DTYPES = (torch.bfloat16, torch.float16)
FLASH_MAX_HEAD_DIM = 256
NO_BUSINESS_OF_ATTENTION = frozenset(
    {
        "cache_position", "cu_seq_lens_k", "logits_to_keep", "max_length_k", "num_items_in_batch", "output_attentions",
        "output_hidden_states", "position_embeddings", "return_dict", "use_cache",
    }
)  # fmt: skip
"""Arguments that models pass on to the attention function and that change nothing in it."""
CAPPED_BLOCK = 256
"""Queries whose soft-capped scores exist at once: 32 heads and 4,096 keys are 128 MiB."""
LONGEST_STEP = 4096
"""The kernel is given the longest length, rounded up to a multiple of this: the kernel takes 2 to 10 % longer
(``scripts/dev/bench_update.py --explain-time``), a hundredth of an update, and a compiled layer sees one number."""


def boundaries_of(position_ids: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Where packed sequences begin and end, by ``position_ids`` ``[B, T]``: one begins wherever the position is 0, as it is
    at the beginning of every row.

    Returns:
        int32 ``[N + 1]`` on the device of the tokens (0, end of the first sequence, ..., B * T), and the longest length.

    Raises:
        TrainingError: a row does not begin at position 0, so its first tokens would belong to no sequence.
    """
    flat = position_ids.reshape(-1)
    starts = torch.nonzero(flat == 0).flatten()
    boundaries = torch.cat([starts, starts.new_tensor([flat.numel()])])
    # waits for the card; pass_boundaries has it done once a forward pass, not once a layer
    on_host = boundaries.tolist()
    rows = range(0, flat.numel(), position_ids.shape[-1])
    if not set(rows) <= set(on_host[:-1]):
        raise TrainingError(
            "packed attention got position_ids that do not begin at 0; it needs whole sequences, packed from their first token"
        )
    return boundaries.to(torch.int32), max(end - start for start, end in pairwise(on_host))


def pass_boundaries(model: Any) -> None:
    """Has the boundaries found once a forward pass and handed to every layer, under the names that
    transformers' layers pass on.

    Finding them asks the GPU (one synchronisation), and a compiled layer could not do it without being cut in
    two. A caller that knows them hands them on itself, under the same names.

    Args:
        model: a causal language model of transformers, or one that peft wrapped.
    """
    model.get_decoder().register_forward_pre_hook(_add_boundaries, with_kwargs=True)


def _add_boundaries(
    _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    position_ids = kwargs.get("position_ids")
    if position_ids is None or kwargs.get("cu_seq_lens_q") is not None:
        return args, kwargs
    boundaries, longest = boundaries_of(position_ids)
    return args, {**kwargs, "cu_seq_lens_q": boundaries, "max_length_q": longest_rounded(longest)}


def longest_rounded(length: int) -> int:
    """The ``max_length_q`` of sequences that are no longer than this."""
    return -(-length // LONGEST_STEP) * LONGEST_STEP


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,  # [B, H, T, D]
    key: torch.Tensor,  # [B, H_kv, T, D]
    value: torch.Tensor,  # [B, H_kv, T, D]
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_ids: torch.Tensor | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    is_causal: bool | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int = 0,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls. Returns ``[B, T, H, D]`` and no weights.

    Boundaries are those that ``pass_boundaries`` handed on (``cu_seq_lens_q`` int32 ``[N + 1]``, ``max_length_q`` no
    sequence is longer than), or found from ``position_ids``; without either each row is one sequence.

    Raises:
        TrainingError: a mask, dropout, a key/value cache or something unknown was requested.
    """
    unknown = [
        name for name, value in others.items() if value is not None and name not in NO_BUSINESS_OF_ATTENTION
    ]
    if unknown:
        raise TrainingError(
            f"the attention of {_family(module)} takes {', '.join(unknown)}, which packed attention does not know; "
            "set train.packed_sequences=false (and train.compile_layers=false) for this model"
        )
    if is_causal is False or not getattr(module, "is_causal", True):
        raise TrainingError(
            f"the attention of {_family(module)} looks ahead (it is not causal), and only causal models can be trained"
        )
    if attention_mask is not None:
        raise TrainingError(
            "packed attention takes no mask; set train.packed_sequences=false to train on padded batches"
        )
    if dropout:
        raise TrainingError(
            f"packed attention has no dropout, but the model asks for attention_dropout={dropout}; set it to 0"
        )

    batch, heads, tokens, head_dim = query.shape
    if key.shape[2] != tokens:
        raise TrainingError(
            "packed attention got a key/value cache; it serves training only, call the model with use_cache=False"
        )

    if cu_seq_lens_q is None:
        if position_ids is None:  # each row is one sequence
            position_ids = torch.arange(tokens, device=query.device)
        cu_seq_lens_q, max_length_q = boundaries_of(torch.broadcast_to(position_ids, (batch, tokens)))

    # [B * T, heads, D]: rows of a batch are nothing but more sequences
    q = query.transpose(1, 2).reshape(batch * tokens, heads, head_dim)
    k = key.transpose(1, 2).reshape(batch * tokens, key.shape[1], head_dim)
    v = value.transpose(1, 2).reshape(batch * tokens, value.shape[1], value.shape[-1])

    if softcap is not None:
        capped: Any = capped_attention
        out = capped(q, k, v, cu_seq_lens_q, scaling, sliding_window, softcap)
    else:
        # Any: what torch.compiler.disable returns carries no useful type
        attend: Any = _flash if _has_flash(q) else _by_segment
        out = attend(q, k, v, cu_seq_lens_q, max_length_q, scaling, sliding_window)
    return out.reshape(batch, tokens, heads, v.shape[-1]), None


def _family(module: torch.nn.Module) -> str:
    return str(getattr(getattr(module, "config", None), "model_type", type(module).__name__))


def _has_flash(q: torch.Tensor) -> bool:
    head_dim = q.shape[-1]
    return q.is_cuda and q.dtype in FLASH_DTYPES and head_dim <= FLASH_MAX_HEAD_DIM and head_dim % 8 == 0


def _flash(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens: torch.Tensor,
    longest: int,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """torch's kernel: as ``capped_attention``, in bf16 or fp16; no sequence is longer than ``longest``."""
    left = -1 if window is None else window - 1  # transformers counts the token itself, torch does not
    out = varlen_attn(q, k, v, cu_seqlens, cu_seqlens, longest, longest, scale=scaling, window_size=(left, 0))
    assert isinstance(out, torch.Tensor)
    return out


@torch.compiler.disable  # as many calls as there are sequences: nothing to compile
def _by_segment(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens: torch.Tensor,
    longest: int,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """SDPA over one sequence at a time: no pair of different sequences is ever computed. Arguments and result
    as in ``capped_attention``."""
    del longest
    outputs = []
    lengths = cu_seqlens.diff().tolist()
    for q_s, k_s, v_s in zip(*(tensor.split(lengths) for tensor in (q, k, v)), strict=True):
        # without a mask SDPA may take a kernel that never writes the scores down
        cut_off = window is not None and window < len(q_s)
        mask = _visible(0, len(q_s), len(q_s), window, q.device) if cut_off else None
        out = F.scaled_dot_product_attention(
            q_s.transpose(0, 1)[None],  # [1, H, n, D]
            k_s.transpose(0, 1)[None],
            v_s.transpose(0, 1)[None],
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=q.shape[1] != k.shape[1],
        )
        outputs.append(out[0].transpose(0, 1))
    return torch.cat(outputs)


@torch.compiler.disable
def capped_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens: torch.Tensor,
    scaling: float | None,
    window: int | None,
    cap: float,
) -> torch.Tensor:
    """Attention whose scores are bent to ``cap * tanh(score / cap)`` before the softmax, as transformers'
    eager attention has it.

    A block of queries at a time, computed again in the backward pass, so that no more than one block of scores exists.

    Args:
        q: ``[T, H, D]``, any float type, rotated already; T counts all tokens of the packed row.
        k, v: ``[T, H_kv, D]`` of the same type; H is a multiple of H_kv.
        cu_seqlens: int32 ``[N + 1]``, see ``boundaries_of``.
        scaling: the products are multiplied by it; None: ``D ** -0.5``.
        window: keys that a query sees, itself among them; None: all before it.
        cap: limit of a scaled score.

    Returns:
        ``[T, H, D]`` in the type of ``q``; the softmax is float32.
    """
    scale = q.shape[-1] ** -0.5 if scaling is None else scaling
    outputs = []
    lengths = cu_seqlens.diff().tolist()
    for q_s, k_s, v_s in zip(*(tensor.split(lengths) for tensor in (q, k, v)), strict=True):
        for start in range(0, len(q_s), CAPPED_BLOCK):
            end = min(start + CAPPED_BLOCK, len(q_s))
            # keys before it are out of every window
            first = 0 if window is None else max(0, start - window + 1)
            seen = _visible(start - first, end - first, end - first, window, q.device)
            block = (q_s[start:end], k_s[first:end], v_s[first:end], seen, scale, cap)
            outputs.append(checkpoint(_capped_block, *block, use_reentrant=False))
    return torch.cat(outputs)


def _capped_block(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, seen: torch.Tensor, scale: float, cap: float
) -> torch.Tensor:
    """One block of queries ``[queries, H, D]`` against keys ``[keys, H_kv, D]``; ``seen`` bool ``[queries, keys]``."""
    groups = q.shape[1] // k.shape[1]  # query heads that share a key/value head
    k, v = (tensor.repeat_interleave(groups, dim=1) for tensor in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) * scale  # [H, queries, keys]
    scores = (torch.tanh(scores / cap) * cap).masked_fill(~seen, float("-inf"))
    return torch.einsum("hqk,khd->qhd", torch.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype), v)


def _visible(start: int, end: int, keys: int, window: int | None, device: torch.device) -> torch.Tensor:
    """Which of the first ``keys`` places the queries ``start .. end - 1`` see: bool ``[queries, keys]``."""
    distance = torch.arange(start, end, device=device)[:, None] - torch.arange(keys, device=device)[None, :]
    return distance >= 0 if window is None else (distance >= 0) & (distance < window)


def _no_mask(
    *_: Any,
    attention_mask: torch.Tensor | None = None,
    config: Any = None,
    local_size: int | None = None,
    use_vmap: bool = False,
    allow_is_bidirectional_skip: bool | None = None,
    **__: Any,
) -> None:
    """The mask function: packed attention needs none, and what it would not honour is refused.

    Raises:
        TrainingError: the batch is padded, or the mask is not a causal one with or without a window.
    """
    if attention_mask is not None and not bool(attention_mask.all()):
        raise TrainingError(
            "packed attention got a padded batch; set train.packed_sequences=false, or pack the sequences"
        )
    in_chunks = local_size is not None and local_size != getattr(config, "sliding_window", None)
    if in_chunks or use_vmap or allow_is_bidirectional_skip is not None:
        kind = "in chunks" if in_chunks else "of its own kind"
        raise TrainingError(
            f"{getattr(config, 'model_type', 'this model')} masks its attention {kind}, which packed attention does not know; "
            "set train.packed_sequences=false (and train.compile_layers=false) for this model"
        )


def register() -> str:
    """Makes the implementation known to transformers, once or again; returns its ``attn_implementation``."""
    ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, packed_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, _no_mask)
    return IMPLEMENTATION
