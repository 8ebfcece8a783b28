"""The cheapest change of settings that makes a configuration fit."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from azr.config import Config, with_key


@dataclass(frozen=True)
class Change:
    """Settings that would make it fit, and what they cost."""

    settings: tuple[str, ...]
    """Overrides for the command line."""
    cost: str


def touches(settings: Sequence[str], kept: Collection[str]) -> bool:
    return any(item.partition("=")[0] in kept for item in settings)


def cheapest_change(
    config: Config, kept: Collection[str], missing_gib: Callable[[Config], float]
) -> Change | None:
    """The cheapest rank of changes that is enough: one of that rank alone, else all that help up to that
    rank, added up; None where nothing here is enough.

    Args:
        kept: keys that no change may touch.
        missing_gib: what a configuration lacks of all resources together; 0 where it fits.
    """
    changes = [change for change in _changes(config) if not touches(change[1], kept)]
    for rank in sorted({rank for rank, _, _ in changes}):
        for each, settings, cost in changes:
            if each == rank and missing_gib(_with(config, settings)) <= 0:
                return Change(settings, cost)
        together = _together([change for change in changes if change[0] <= rank], config, missing_gib)
        if together is not None:
            return together
    return None


def _together(
    changes: list[tuple[int, tuple[str, ...], str]], config: Config, missing_gib: Callable[[Config], float]
) -> Change | None:
    """Adds up the changes that each lessen what is missing, in their order, until nothing is."""
    chosen: dict[str, str] = {}
    costs: list[str] = []
    missing = missing_gib(config)
    for _, settings, cost in changes:
        candidate = _with(config, settings)
        left = missing_gib(candidate)
        if left >= missing:
            continue
        config, missing = candidate, left
        chosen |= dict(item.split("=", 1) for item in settings)
        costs.append(cost)
        if missing <= 0:
            together = tuple(f"{key}={value}" for key, value in chosen.items())
            return Change(together, "; ".join(dict.fromkeys(costs)))
    return None


def _changes(config: Config) -> Iterator[tuple[int, tuple[str, ...], str]]:
    """(rank, overrides, what they cost), from the cheapest to the dearest, as far as they would change anything."""
    train, rollout = config.train, config.rollout
    small_states = ("train.master_dtype=bfloat16", "train.optimizer=adamw_8bit")
    longest = rollout.max_prompt_tokens + rollout.max_response_tokens
    if not train.chunked_logprobs:
        yield 0, ("train.chunked_logprobs=true",), "costs nothing"
    if not train.packed_sequences:
        yield 0, ("train.packed_sequences=true",), "costs nothing"
    if config.campaign.keep_every:
        apart = math.lcm(config.campaign.keep_every, train.save_every_steps)
        for steps in (2 * apart, 5 * apart, 10 * apart, 0):
            yield 1, (f"campaign.keep_every={steps}",), "fewer checkpoints that stay"
    for share in (0.5, 0.25):
        tokens = max(longest, int(train.micro_batch_tokens * share))
        if tokens < train.micro_batch_tokens:
            yield 1, (f"train.micro_batch_tokens={tokens}",), "a few % of the update's speed"
    if not train.gradient_checkpointing:
        yield 1, ("train.gradient_checkpointing=true",), "about a third more time in the update"
    if train.logprob_chunk_tokens > 256:
        yield 1, ("train.logprob_chunk_tokens=256",), "a few % of the update's speed"
    for share in (0.45, 0.4, 0.35, 0.3, 0.25):
        if share < rollout.gpu_memory_share:
            yield 2, (f"rollout.gpu_memory_share={share}",), "a smaller KV cache: fewer sequences at once"
    for share in (0.4, 0.5, 0.6, 0.7):
        if share > rollout.gpu_memory_share:
            cost = "memory that the trainer leaves free while the engine generates"
            yield 2, (f"rollout.gpu_memory_share={share}",), cost
    if rollout.max_sequences > 64:
        yield 2, ("rollout.max_sequences=64", "rollout.cuda_graph_sizes=[1,4,16,64]"), "slower generation"
    if not rollout.sleep:
        yield 2, ("rollout.sleep=true",), "about a second per step"
    if not train.optimizer_offload:
        yield 3, ("train.optimizer_offload=true",), "a second or two per step, and host memory"
    if not train.param_offload:
        yield 3, ("train.param_offload=true",), "about a second per step, and host memory"
    if config.campaign.keep_last > 1:
        yield 3, ("campaign.keep_last=1",), "one checkpoint fewer to fall back on"
    if rollout.agent_workers > 1:
        yield 3, ("rollout.agent_workers=1",), "slower execution of programs"
    if train.optimizer != "adamw_8bit" or train.master_dtype != "bfloat16":
        yield 4, small_states, "stochastic rounding instead of exact float32 weights"
    if not config.model.lora_rank:
        settings = ("model.lora_rank=32", *small_states, "train.learning_rate=1e-5")
        settings += ("train.compile_layers=false",) if train.compile_layers else ()
        yield 5, settings, "adapters instead of all weights"


def _with(config: Config, settings: tuple[str, ...]) -> Config:
    """The configuration with overrides like ``train.micro_batch_tokens=8192`` put in (the forms that
    ``_changes`` writes)."""
    for item in settings:
        key, _, text = item.partition("=")
        kind = type(operator.attrgetter(key)(config))
        config = with_key(config, key, kind(text) if kind is str else json.loads(text))
    return config
