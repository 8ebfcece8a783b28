"""An engine that fails while weights are sent to it ends the sending, with its own words."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("vllm")

import zmq
from verl.workers.rollout.base import get_rollout_class
from verl.workers.rollout.vllm_rollout import bucketed_weight_transfer

from azr.errors import EngineError
from azr.train.verl import weight_sender

WEIGHTS = [(f"layer.{number}", torch.full((1 << 18,), float(number))) for number in range(4)]
"""Of 1 MiB each, so that a bucket of that size takes one."""


@pytest.fixture(autouse=True)
def without_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    device = SimpleNamespace(synchronize=lambda: None, empty_cache=lambda: None)
    monkeypatch.setattr(bucketed_weight_transfer, "get_torch_device", lambda: device)
    monkeypatch.setattr(bucketed_weight_transfer, "is_support_ipc", lambda: False)


def send(handle: str, answer: Future[Any] | None, bucket_mib: int = 1) -> None:
    asyncio.run(
        weight_sender.WeightSender(handle, bucket_mib, True, answer).async_send_weights(iter(WEIGHTS))
    )


def answering(handle: str, buckets: int) -> threading.Thread:
    """An engine that takes so many messages and then says no more."""

    def engine() -> None:
        with zmq.Context() as context, context.socket(zmq.REP) as socket:
            socket.connect(handle)
            for _ in range(buckets):
                socket.recv_pyobj()
                socket.send(b"")

    thread = threading.Thread(target=engine)
    thread.start()
    return thread


def test_verls_workers_find_it() -> None:
    assert get_rollout_class("vllm", "async") is weight_sender.EngineAdapter


def test_an_engine_that_takes_everything_gets_everything(tmp_path: Path) -> None:
    handle, received = f"ipc://{tmp_path}/s", {}

    def take() -> None:
        receiver = bucketed_weight_transfer.BucketedWeightReceiver(handle, torch.device("cpu"), use_shm=True)
        receiver.receive_weights(lambda weights, _: received.update({name: w.clone() for name, w in weights}))

    thread = threading.Thread(target=take)
    thread.start()
    send(handle, Future())
    thread.join(20)
    assert {name: value[0].item() for name, value in received.items()} == {
        f"layer.{n}": float(n) for n in range(4)
    }


@pytest.mark.parametrize("taken", [0, 2])
def test_the_failure_of_the_engine_ends_the_sending(tmp_path: Path, taken: int) -> None:
    handle, answer = f"ipc://{tmp_path}/s", Future[Any]()
    engine = answering(handle, taken)
    threading.Timer(0.2, lambda: answer.set_exception(RuntimeError("CUDA out of memory"))).start()
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        send(handle, answer)
    engine.join(20)


def test_an_engine_that_goes_between_the_look_and_the_sending_is_not_waited_for() -> None:
    class Left:
        def poll(self, *_: int) -> bool:
            return True

        def send_pyobj(self, _: Any, flags: int = 0) -> None:
            assert flags & zmq.NOBLOCK, "this would wait for ever"
            raise zmq.Again

    answer = Future[Any]()
    threading.Timer(0.1, lambda: answer.set_exception(RuntimeError("CUDA out of memory"))).start()
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        weight_sender._Watched(Left(), answer).send_pyobj("a bucket")


def test_an_engine_that_is_done_too_early_or_never_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Future[Any]()
    answer.set_result(None)
    with pytest.raises(EngineError, match="still being sent"):
        send(f"ipc://{tmp_path}/a", answer)
    monkeypatch.setattr(weight_sender, "BUCKET_LIMIT_S", 1.0)
    with pytest.raises(EngineError, match="within 1 s"):
        send(f"ipc://{tmp_path}/b", None)
