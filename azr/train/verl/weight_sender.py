"""The trainer's end of the way to the engine: verl's adapter, with a socket that no other run has, and an engine
that fails while weights are on their way told at once.

verl sends a bucket and waits for the answer without a limit. An engine that runs out of memory over a bucket
never answers, and its error waits where nobody looks: the card stands still until the driver's limit for a step
is over, and then the cause is unknown.

Registered with verl under the name that its workers look up; importing this module registers it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import torch
import zmq
from verl.workers.rollout import base
from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightSender
from verl.workers.rollout.vllm_rollout.vllm_rollout import ServerAdapter

from azr.errors import EngineError
from azr.train.sockets import own_socket

logger = logging.getLogger(__name__)

LOOK_MS = 500
"""How often a sender that waits looks whether the engine has failed."""
BUCKET_LIMIT_S = 300.0
"""Longest time for one bucket (a few GiB at most, over a card's own memory or shared memory)."""


class EngineAdapter(ServerAdapter):
    def __init__(self, *options: Any, **named: Any) -> None:
        super().__init__(*options, **named)
        self.zmq_handle = own_socket(self.zmq_handle)

    async def resume(self, tags: list[str]) -> None:
        with told(f"engine wakes up: {', '.join(tags)}"):
            await super().resume(tags)

    @torch.no_grad()
    async def update_weights(
        self,
        weights: Iterable[tuple[str, torch.Tensor]],
        global_steps: int | None = None,
        wire_format: str = "named_tensors",
        **options: Any,
    ) -> None:
        """verl's, for whole tensors.

        Raises:
            ray.exceptions.RayTaskError: what the engine failed with.
            EngineError: it stopped taking weights without saying why.
        """
        assert wire_format == "named_tensors", f"nothing here sends weights as {wire_format}"
        what = "adapters" if options.get("peft_config") and options.get("base_sync_done") else "weights"
        with told(f"{what} are sent to the engine"):
            taking = await self._execute_method(
                "update_weights_from_ipc", non_block=True, kwargs={**options, "use_shm": self.use_shm}
            )
            bucket_mib = self.config.checkpoint_engine.update_weights_bucket_megabytes
            answer = None if taking is None else taking.future()
            sender = WeightSender(self.zmq_handle, bucket_mib, self.use_shm, answer)
            await sender.async_send_weights(weights)
            if taking is None:
                return
            await taking

        await self.server_handle.clear_kv_cache.remote()
        if global_steps is not None:
            await self.server_handle.set_global_steps.remote(global_steps)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Logs that something begins, and how long it took."""
    logger.info("%s", what)
    started_s = time.monotonic()
    yield
    logger.info("%s: done in %.1f s", what, time.monotonic() - started_s)


class WeightSender(BucketedWeightSender):
    """verl's, which does not wait for an engine that has failed."""

    def __init__(self, handle: str, bucket_mib: int, use_shm: bool, answer: Future[Any] | None) -> None:
        """
        Args:
            answer: of the engine, to the request to take weights; None on a rank that did not make it.
        """
        super().__init__(handle, bucket_mib, use_shm)
        self._answer = answer

    def _init_socket(self) -> None:
        super()._init_socket()
        self.socket = _Watched(self.socket, self._answer)


class _Watched:
    """A socket that asks and waits, for as long as there is somebody to answer."""

    def __init__(self, socket: Any, answer: Future[Any] | None) -> None:
        self._socket, self._answer = socket, answer

    def send_pyobj(self, content: Any) -> None:
        # there is nobody to send to before the engine has connected, nor after it has gone
        self._when_ready(zmq.POLLOUT, lambda: self._socket.send_pyobj(content, zmq.NOBLOCK))

    def recv(self) -> bytes:
        return self._when_ready(zmq.POLLIN, lambda: self._socket.recv(zmq.NOBLOCK))

    def _when_ready(self, for_what: int, act: Callable[[], Any]) -> Any:
        answer, limit_s = self._answer, time.monotonic() + BUCKET_LIMIT_S
        while time.monotonic() < limit_s:
            is_over = answer is not None and answer.done()  # before looking: its last word may be on its way
            if self._socket.poll(LOOK_MS, for_what):
                with suppress(zmq.Again):  # it went between the look and this
                    return act()
            if answer is not None and is_over:
                answer.result()
                raise EngineError("the engine says that it has all weights while some are still being sent")
        raise EngineError(
            f"the engine has not taken a part of the weights within {BUCKET_LIMIT_S:.0f} s; see the end of trainer.log"
        )

    def close(self) -> None:
        self._socket.close(linger=0)


base._ROLLOUT_REGISTRY["vllm", "async"] = f"{__name__}.EngineAdapter"
