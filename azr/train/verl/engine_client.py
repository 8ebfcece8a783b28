"""verl's client of the engines, where there is only one."""

from __future__ import annotations

from typing import Any

from verl.workers.rollout.llm_server import LLMServerClient


class OnlyEngineClient(LLMServerClient):
    """Asks the load balancer once. verl asks it before and tells it after every response: two of three calls through
    Ray, to learn which of one engine is the least busy."""

    _only: Any = None

    async def _acquire_server(self, request_id: str, **extra: Any) -> Any:
        if self._only is None:
            self._only = await super()._acquire_server(request_id, **extra)
        return self._only

    def _release_server(self, server_id: str, request_id: str | None = None) -> None: ...
