"""verl's agent-loop worker and manager, with three differences: rows are played by our loop, every output keeps
its own reward, and rows that nothing is learned from need no queue.

``AgentLoopWorkerTQ`` is a Ray actor class and cannot be subclassed; its plain class is in ``__ray_metadata__``.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from typing import Any

import ray
import torch
import transfer_queue as tq
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from azr.selfplay.validation import Resembles
from azr.train.verl.agent_loops import SelfPlayAgentLoop
from azr.train.verl.configuration import config_from_verl

logger = logging.getLogger(__name__)

_PlainWorker: Any = AgentLoopWorkerTQ.__ray_metadata__.modified_class  # type: ignore[attr-defined]


class SelfPlayAgentLoopWorker(_PlainWorker):
    _resembles: Resembles | None = None

    def keep_out(self, resembles: Resembles | None) -> None:
        """Before the first row is played: what the run's proposals may not resemble."""
        self._resembles = resembles

    @functools.cached_property
    def _loop(self) -> SelfPlayAgentLoop:
        model_folder = self.config.actor_rollout_ref.model.path
        config = config_from_verl(self.config)
        return SelfPlayAgentLoop(config, self.llm_client, self.tokenizer, model_folder, self._resembles)

    async def _run_agent_loop(
        self,
        sampling_params: dict[str, Any],
        trajectory: dict[str, Any],
        *,
        agent_name: str,
        trace: bool,
        row: str,
        **columns: Any,
    ) -> None:
        """Plays a row. verl's own has Hydra build a loop for each, from a copy of the whole configuration."""
        del agent_name, trace
        output = await self._loop.run(row, sampling_params)
        await self._agent_loop_postprocess(output, trajectory["validate"], **columns)

    async def play(self, rows: list[str], temperature: float) -> list[str]:
        """Plays rows that nothing is learned from, without the queue.

        Returns:
            their outcomes in JSON; empty for each that failed.
        """
        sampling = {"temperature": temperature, "top_p": 1.0, "top_k": -1}
        played = await asyncio.gather(
            *(self._loop.play(row, sampling) for row in rows), return_exceptions=True
        )
        for each in played:
            if isinstance(each, BaseException):
                logger.error("a row failed", exc_info=each)
        return ["" if isinstance(each, BaseException) else json.dumps(each[-1].to_json()) for each in played]

    async def _agent_loop_postprocess(
        self, output: list[AgentLoopOutput], validate: bool, **kwargs: Any
    ) -> None:
        """Puts a row's trajectories into TransferQueue.

        verl's own copies the last output's reward onto the others, which would pay a proposal and its
        difficulty samples alike; and it lets the prompt's columns overwrite the outputs' fields.
        """
        keys, rows, tags = [], [], []
        for index, item in enumerate(output):
            prompts = torch.tensor(item.prompt_ids, dtype=torch.int64)  # [prompt]
            responses = torch.tensor(item.response_ids, dtype=torch.int64)  # [response]
            input_ids = torch.cat([prompts, responses])  # [prompt + response]
            columns = {**kwargs, **item.as_dict()}
            columns["loss_mask"] = columns["response_mask"]
            columns["input_ids"] = input_ids
            columns["position_ids"] = torch.arange(input_ids.numel(), dtype=torch.int64)
            columns["multi_modal_inputs"] = {}
            keys.append(f"{kwargs['uid']}_{kwargs['session_id']}_{index}")
            rows.append(columns)
            tags.append(
                {
                    "status": "success",
                    "prompt_len": prompts.numel(),
                    "response_len": responses.numel(),
                    "seq_len": input_ids.numel(),
                    "global_steps": kwargs["global_steps"],
                    "min_global_steps": item.extra_fields["min_global_steps"],
                    "max_global_steps": item.extra_fields["max_global_steps"],
                }
            )
        fields, partition = list_of_dict_to_tensordict(rows), "val" if validate else "train"
        await tq.async_kv_batch_put(keys=keys, fields=fields, tags=tags, partition_id=partition)


class SelfPlayAgentLoopManager(AgentLoopManagerTQ):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(SelfPlayAgentLoopWorker)
