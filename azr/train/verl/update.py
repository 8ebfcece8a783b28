"""Forward and backward passes of an update over packed micro-batches, without the host waiting for the card.

verl's own loop reads some ten values back from the card in each micro-batch (two and more for each sequence, where it pads
the responses), moves each one's columns to the card by themselves, and reports every figure at once. The card then runs
dry: the backward pass is launched only when the forward pass is over, the next micro-batch only when its backward pass
is. Here everything that the micro-batches need goes to the card first, the loss is computed on the packed response
tokens, and the figures are read when all passes are launched. Loss, gradients and figures are verl's.
"""

from __future__ import annotations

import functools
import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id, get_device_name
from verl.utils.metric import AggregationType, Metric
from verl.utils.seqlen_balancing import rearrange_micro_batches
from verl.workers.utils.losses import ppo_loss

from azr.train.kernels.attention import longest_rounded
from azr.train.patches.masking import no_search_for_boundaries
from azr.train.patches.rows import counted_on, is_jagged, places_of_rows

logger = logging.getLogger(__name__)

SLOW_S = 5.0
"""A micro-batch that took the host longer is in the log."""
SUM, MEAN, MAX = AggregationType.SUM, AggregationType.MEAN, AggregationType.MAX
AGGREGATIONS = {
    "actor/pg_loss": SUM,
    "actor/entropy_loss": SUM,
    "actor/pg_clipfrac": MEAN,
    "actor/ppo_kl": MEAN,
    "actor/pg_clipfrac_lower": MEAN,
    "rollout_probs_diff_mean": SUM,
    "rollout_log_probs_diff_mean": SUM,
    "rollout_probs_diff_max": MAX,
}
"""How a figure of the micro-batches becomes one of the update."""
COLUMNS = (
    "input_ids", "position_ids", "prompts", "responses", "response_mask", "loss_mask", "old_log_probs", "advantages",
)  # fmt: skip
"""What an update reads of a batch; ``rollout_log_probs`` too, where the old log-probs are not the engine's."""


@dataclass(frozen=True)
class MicroBatch:
    """Whole sequences in one row of T tokens, R of them in responses; on the device that computes."""

    input_ids: torch.Tensor
    """int64 ``[1, T]``, as ``position_ids`` and ``labels`` (the token to score at each place)."""
    position_ids: torch.Tensor
    labels: torch.Tensor
    boundaries: torch.Tensor
    """int32 ``[N + 1]``: where the sequences begin and end."""
    longest: int
    """No sequence is longer."""
    rows: torch.Tensor
    """int64 ``[R]``: the places that are scored."""
    mask: torch.Tensor
    """float32 ``[R]``, as are the following: 1 for a token that counts."""
    advantages: torch.Tensor
    old_log_probs: torch.Tensor
    engines_log_probs: torch.Tensor


def policy_loss_config(engine: Any, data: Any, loss_function: Any) -> Any:
    """The configuration of verl's policy loss, where the update is of the kind that ``packed_passes`` knows; else None:
    verl's own loop then does it."""
    if not (isinstance(loss_function, functools.partial) and loss_function.func is ppo_loss):
        return None
    config = loss_function.keywords["config"]

    def flag(name: str) -> bool:
        return bool(tu.get_non_tensor_data(data=data, key=name, default=False))

    known = (
        flag("use_fused_kernels")
        and flag("use_remove_padding")
        and flag("use_dynamic_bsz")
        and flag("calculate_entropy")
        and not flag("return_model_output")
        and not (engine.use_ulysses_sp or engine.pad_to_length or getattr(engine, "scaler", None))
        and all(name in data.keys() and is_jagged(data[name]) for name in COLUMNS)  # noqa: SIM118  (a TensorDict)
        and not {"rollout_is_weights", "ref_log_prob"} & set(data.keys())
        and config.loss_agg_mode == "token-mean"
        and config.policy_loss.get("loss_mode", "vanilla") == "vanilla"
        and not config.use_kl_loss
    )
    return config if known else None


def packed_passes(engine: Any, data: Any, config: Any) -> dict[str, Any]:
    """verl's ``forward_backward_batch`` of a training step: the gradients of the whole batch.

    Returns:
        what that returns: ``loss`` of each micro-batch, ``metrics`` by name, and no ``model_output``.
    """
    replicas = engine.get_data_parallel_size()
    counted = data["loss_mask"].values().sum()
    if replicas > 1:
        counted = counted.to(get_device_name())
        torch.distributed.all_reduce(counted, group=engine.get_data_parallel_group())
    share = replicas / counted.item()  # of a token in the loss

    micro_batches = packed_micro_batches(engine, data)
    logger.info("update: %d micro-batches", len(micro_batches))
    dtype = getattr(engine, "_autocast_dtype", torch.bfloat16)
    figures = []
    for number, micro_batch in enumerate(micro_batches):
        last = number == len(micro_batches) - 1
        started_s = time.monotonic()
        autocast = nullcontext() if dtype == torch.float32 else torch.autocast(get_device_name(), dtype=dtype)
        with engine._gradient_sync_context(is_last_micro_batch=last):
            with autocast:
                log_probs, entropy = scored(engine.module, micro_batch, data["temperature"])
                loss, told = policy_loss(log_probs, entropy, micro_batch, config, share)
            loss.backward()
        seconds = time.monotonic() - started_s
        if seconds > SLOW_S:
            told_slow = "micro-batch %d of %d was launched in %.1f s; the first ones compile"
            logger.info(told_slow, number + 1, len(micro_batches), seconds)
        figures.append(torch.stack([loss.detach(), *told.values()]))
        names = list(told)

    by_micro_batch = torch.stack(figures).tolist()  # the one wait
    losses, *columns = ([*column] for column in zip(*by_micro_batch, strict=True))
    metrics = {name: Metric(AGGREGATIONS[name]) for name in names}
    for metric, column in zip(metrics.values(), columns, strict=True):
        metric.extend(column)
    return {"model_output": {}, "loss": losses, "metrics": metrics}


def packed_micro_batches(engine: Any, data: Any) -> list[MicroBatch]:
    """The batch cut as verl cuts it, all on the device."""
    cut = rows_of_micro_batches(
        data["input_ids"].offsets().diff(),
        tu.get_non_tensor_data(data=data, key="max_token_len_per_gpu", default=None),
        engine.get_data_parallel_group() if engine.get_data_parallel_size() > 1 else None,
    )
    engines = "rollout_log_probs" if "rollout_log_probs" in data.keys() else "old_log_probs"  # noqa: SIM118  (a TensorDict)
    return packed(data, cut, engines)


def rows_of_micro_batches(lengths: torch.Tensor, limit: int, group: Any) -> list[list[int]]:
    """Rows of each micro-batch, by verl's rule: of about equal work, none of more than ``limit`` tokens, and as many of them
    on each of the replicas in ``group``.

    verl also selects the columns of each one. It is given a batch without any: sequences that it has to measure by a
    mask, whose one column holds their lengths.
    """
    stand_in = TensorDict({"input_ids": lengths[:, None], "attention_mask": lengths[:, None]}, len(lengths))
    _, cut = rearrange_micro_batches(stand_in, max_token_len=limit, dp_group=group)
    return cut  # type: ignore[return-value]


def packed(columns: Any, cut: list[list[int]], engines: str) -> list[MicroBatch]:
    """Micro-batches of these rows, moved to the device together.

    Args:
        columns: the batch's ``COLUMNS``, on the host.
        engines: the column with the engine's log-probs.
    """
    chosen = np.concatenate(cut)
    ends = np.cumsum([len(rows) for rows in cut])[:-1]  # of each micro-batch but the last, among the rows

    def rows_of(name: str) -> tuple[list[np.ndarray], np.ndarray]:
        lengths, places = places_of_rows(columns[name].offsets().numpy(), chosen)
        return np.split(lengths, ends), places

    lengths, in_sequences = rows_of("input_ids")
    responses, in_responses = rows_of("responses")
    tokens, scored_tokens = ([int(part.sum()) for part in parts] for parts in (lengths, responses))
    ids, positions = (columns[name].values().numpy()[in_sequences] for name in ("input_ids", "position_ids"))
    labels = np.roll(ids, -1)  # the last token of a sequence is followed by none that is scored
    names = ("response_mask", "advantages", "old_log_probs", engines)
    floats = [columns[name].values().float().numpy()[in_responses] for name in names]
    places = [response_places(*pair) for pair in zip(lengths, responses, strict=True)]
    boundaries = [np.cumsum([0, *part], dtype=np.int32) for part in lengths]
    return [
        MicroBatch(*parts)
        for parts in zip(
            *(each.split(tokens, dim=1) for each in moved(np.stack([ids, positions, labels])[:, None])),
            map(moved, boundaries),  # each aligned, as compiled code expects it
            [longest_rounded(int(part.max())) for part in lengths],
            moved(np.concatenate(places)).split(scored_tokens),
            *(each.split(scored_tokens) for each in moved(np.stack(floats))),
            strict=True,
        )
    ]


def moved(values: np.ndarray) -> torch.Tensor:
    """On the device; nothing waits until it is there."""
    return torch.from_numpy(values).to(get_device_id(), non_blocking=True)


def response_places(lengths: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """Places in the packed row whose next token is a response token: int64 ``[R]``.

    The token at place i predicts the one at i + 1, so a response of n tokens at the end of its sequence is
    scored at the n places before its last.

    Args:
        lengths, responses: int64 ``[N]``, tokens of each sequence and of its response.
    """
    first = lengths.cumsum() - responses - 1  # [N] the place that predicts a response's first token
    return counted_on(first, responses)


def scored(module: Any, micro_batch: MicroBatch, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probs of the response tokens, and the entropies at their places: ``[R]`` each."""
    with no_search_for_boundaries():
        output = module(
            input_ids=micro_batch.input_ids,
            attention_mask=None,
            position_ids=micro_batch.position_ids,
            shift_labels=micro_batch.labels,
            rows=micro_batch.rows,
            temperature=temperature,
            cu_seq_lens_q=micro_batch.boundaries,
            max_length_q=micro_batch.longest,
            use_cache=False,
        )
    rows = micro_batch.rows
    return output.log_probs[0].index_select(0, rows), output.entropy[0].index_select(0, rows)


def policy_loss(
    log_probs: torch.Tensor, entropy: torch.Tensor, micro_batch: MicroBatch, config: Any, share: float
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """verl's clipped policy loss (``compute_policy_loss_vanilla``, token mean) less the entropy bonus, and its figures.

    Args:
        log_probs, entropy: ``[R]``.
        share: of a token in the mean over the whole batch.
    """
    mask, advantages = micro_batch.mask, micro_batch.advantages
    low = config.clip_ratio if config.clip_ratio_low is None else config.clip_ratio_low
    high = config.clip_ratio if config.clip_ratio_high is None else config.clip_ratio_high
    lower_bound = config.get("clip_ratio_c", 3.0)

    def total(values: torch.Tensor) -> torch.Tensor:
        return (torch.where(mask.bool(), values, 0.0) * mask).sum()

    moved = torch.clamp(log_probs - micro_batch.old_log_probs, min=-20.0, max=20.0)
    ratio = moved.exp()
    plain, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - low, 1 + high)
    larger = torch.maximum(plain, clipped)
    bound = -advantages * lower_bound  # a bad token that has become likely counts no more than this
    losses = torch.where(advantages < 0, torch.minimum(bound, larger), larger)
    policy, mean_entropy = total(losses) * share, total(entropy) * share
    loss = policy - config.entropy_coeff * mean_entropy

    with torch.no_grad():
        count = mask.sum() + 1e-8
        told = {
            "actor/pg_loss": policy,
            "actor/entropy_loss": mean_entropy,
            "actor/pg_clipfrac": total((clipped > plain).float()) / count,
            "actor/ppo_kl": total(-moved) / count,
            "actor/pg_clipfrac_lower": total((larger > bound) * (advantages < 0).float()) / count,
            **difference_from_engine(log_probs, micro_batch.engines_log_probs, mask, share),
        }
    return loss, told


@torch.no_grad()
def difference_from_engine(
    log_probs: torch.Tensor, engines: torch.Tensor, mask: torch.Tensor, share: float
) -> dict[str, torch.Tensor]:
    """|p_trainer - p_engine| of the response tokens: this micro-batch's part of the mean over the whole batch, and the
    largest; and the mean of the log-probs' difference, as other trainers report it.

    Args:
        log_probs, engines, mask: ``[R]``; the mask is 1 for a token that counts.
        share: of a token in the mean.
    """
    trainers, engines = log_probs.float(), engines.float()
    difference = (trainers.exp() - engines.exp()).abs() * mask
    return {
        "rollout_probs_diff_mean": difference.sum() * share,
        "rollout_log_probs_diff_mean": ((trainers - engines).abs() * mask).sum() * share,
        "rollout_probs_diff_max": difference.max(),
    }
