"""A tiny Qwen2 with tied weights, and models under FSDP NO_SHARD in a process group of one."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision
from transformers import Qwen2Config, Qwen2ForCausalLM

from azr.train.verl.training_engine import fully_sharded

FLOAT32 = MixedPrecision(param_dtype=torch.float32, reduce_dtype=torch.float32, buffer_dtype=torch.float32)
IDS = torch.arange(10)[None]


def small_qwen() -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config)


@contextmanager
def wrapped_alone(model: Any, folder: Path) -> Iterator[FullyShardedDataParallel]:
    """A wrapped copy of the model."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/{os.getpid()}", rank=0, world_size=1)
    try:
        yield fully_sharded(copy.deepcopy(model), torch.device("cpu"), FLOAT32)
    finally:
        dist.destroy_process_group()
