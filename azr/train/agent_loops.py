"""Propose and solve as verl agent loops: episodes of ``azr.selfplay`` on verl's engine client.

A loop's row carries its ``PromptRow`` as JSON text. It returns the row's own response first; the difficulty samples of an
accepted proposal follow where they are trained on. Each output carries its stream, reward and outcome in ``extra_fields``.
"""

from __future__ import annotations

import asyncio
import functools
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput, register

from azr.sandbox import Sandbox
from azr.selfplay.episode import Completion, ProposeOutcome, SolveOutcome, play_propose, play_solve
from azr.selfplay.rows import PromptRow
from azr.tasks import Prompt
from azr.train.tokens import prompt_token_ids
from azr.train.verl_config import config_from_verl

PROPOSE_LOOP = "azr_propose"
SOLVE_LOOP = "azr_solve"


@dataclass(frozen=True)
class EngineResponse:
    """What the engine returned for one prompt: the handle behind a ``Completion``."""

    prompt_ids: list[int]
    response_ids: list[int]
    log_probs: list[float] | None
    weights_step: int
    """Step of the weights that generated it."""


@functools.lru_cache(maxsize=1)
def worker_state(config_json: str) -> tuple[Any, Sandbox]:
    """The typed configuration and the sandbox pool of this worker process; one of each."""
    from azr.config import from_container

    config = from_container(json.loads(config_json))
    return config, Sandbox(config.sandbox)


class SelfPlayLoop(AgentLoopBase):
    """What both loops share. verl builds one object for each row."""

    def __init__(self, trainer_config: Any, server_manager: Any, tokenizer: Any, **_: Any) -> None:
        # Not calling verl's constructor on purpose: it builds a chat-template diff engine for every row, which a single-turn
        # loop over ready token ids has no use for.
        self.server_manager = server_manager
        self.tokenizer = tokenizer
        config = config_from_verl(trainer_config.config)
        from azr.config import to_container

        self.config, self.sandbox = worker_state(json.dumps(to_container(config), sort_keys=True))

    async def _generate(self, prompt: Prompt, n: int, sampling_params: dict[str, Any]) -> list[Completion]:
        """n samples of one prompt; the engine shares the prompt's KV cache among them."""
        prompt_ids = prompt_token_ids(self.tokenizer, prompt)
        return list(await asyncio.gather(*(self._generate_one(prompt_ids, sampling_params) for _ in range(n))))

    async def _generate_one(self, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Completion:
        output = await self.server_manager.generate(
            request_id=uuid4().hex, prompt_ids=list(prompt_ids), sampling_params=dict(sampling_params)
        )
        limit = self.config.rollout.max_response_tokens
        response_ids = list(output.token_ids)[:limit] or [self.tokenizer.eos_token_id]
        log_probs = list(output.log_probs)[:limit] if output.log_probs else None
        finished = response_ids[-1] == self.tokenizer.eos_token_id or len(response_ids) < limit
        response = EngineResponse(prompt_ids, response_ids, log_probs, int(output.extra_fields.get("global_steps") or 0))
        text = self.tokenizer.decode(response_ids, skip_special_tokens=True)
        return Completion(text=text, n_tokens=len(response_ids), finished=finished, handle=response)

    def _output(self, completion: Completion, stream: str, reward: float, group: str, outcome: str) -> AgentLoopOutput:
        response: EngineResponse = completion.handle  # type: ignore[assignment]
        return AgentLoopOutput(
            prompt_ids=response.prompt_ids,
            response_ids=response.response_ids,
            response_mask=[1] * len(response.response_ids),
            response_logprobs=response.log_probs,
            reward_score=reward,
            num_turns=2,
            metrics=AgentLoopMetrics(),
            extra_fields={
                "stream": stream,
                "group": group,
                "outcome": outcome,
                "reward_extra_info": {},
                "min_global_steps": response.weights_step,
                "max_global_steps": response.weights_step,
            },
        )


@register(PROPOSE_LOOP)
class ProposeLoop(SelfPlayLoop):
    """Generate a task, validate it, sample solutions for its difficulty, reward its learnability (spec 4.1, 4.2)."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> list[AgentLoopOutput]:
        row = PromptRow.from_json(json.loads(kwargs["row"]))
        generate = functools.partial(self._generate, sampling_params=sampling_params)
        outcome: ProposeOutcome = await play_propose(row, generate, self.sandbox, self.config.selfplay)
        outputs = [self._output(outcome.completion, row.stream.name, outcome.reward, row.row_id, json.dumps(outcome.to_json()))]
        if self.config.selfplay.train_on_samples:
            outputs += [
                self._output(sample.completion, sample.stream.name, sample.reward, f"{row.row_id}:samples", json.dumps(sample.to_json()))
                for sample in outcome.samples
            ]
        return outputs


@register(SOLVE_LOOP)
class SolveLoop(SelfPlayLoop):
    """Generate an answer and grade it (spec 3.5, 4.4)."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> list[AgentLoopOutput]:
        row = PromptRow.from_json(json.loads(kwargs["row"]))
        generate = functools.partial(self._generate, sampling_params=sampling_params)
        outcome: SolveOutcome = await play_solve(row, generate, self.sandbox, self.config.selfplay)
        return [self._output(outcome.completion, row.stream.name, outcome.reward, row.row_id, json.dumps(outcome.to_json()))]
