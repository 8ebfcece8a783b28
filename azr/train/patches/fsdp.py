"""Changes to how verl and torch handle FSDP's weights: an offload that frees the card, checkpoints without
second copies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.distributed.fsdp import FullyShardedDataParallel
from verl.workers.engine.fsdp import transformer_impl

from azr.train.verl.no_shard import is_whole, load_model, named_weights, offload, trained_adapters


def install_offload() -> None:
    """Puts ours in the place of verl's, in every method of its FSDP engine."""
    engine: Any = transformer_impl
    engine.offload_fsdp_model_to_cpu = offload
    engine.load_fsdp_model_to_gpu = load_model


@contextmanager
def state_dict_without_copies(module: FullyShardedDataParallel) -> Iterator[None]:
    """Within it ``module.state_dict()`` gives views of the weights, for a checkpoint that is written immediately:
    of a model with adapters the adapters alone, for the frozen base is where the run took it from.

    FSDP's own clones them all on the card, whatever is said of offloading, where nothing is sharded: at 3B
    the base twice (seen: 15.4 GiB).
    """
    if not is_whole(module):
        yield
        return
    module.state_dict = lambda: trained_adapters(module) or dict(named_weights(module))  # type: ignore[method-assign]
    try:
        yield
    finally:
        del module.state_dict


@contextmanager
def tensors_left_in_files() -> Iterator[None]:
    """Within it ``torch.load`` maps tensors from the file instead of putting them where they were saved, on
    the card beside the model's.

    verl reads checkpoints without saying where to. What is mapped takes no memory that the system could not take back.
    """
    original = torch.load
    torch.load = partial(original, map_location="cpu", mmap=True)
    try:
        yield
    finally:
        torch.load = original
