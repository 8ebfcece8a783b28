"""FSDP NO_SHARD without second copies of the weights: reads them one by one, and its offload really frees the
card's memory.

Both are missing in what verl calls. ``state_dict()`` clones every weight before the first is sent to the
engine (2.9 GiB at 1.5B, at the moment when the engine's own weights are on the card too). And where nothing
is sharded, the modules' weights are views into the flat parameter that stay on the card when verl moves the
flat parameter to host memory: nothing is freed.

A frozen base (under adapters) never changes, so one copy of it waits in host memory for the whole run:
leaving the card takes no copying.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import torch
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp._common_utils import clean_tensor_name
from torch.distributed.fsdp._runtime_utils import _lazy_init
from verl.utils import fsdp_utils
from verl.utils.device import get_torch_device

ADAPTER = "default"
"""Name of the one adapter that verl trains."""
PEFT_PREFIX = "base_model.model."


def named_weights(module: FullyShardedDataParallel) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors of ``module.state_dict()``, each a view that is good until the next is asked for.

    They have the types and shapes that the trainer keeps them in, and lie where it computes: on the card,
    unless the whole model is on the CPU. Tied weights come under each of their names, as in a state dict.
    """
    with FullyShardedDataParallel.summon_full_params(module, writeback=False):
        for name, parameter in module.named_parameters(remove_duplicate=False):
            yield clean_tensor_name(name), parameter.detach()
        for prefix, part in module.named_modules():
            for name, value in part.named_buffers(prefix=prefix, recurse=False):
                if name.rpartition(".")[2] not in part._non_persistent_buffers_set:
                    yield clean_tensor_name(name), value


def adapter_weights(module: FullyShardedDataParallel) -> dict[str, torch.Tensor]:
    """Copies of the LoRA adapters (A ``[rank, in]``, B ``[out, rank]``, in the trainer's type) in host memory, under
    the names that peft gives them in files, which the engine knows.

    peft's own function finds none of them in a model that FSDP wrapped (0.21.2 compares names with and
    without FSDP's prefixes), and asks for the whole state dict first, which FSDP clones: a second copy of the
    frozen base on the card. On one device the adapters are not FSDP's (``verl/training_engine.py``) and are read where
    they are; an offloaded base need not come back to a card that holds the engine's.
    """
    found = {}
    for name, weight in module.named_parameters() if is_whole(module) else named_weights(module):
        if ".lora_" in name and f".{ADAPTER}." in name:
            found[clean_tensor_name(name).replace(f".{ADAPTER}.", ".")] = weight.detach().to("cpu", copy=True)
    return found


def base_weights(module: FullyShardedDataParallel) -> Iterator[tuple[str, torch.Tensor]]:
    """The frozen weights under adapters, with peft's names less its prefix, where they are: an offloaded base
    stays in host memory.

    Views, shaped as in the model's files. Needs NO_SHARD, and adapters that are not FSDP's. Of tied weights
    the first name alone is given.
    """
    for prefix, handle in _handles(module):
        for name, weight in zip(handle.flat_param._fqns, handle._get_unflat_views(), strict=True):
            whole_name = clean_tensor_name(f"{prefix}.{name}" if prefix else name)
            yield whole_name.removeprefix(PEFT_PREFIX), weight.detach()


def is_whole(module: FullyShardedDataParallel) -> bool:
    """Whether nothing of the model is sharded."""
    return not any(handle.uses_sharded_strategy for _, handle in _handles(module))


def _handles(module: FullyShardedDataParallel) -> list[tuple[str, Any]]:
    """FSDP's flat parameters, each with the place of its unit; there before the first forward pass, unlike
    FSDP's own list."""
    parts = module.named_modules()
    units = [(prefix, part) for prefix, part in parts if isinstance(part, FullyShardedDataParallel)]
    return [(prefix, part._handle) for prefix, part in units if part._handle is not None]


def trained_adapters(module: FullyShardedDataParallel) -> dict[str, torch.Tensor]:
    """The LoRA matrices (A ``[rank, in]``, B ``[out, rank]``), views where they are, under the names that they have in
    the whole state dict: ``load_state_dict(strict=False)`` finds their places again."""
    trained = ((name, weight) for name, weight in module.named_parameters() if weight.requires_grad)
    return {clean_tensor_name(name): weight.detach() for name, weight in trained if ".lora_" in name}


def point_to_flat_parameters(module: FullyShardedDataParallel) -> None:
    """Makes the weights of all modules views into the flat parameters as they are now, wherever those were moved."""
    for _, handle in _handles(module):
        if not handle.uses_sharded_strategy:
            assert not handle._use_orig_params, "FSDP keeps parameters there, which views must not replace"
            handle._use_unsharded_views(as_params=False)


def offload(module: Any, empty_cache: bool = True) -> None:
    """verl's ``offload_fsdp_model_to_cpu``, and the card's memory is really freed."""
    if isinstance(module, FullyShardedDataParallel):
        _lazy_init(module, module)
        for _, handle in _handles(module):
            if not handle.flat_param.requires_grad and not handle.uses_sharded_strategy:
                handle.flat_param.data = _kept_in_host_memory(handle)
                handle.flat_param._local_shard = handle.flat_param.data
    fsdp_utils.offload_fsdp_model_to_cpu(module, empty_cache=False)
    if isinstance(module, FullyShardedDataParallel):
        point_to_flat_parameters(module)
    if empty_cache:
        get_torch_device().empty_cache()


def _kept_in_host_memory(handle: Any) -> torch.Tensor:
    """The one copy of a frozen flat parameter, made at its first offload and after a checkpoint was read.

    Pinned where it lies: memory that torch allocates as pinned is rounded up to a power of two, half as much
    again for a base of 3B.
    """
    weights = handle.flat_param.detach()
    if not hasattr(handle, "_kept"):
        handle._kept, handle._kept_is_current = torch.empty_like(weights, device="cpu"), False
        if weights.is_cuda:
            runtime: Any = torch.cuda.cudart()
            status = runtime.cudaHostRegister(handle._kept.data_ptr(), handle._kept.nbytes, 0)
            # not an error: but the next kernel would report it, as the runtime remembers it
            if int(status) != 0:
                with suppress(RuntimeError):
                    torch.ones(1, device=weights.device)
                logging.getLogger(__name__).warning(
                    "host memory could not be pinned (%s); bringing weights to the card is slower", status
                )
    if not handle._kept_is_current:
        handle._kept.copy_(weights)
        handle._kept_is_current = True
    return handle._kept


def base_was_read(module: FullyShardedDataParallel) -> None:
    """A checkpoint was read into the weights: the copy in host memory is made again at the next offload."""
    for _, handle in _handles(module):
        handle._kept_is_current = False


def load_model(module: Any) -> None:
    """verl's ``load_fsdp_model_to_gpu``; the modules see the weights where they are now."""
    fsdp_utils.load_fsdp_model_to_gpu(module)
    if isinstance(module, FullyShardedDataParallel):
        point_to_flat_parameters(module)
