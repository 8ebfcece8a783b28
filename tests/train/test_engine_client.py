"""The client of a single engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("verl")


async def test_the_load_balancer_of_one_engine_is_asked_once() -> None:
    from azr.train.verl.engine_client import OnlyEngineClient

    asked: list[str] = []

    def remote(function: Any) -> Any:
        return SimpleNamespace(remote=function)

    async def acquire(request_id: str) -> tuple[str, Any]:
        asked.append(request_id)
        return "only", engine

    async def no_fields() -> list[str]:
        return []

    async def generate(**options: Any) -> Any:
        return SimpleNamespace(token_ids=options["prompt_ids"], extra_fields={})

    engine = SimpleNamespace(generate=remote(generate))
    balancer: Any = SimpleNamespace(
        acquire_server=remote(acquire),
        require_acquire_fields=remote(no_fields),
        require_release_fields=remote(no_fields),
    )
    rollout = SimpleNamespace(name="vllm", full_determinism=False)
    config: Any = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=rollout))
    client = OnlyEngineClient(config, balancer)
    for number in range(3):
        output = await client.generate(f"r{number}", prompt_ids=[number], sampling_params={})
        assert output.token_ids == [number]
    assert asked == ["r0"]
