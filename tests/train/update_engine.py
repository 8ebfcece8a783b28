"""verl's engine under ours, of one process and without what builds it; and a batch for its update."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable
from typing import Any

import torch
from small_qwen import small_qwen
from verl.utils import seqlen_balancing
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig
from verl.workers.engine.fsdp import transformer_impl
from verl.workers.utils.losses import ppo_loss

from azr.train.kernels import attention, logprobs
from azr.train.verl import packed_engine, update

MICRO_BATCH_TOKENS = 64


def stay_on_the_cpu(monkeypatch: Any) -> None:
    for module in (update, transformer_impl, seqlen_balancing):
        monkeypatch.setattr(module, "get_device_name", lambda: "cpu")
        monkeypatch.setattr(module, "get_device_id", lambda: "cpu", raising=False)


def nested(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(list(tensors), layout=torch.jagged)


def batch(count: int = 11, seed: int = 0, **others: Any) -> Any:
    """Sequences with responses of one to twelve tokens, some of which do not count."""
    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    lengths = [(draw.randint(2, 20), draw.randint(1, 12)) for _ in range(count)]
    prompts = [torch.randint(0, 128, (length,), generator=generator) for length, _ in lengths]
    responses = [torch.randint(0, 128, (length,), generator=generator) for _, length in lengths]
    whole = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    mask = nested((torch.rand(len(each), generator=generator) < 0.9).long() for each in responses)
    engines = nested(-4.8 - 0.4 * torch.rand(len(each), generator=generator) for each in responses)
    columns = {
        "prompts": nested(prompts),
        "responses": nested(responses),
        "input_ids": nested(whole),
        "position_ids": nested(torch.arange(len(each)) for each in whole),
        "response_mask": mask,
        "loss_mask": mask,
        "old_log_probs": engines,
        "advantages": nested(torch.full((len(each),), draw.choice((-1.3, 0.4, 1.1))) for each in responses),
    }
    made = tu.get_tensordict(columns | others)
    tu.assign_non_tensor(
        made, calculate_entropy=True, temperature=1.0, use_remove_padding=True, use_fused_kernels=True, use_dynamic_bsz=True,
        max_token_len_per_gpu=MICRO_BATCH_TOKENS, global_batch_size=count,
    )  # fmt: skip
    return made


def engine() -> Any:
    bare: Any = object.__new__(packed_engine.PackedEngine)
    torch.manual_seed(0)
    bare.module = small_qwen()
    bare.module.config._attn_implementation = attention.register()
    attention.pass_boundaries(bare.module)
    logprobs.install_chunked_logprobs(bare.module, chunk_tokens=16)
    bare.module.train()
    bare.pad_to_length = bare.use_ulysses_sp = bare.pass_packed_cu_seqlens = False
    bare.ulysses_sequence_parallel_size, bare.scaler, bare._autocast_dtype = 1, None, torch.float32
    bare.engine_config = type("Config", (), {"use_no_sync_for_gradient_accumulation": False})()
    bare.optimizer = torch.optim.AdamW(bare.module.parameters(), lr=1e-3)
    bare.optimizer_config = type("Config", (), {"clip_grad": 1.0})()
    bare.module.clip_grad_norm_ = functools.partial(
        torch.nn.utils.clip_grad_norm_, list(bare.module.parameters())
    )
    bare.get_data_parallel_size, bare.get_data_parallel_group = lambda: 1, lambda: None
    return bare


def loss(**settings: Any) -> Any:
    config = FSDPActorConfig(
        strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, entropy_coeff=0.01, clip_ratio=0.05, clip_ratio_low=0.05,
        clip_ratio_high=0.1, **settings,
    )  # fmt: skip
    return functools.partial(ppo_loss, config=config)
