"""The fastest settings that fit a card: engine share, sequences at once, micro-batch, sleep, offloading.

``fit_card`` fills in what ``budget.automatic`` leaves to the card, from the budget's own prediction
(``estimate``), so that a larger card is used and a smaller one is not overrun. On 16 GiB the recipes get what was
measured there, or more (tests/budget/test_fitting.py).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from azr.budget.estimate import ResourceEstimate, estimate
from azr.budget.shape import ModelShape
from azr.config import Config, with_key
from azr.system.hardware import Machine, device_for

PEAK_SHARE = 0.963
"""Of the memory that a run may take, at most this much is planned for a moment of generation: what the measured
recipes plan."""
UPDATE_SHARE = 0.94
"""The same for the update: what is left is as much as an engine that had to compile keeps on the card until its next start
(docs/performance.md)."""
ROOMY_SHARE = 0.88
"""Micro-batches beyond what keeps the card busy gain little; they may take no more than this. Nor may an update that keeps
all activations, of which there is one record from a card."""
KEPT_SHARE = 0.5
"""The same for micro-batches that keep all activations, beyond what keeps the card busy: with 28,800 tokens on an empty card
of 140 GiB activations took 1.8 times what is calculated (docs/performance.md)."""
WORKSPACE_SHARE = 0.022
"""Of the memory that a run may take, for the activations of ``rollout.max_batched_tokens``."""
BUSY_PARAMETER_TOKENS = 8e12
"""Tokens of a micro-batch x parameters that keep a card's arithmetic busy; beyond it the update was a few per cent
faster at most (docs/performance.md)."""
TYPICAL_SHARE = 0.36
"""Mean tokens of a sequence, as a share of the longest prompt and response together (1,100 of 3,072)."""
FEW_SEQUENCES = 64
"""Below this many sequences at once, weights or optimizer states go to host memory while the engine generates."""

SMALLEST_KEPT = 6144
"""Tokens of a micro-batch below which activations are rather computed again."""
MICRO_BATCHES = (3072, 4096, 6144, 8192, 12288, 16384, 24576)
BATCHED = (2048, 4096, 8192, 16384)
SEQUENCES = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
GRAPHS = (1, 4, 16, 32, 64, 96, 128, 192, 256, 384, 512)
SHARE_STEP = 0.02
"""Of the memory that a run may have: the engine's share is chosen in such steps."""
SMALLEST_SHARE, LARGEST_SHARE = 0.01, 0.9


@dataclass(frozen=True)
class Choice:
    key: str
    value: Any
    reason: str

    def __str__(self) -> str:
        text = str(self.value).lower() if isinstance(self.value, bool) else str(self.value).replace(" ", "")
        return f"{self.key}={text}: {self.reason}"


@dataclass(frozen=True)
class Fitted:
    config: Config
    choices: tuple[Choice, ...] = ()
    """What was chosen, in the order of choosing; empty where nothing was left to the card, or no card is used."""


def fit_card(config: Config, machine: Machine, shape: ModelShape | None) -> Fitted:
    """
    Args:
        shape: of the model; None while it is not known (a hub model before its download).

    Returns:
        the configuration with a number for every key of ``budget.automatic``, and why. As it was where there is no
        card, the shape is not known, or nothing fits, which is for ``judge_fit`` to say.
    """
    automatic = set(config.budget.automatic)
    device = device_for(machine, config.train.device, config.train.n_gpus_per_node)
    if not automatic or shape is None or device.kind != "cuda" or not device.cards:
        return Fitted(config)
    total_gib = min(gpu.total_gib for gpu in device.cards)
    limit_gib = min(total_gib, config.budget.gpu_limit_gib or total_gib)
    usable_gib = limit_gib - config.budget.gpu_reserve_gib
    fitting = _Fitting(automatic, shape, total_gib, limit_gib, usable_gib)

    settled, choices = fitting.update(config)
    places = [(*fitting.engine(place), why) for place, why in fitting.places(settled)]
    fits = [each for each in places if fitting.fits(each[0])]
    if not fits:
        return Fitted(config)
    best, more, why = max(fits, key=lambda each: fitting.merit(each[0]))  # the first of equals: the fastest
    return Fitted(best, (*choices, *why, *more))


@dataclass(frozen=True)
class _Fitting:
    automatic: Collection[str]
    shape: ModelShape
    total_gib: float
    limit_gib: float
    """What a run may have of ``total_gib``."""
    usable_gib: float
    """Without the reserve."""

    def update(self, config: Config) -> tuple[Config, list[Choice]]:
        """Activations kept, where ``SMALLEST_KEPT`` tokens of them have room; then the largest micro-batch."""
        key, tokens_key = "train.gradient_checkpointing", "train.micro_batch_tokens"
        longest = config.rollout.max_prompt_tokens + config.rollout.max_response_tokens
        choices, smallest = [], longest
        if key in self.automatic:
            tokens = config.train.micro_batch_tokens
            tokens = max(longest, SMALLEST_KEPT) if tokens_key in self.automatic else tokens
            kept = with_key(with_key(config, key, False), tokens_key, tokens)
            needed = self._update_gib(kept)
            recompute = needed > ROOMY_SHARE * self.usable_gib
            told = "does not fit well" if recompute else "fits, and nothing is computed twice"
            reason = f"an update that keeps all activations of {tokens:,} tokens {told}: {needed:.1f} of {self.usable_gib:.1f} GiB"
            choices.append(Choice(key, recompute, reason))
            config = with_key(config, key, recompute)
            smallest = longest if recompute else tokens
        if tokens_key in self.automatic:
            config, choice = self._micro_batch(config, smallest)
            choices.append(choice)
        return config, choices

    def _micro_batch(self, config: Config, smallest: int) -> tuple[Config, Choice]:
        key = "train.micro_batch_tokens"
        chosen, reason = smallest, "one sequence of the longest kind"
        for tokens in MICRO_BATCHES:
            if tokens < smallest:
                continue
            needed = self._update_gib(with_key(config, key, tokens))
            keeps_busy = chosen * self.shape.parameters >= BUSY_PARAMETER_TOKENS
            idle_share, busy_share = UPDATE_SHARE, ROOMY_SHARE
            if not config.train.gradient_checkpointing:
                idle_share, busy_share = ROOMY_SHARE, KEPT_SHARE
            if needed > (busy_share if keeps_busy else idle_share) * self.usable_gib:
                break
            chosen, reason = tokens, f"the update then takes {needed:.1f} of {self.usable_gib:.1f} GiB"
        return with_key(config, key, chosen), Choice(key, chosen, reason)

    def places(self, config: Config) -> Iterator[tuple[Config, list[Choice]]]:
        """Where engine and trainer's state may be while the other works, the fastest first: all on the card, the
        engine asleep during the update, optimizer states in host memory, weights too (adapters: weights first,
        which are nearly all)."""
        sleep, optimizer, weights = "rollout.sleep", "train.optimizer_offload", "train.param_offload"
        order = (weights, optimizer) if config.model.lora_rank else (optimizer, weights)
        away = [key for key in order if key in self.automatic]
        for key in away:
            config = with_key(config, key, False)
        here = [Choice(key, False, "the card has room") for key in away]
        if sleep in self.automatic:
            awake = Choice(sleep, False, "engine and trainer fit side by side")
            yield with_key(config, sleep, False), [awake, *here]
            config = with_key(config, sleep, True)
            here.insert(0, Choice(sleep, True, "engine and trainer at their largest do not fit side by side"))
        yield config, here
        for count, key in enumerate(away, start=1):
            config = with_key(config, key, True)
            reason = f"else the engine feeds fewer than {FEW_SEQUENCES} sequences"
            moved = away[:count]
            yield config, [Choice(each.key, True, reason) if each.key in moved else each for each in here]

    def merit(self, config: Config) -> int:
        """Sequences at once, of which more than ``FEW_SEQUENCES`` are no reason to move anything to host memory;
        an engine that does not sleep has to feed as many as any."""
        sequences = self.feeds(config)
        if not config.rollout.sleep and "rollout.sleep" in self.automatic and sequences < SEQUENCES[-1]:
            return 0
        return min(sequences, FEW_SEQUENCES)

    def engine(self, config: Config) -> tuple[Config, list[Choice]]:
        """Batched tokens, then the most sequences that a KV cache of the largest share of the card feeds."""
        choices = []
        if (key := "rollout.max_batched_tokens") in self.automatic:
            room = WORKSPACE_SHARE * self.usable_gib / (8 * self.shape.intermediate / 2**30)
            tokens = max([BATCHED[0], *(tokens for tokens in BATCHED if tokens <= room)])
            config = with_key(config, key, tokens)
            reason = f"its workspace is at most {100 * WORKSPACE_SHARE:.1f} % of the card"
            choices.append(Choice(key, tokens, reason))
        counts = SEQUENCES if "rollout.max_sequences" in self.automatic else (config.rollout.max_sequences,)
        # more sequences need more workspace and graphs, which leaves less for their cache
        for count in counts:
            candidate = self._share(self._graphs(with_key(config, "rollout.max_sequences", count)))
            if count == counts[0] or self.feeds(candidate) >= count:
                settled = candidate
        config = settled
        if (key := "rollout.gpu_memory_share") in self.automatic:
            choices.append(Choice(key, config.rollout.gpu_memory_share, self._share_reason(config)))
        if (key := "rollout.max_sequences") in self.automatic:
            reason = f"the KV cache has room for {self._estimate(config).kv_tokens:,} tokens"
            choices.append(Choice(key, config.rollout.max_sequences, reason))
        if (key := "rollout.cuda_graph_sizes") in self.automatic:
            choices.append(Choice(key, config.rollout.cuda_graph_sizes, "up to rollout.max_sequences"))
        return config, choices

    def feeds(self, config: Config) -> int:
        """Sequences of typical length that the KV cache holds, at most ``rollout.max_sequences``."""
        rollout = config.rollout
        typical_tokens = TYPICAL_SHARE * (rollout.max_prompt_tokens + rollout.max_response_tokens)
        return min(rollout.max_sequences, int(self._estimate(config).kv_tokens / typical_tokens))

    def fits(self, config: Config) -> bool:
        """The update is as small as ``update`` could make it, and need only fit; the engine is given what it may have."""
        phases = self._estimate(config).gpu
        return all(
            phase.gib
            <= self.usable_gib * (1 if phase.name == "update" and config.rollout.sleep else PEAK_SHARE)
            for phase in phases
        )

    def _update_gib(self, config: Config) -> float:
        return self._estimate(config).phase("update").gib

    def _estimate(self, config: Config) -> ResourceEstimate:
        return estimate(config, self.shape, self.total_gib)

    def _graphs(self, config: Config) -> Config:
        key = "rollout.cuda_graph_sizes"
        most = config.rollout.max_sequences
        sizes = [*(size for size in GRAPHS if size < most), most]  # a batch above the largest has no graph
        return with_key(config, key, sizes) if key in self.automatic else config

    def _share(self, config: Config) -> Config:
        """With the largest share with which every moment fits, and no more than the longest sequences need."""
        key, rollout = "rollout.gpu_memory_share", config.rollout
        if key not in self.automatic:
            return config
        wanted = rollout.max_sequences * (rollout.max_prompt_tokens + rollout.max_response_tokens)
        step = SHARE_STEP * self.limit_gib / self.total_gib
        config = with_key(config, key, round(step * math.ceil(SMALLEST_SHARE / step), 4))
        while config.rollout.gpu_memory_share < LARGEST_SHARE and self._estimate(config).kv_tokens < wanted:
            larger = with_key(config, key, round(config.rollout.gpu_memory_share + step, 4))
            if not self.fits(larger):
                break
            config = larger
        return config

    def _share_reason(self, config: Config) -> str:
        peak = self._estimate(config).gpu_peak
        share_gib = config.rollout.gpu_memory_share * self.total_gib
        return (
            f"{share_gib:.1f} GiB; the peak ({peak.name}) is then {peak.gib:.1f} of {self.usable_gib:.1f} GiB"
        )
