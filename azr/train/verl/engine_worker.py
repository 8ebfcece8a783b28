"""What is added to vLLM's worker process, where new weights arrive (``update_weights_from_ipc``, which verl
calls): a socket for this run only, a limit on what its allocator keeps, and a sleep mode that keeps no weights.
``azr.train.verl.configuration`` picks the class; without a GPU only the socket is added.

vLLM sizes the KV cache so that weights, cache and the largest activations together make its share of the card. While it
generates, batches of changing size leave torch's allocator with blocks of changing size, and it keeps them all, until a
card of 16 GiB is full (docs/performance.md). With a limit the allocator gives unused blocks back instead.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

from azr.budget.estimate import ENGINE_CACHE_GIB, GRAPH_GIB_PER_SIZE
from azr.train.sockets import own_socket
from azr.train.verl.int4_engine import receive_int4_base

logger = logging.getLogger("vllm.azr")
"""Below vLLM's, whose handler writes."""

if TYPE_CHECKING:  # verl's workers carry no types
    Base: Any = object
else:
    Base = vLLMColocateWorkerExtension


class OwnSocketExtension(Base):
    """verl's extension of the worker; vLLM makes it a base of its worker class, so it may not name anything
    that is there already."""

    def _get_zmq_handle(self) -> str:
        return own_socket(super()._get_zmq_handle())


class EngineWorkerExtension(OwnSocketExtension):
    def __new__(cls, **options: Any) -> Any:
        tell_the_start()
        return super().__new__(cls, **options)

    def update_weights_from_ipc(self, *args: Any, **kwargs: Any) -> Any:
        """Sets the limit before the first weights arrive, and so before anything is generated."""
        self.limit_memory()
        return super().update_weights_from_ipc(*args, **kwargs)

    def limit_memory(self, uncounted_gib: float = 0.0) -> None:
        """
        Args:
            uncounted_gib: what torch counts although it is not in use.
        """
        worker: Any = self
        total_bytes = torch.cuda.get_device_properties(worker.device).total_memory
        settings = worker.vllm_config
        sizes = settings.compilation_config.cudagraph_capture_sizes or []
        layers = settings.model_config.hf_text_config.num_hidden_layers
        graphs_gib = GRAPH_GIB_PER_SIZE * len(sizes) * layers / 24
        own_share = settings.cache_config.gpu_memory_utilization
        share = memory_limit_share(own_share, graphs_gib + uncounted_gib, total_bytes / 2**30)
        torch.cuda.set_per_process_memory_fraction(share, worker.device)


class ForgettingWorkerExtension(EngineWorkerExtension):
    """With adapters on one device: the sleeping engine drops its weights, and the trainer sends the base with
    the adapters.

    verl has it keep them in pinned host memory (8.6 GiB at 3B), beside the trainer's copy of the same base.
    """

    def __new__(cls, **options: Any) -> Any:
        worker = super().__new__(cls, **options)
        worker.sleep = worker.sleep_and_forget
        return worker

    def sleep_and_forget(self, level: int = 2) -> None:
        del level  # verl asks for 1
        worker: Any = self
        type(worker).sleep(worker, level=2)

    def update_weights_from_ipc(self, *args: Any, **kwargs: Any) -> Any:
        """Also drops the map from tokens to adapters: it is on the card as well, and vLLM reuses it while it does
        not change."""
        worker: Any = self
        worker.model_runner.lora_manager._adapter_manager._last_mapping = None
        return super().update_weights_from_ipc(*args, **kwargs)


class Int4WorkerExtension(ForgettingWorkerExtension):
    """With adapters over an int4 base on one device: the packed base is sent with the adapters.

    The limit is lifted while they arrive. torch counts the key-value cache against it although a sleeping engine
    has given it back, and neither the rearranging of words nor the adapters find room in the rest.

    Nor does torch learn that vLLM has given back the words that were rearranged while it loaded, about 0.55 GiB at 7B
    (``released_gib``). vLLM takes them for room and makes its cache larger by as much; the limit would leave the rest
    of 0.75 GiB for all batches. Seen at 7B on a card with 16 GiB left: out of memory with 2.6 GiB free.
    """

    def __new__(cls, **options: Any) -> Any:
        worker = super().__new__(cls, **options)
        worker.determine_available_memory = worker.bytes_for_the_cache
        return worker

    def bytes_for_the_cache(self) -> int:
        worker: Any = self
        gib = type(worker).determine_available_memory(worker) / 2**30
        logger.info("key-value cache: %.2f GiB less the %.2f that vLLM has given back", gib, released_gib())
        for name in ("peak_activation_memory", "non_torch_memory", "cudagraph_memory_estimate"):
            logger.info("%s: %.2f GiB", name, getattr(worker, name, 0) / 2**30)
        return int((gib - released_gib()) * 2**30)

    def update_weights_from_ipc(
        self, peft_config: Any = None, base_sync_done: bool = False, use_shm: bool = False
    ) -> Any:
        """The base (``base_sync_done`` is false), or the adapters, which follow it."""
        if base_sync_done:
            super().update_weights_from_ipc(peft_config, base_sync_done, use_shm)
        else:
            self.limit_memory()
            receive_int4_base(self, use_shm)
        super().limit_memory(released_gib())

    def limit_memory(self, uncounted_gib: float = 0.0) -> None:
        worker: Any = self
        torch.cuda.set_per_process_memory_fraction(1.0, worker.device)


def released_gib() -> float:
    """What torch counts although vLLM has given it back to the card: at the end of loading it unmaps what is empty in
    its pool of weights, behind torch's back."""
    from vllm.device_allocator.cumem import CuMemAllocator

    allocator = CuMemAllocator.instance
    if allocator is None:  # an engine that never sleeps
        return 0.0
    segments = [segment for pool, _ in allocator.allocator_and_pools.values() for segment in pool.snapshot()]
    there = allocator.pointer_to_data
    return sum(segment["total_size"] for segment in segments if segment["address"] not in there) / 2**30


START_LOGGERS = ("vllm.compilation.monitor", "vllm.v1.worker.gpu_model_runner", logger.name)


def tell_the_start() -> None:
    """vLLM is to say warnings only (``VLLM_LOGGING_LEVEL``), and beside them how long it compiled, captured graphs and
    loaded (read by ``azr.run.start_record``)."""
    vllm = logging.getLogger("vllm")
    if vllm.level != logging.WARNING:  # the user wants less, or all
        return
    for handler in vllm.handlers:
        handler.setLevel(logging.INFO)
    for name in START_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


def memory_limit_share(engine_share: float, graphs_gib: float, total_gib: float) -> float:
    """Share of the card that torch's allocator in the engine may take: the engine's own, its graphs, and
    blocks of other sizes."""
    return min(1.0, engine_share + (graphs_gib + ENGINE_CACHE_GIB) / total_gib)
