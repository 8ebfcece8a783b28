"""The replay buffer's deadline and its count of failures, against verl's real class with a stand-in for the
queue server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from azr.errors import EngineError

pytest.importorskip("verl")


class Queue:
    """The three calls that the buffer makes to TransferQueue."""

    def __init__(self, tags: dict[str, dict[str, Any]]) -> None:
        self.tags = tags

    def kv_list(self, *_: Any) -> dict[str, dict[str, dict[str, Any]]]:
        return {"train": self.tags}

    def kv_clear(self, keys: list[str], partition_id: str) -> None:
        for key in keys:
            self.tags.pop(key, None)


def prompt(status: str) -> dict[str, Any]:
    return {"is_prompt": True, "status": status, "global_steps": 1}


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    from verl.trainer.ppo.v1 import replay_buffer as module

    from azr.train.verl.replay import DeadlineReplayBuffer

    def build(
        tags: dict[str, dict[str, Any]], deadline_s: float, max_failed: float = 0.5
    ) -> DeadlineReplayBuffer:
        monkeypatch.setattr(module, "tq", Queue(tags))
        return DeadlineReplayBuffer(
            deadline_s=deadline_s,
            max_failed=max_failed,
            trainer_mode="sync",
            trainer_config={},
            max_off_policy_threshold=1,
            max_off_policy_strategy="drop",
            sampler_kwargs={},
        )

    return build


def test_a_complete_batch_is_returned_and_failures_are_counted(make: Callable[..., Any]) -> None:
    tags = {"a": prompt("finished"), "b": prompt("failure"), "a_0_0": {"seq_len": 3}}
    buffer = make(tags, deadline_s=5.0)
    batch, _ = buffer.sample(global_steps=1, partition_id="train", batch_size=2)
    assert batch.keys == ["a_0_0"]
    assert buffer.failed_rows == 1


def test_rows_are_in_the_order_in_which_they_were_asked_for(make: Callable[..., Any]) -> None:
    """Whoever finished first: the gradients of a step are added up in one order, on every machine."""
    came = ["s3trainr10_0_0", "s3trainr2_0_1", "s3trainr2_0_0", "s3trainr0_0_0", "s3trainr2_0_10"]
    tags = {key.split("_")[0]: prompt("finished") for key in came} | {key: {"seq_len": 3} for key in came}
    batch, _ = make(tags, deadline_s=5.0).sample(global_steps=3, partition_id="train", batch_size=3)
    assert batch.keys == [
        "s3trainr0_0_0",
        "s3trainr2_0_0",
        "s3trainr2_0_1",
        "s3trainr2_0_10",
        "s3trainr10_0_0",
    ]
    assert len(batch.tags) == 5


def test_a_row_that_never_comes_ends_the_wait_with_a_message(make: Callable[..., Any]) -> None:
    buffer = make({"a": prompt("finished"), "b": prompt("running"), "a_0_0": {}}, deadline_s=0.2)
    with pytest.raises(EngineError, match=r"1 of 2 responses are still missing"):
        buffer.sample(global_steps=1, partition_id="train", batch_size=2)


def test_a_batch_of_failures_only_is_an_error(make: Callable[..., Any]) -> None:
    buffer = make({"a": prompt("failure"), "b": prompt("failure")}, deadline_s=5.0)
    with pytest.raises(EngineError, match="no agent loop of step 1") as raised:
        buffer.sample(global_steps=1, partition_id="train", batch_size=2)
    assert "sync_refill" not in str(raised.value), "verl's advice is about a key that a run does not have"


def test_too_many_failures_are_an_error_that_a_restart_may_mend(make: Callable[..., Any]) -> None:
    """An engine that is killed in the middle of a batch leaves some rows finished; the campaign must not end
    over it."""
    from azr.train.verl.runner import FINAL_ERRORS

    buffer = make(
        {"a": prompt("finished"), "b": prompt("failure"), "a_0_0": {"seq_len": 3}},
        deadline_s=5.0,
        max_failed=0.01,
    )
    with pytest.raises(
        EngineError,
        match=r"1 of 2 agent loops failed in step 1, more than .*=1% allows; most likely the engine or the sandbox died",
    ) as caught:
        buffer.sample(global_steps=1, partition_id="train", batch_size=2)
    assert not isinstance(caught.value, FINAL_ERRORS)
