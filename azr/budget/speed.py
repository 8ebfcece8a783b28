"""How long a step should take on a card, from its bandwidth and arithmetic: a model, with its assumptions
stated.

It answers "what would a 5080 do" before anybody has one, and is not a measurement. The shares come from
measurements on a Hopper card (docs/performance.md) and are assumed to carry over; a consumer card may reach
more or less of its peaks.
"""

from __future__ import annotations

from dataclasses import dataclass

from azr.budget.estimate import estimate
from azr.budget.shape import ModelShape
from azr.config import Config


@dataclass(frozen=True)
class Card:
    name: str
    memory_gib: float
    bandwidth_gb_s: float
    bf16_tflops: float
    """Dense bf16 with float32 accumulation."""


RTX_5080 = Card("RTX 5080", 15.92, 960.0, 112.0)
"""960 GB/s as published; 112 TFLOP/s taken as twice its 56.3 of float32."""


@dataclass(frozen=True)
class Assumptions:
    prompt_tokens: float = 600.0
    response_tokens: float = 300.0
    valid_share: float = 1.0
    """Share of proposals that are valid, and so get difficulty samples. 1 is the most work a step can be."""
    small_model_mfu: float = 0.16
    """Of 6 x parameters x tokens, below 1 billion parameters, layers not compiled."""
    large_model_mfu: float = 0.26
    compiled_small_model_mfu: float = 0.29
    """With ``train.compile_layers``."""
    compiled_large_model_mfu: float = 0.41
    adapters_mfu: float = 0.26
    """Of 4.5 x parameters x tokens, adapters on a frozen base: no gradients of its weights, but twice as many
    products."""
    adapter_units_mfu: float = 0.08
    """The same on several cards, where each adapter is an FSDP unit."""
    adapters_decode_factor: float = 1.4
    """Where the engine computes adapters beside each product (measured: 0.435 s against 0.309 s for 50 tokens
    of 96 sequences at 3B)."""
    decode_share: float = 0.5
    """Share of the memory roofline that decoding with CUDA graphs reaches (real engines: 0.40 to 0.65)."""
    matmul_share: float = 0.6
    """Share of peak arithmetic in prefill and in the products of a decode step."""
    other_s: float = 6.0
    """Weight sync, sleep and wake-up, planning, and waiting for programs at the tail of a step."""


@dataclass(frozen=True)
class StepTime:
    generate_s: float
    train_s: float
    other_s: float
    concurrent_sequences: int

    @property
    def total_s(self) -> float:
        return self.generate_s + self.train_s + self.other_s

    def steps_in(self, hours: float) -> int:
        return int(hours * 3600 / self.total_s)


def step_time(
    config: Config, shape: ModelShape, card: Card, assumptions: Assumptions | None = None
) -> StepTime:
    """Seconds of a full step: every stream's rows, and the difficulty samples of the valid proposals."""
    a = assumptions or Assumptions()
    types = len(config.selfplay.task_types)
    rows = config.selfplay.batch_size * types * 2
    groups = config.selfplay.batch_size * types * a.valid_share
    samples = groups * config.selfplay.difficulty_samples
    length = a.prompt_tokens + a.response_tokens

    kv_tokens = estimate(config, shape, card.memory_gib).kv_tokens
    concurrent = max(1, min(config.rollout.max_sequences, int(kv_tokens / length)))
    weight_bytes = shape.base_bytes(2)
    kv_bytes = concurrent * (a.prompt_tokens + a.response_tokens / 2) * shape.kv_bytes_per_token()
    memory_s = (weight_bytes + kv_bytes) / (card.bandwidth_gb_s * 1e9) / a.decode_share
    compute_s = 2.0 * shape.parameters * concurrent / (card.bf16_tflops * 1e12 * a.matmul_share)
    decode_s = (rows + samples) * a.response_tokens / concurrent * max(memory_s, compute_s)
    prefilled = (rows + (groups if config.rollout.prefix_caching else samples)) * a.prompt_tokens
    prefill_s = 2.0 * shape.parameters * prefilled / (card.bf16_tflops * 1e12 * a.matmul_share)

    small, large = a.small_model_mfu, a.large_model_mfu
    if config.train.compile_layers:
        small, large = a.compiled_small_model_mfu, a.compiled_large_model_mfu
    passes, mfu = 6.0, small if shape.parameters < 1e9 else large
    if config.model.lora_rank:
        passes, mfu = 4.5, a.adapters_mfu if config.train.gpus == 1 else a.adapter_units_mfu
        if config.train.gpus > 1 or not config.rollout.merge_adapters:
            decode_s *= a.adapters_decode_factor
    if config.train.recompute_logprobs:
        passes += 1.5  # a forward pass more
    trained = (rows + (samples if config.selfplay.train_on_samples else 0)) * length
    train_s = passes * shape.parameters * trained / (card.bf16_tflops * 1e12 * mfu)
    return StepTime(decode_s + prefill_s, train_s, a.other_s, concurrent)
