"""Propose and solve on verl's engine client: episodes of ``azr.selfplay``.

A row comes as its ``PromptRow`` in JSON; its stream says which role is played. What is returned are the responses to
train on, the row's own last (before it its difficulty samples or same-step solution, where those are trained on). Each
output carries its own stream, grade and task in ``extra_fields``; the last one also the outcome that the trainer keeps.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput
from vllm.sampling_params import RequestOutputKind

from azr.config import Config
from azr.sandbox import Sandbox
from azr.selfplay.episode import play
from azr.selfplay.outcomes import Completion, RowOutcome, SolveOutcome, trained_outcomes
from azr.selfplay.rows import PromptRow
from azr.selfplay.validation import Resembles
from azr.system.hashes import sampling_seed
from azr.tasks import Prompt
from azr.train.fixed_lengths import play_fixed_lengths
from azr.train.tokens import PromptTokens, end_token_ids, response_text

WHOLE_RESPONSE = {"output_kind": RequestOutputKind.FINAL_ONLY, "detokenize": False, "flat_logprobs": True}
"""How the engine hands over a response: once, as token ids. verl would have every token of hundreds of
sequences streamed and decoded on one Python thread, which the card then waits for (docs/performance.md)."""


@dataclass(frozen=True)
class EngineResponse:
    """What the engine returned for one prompt: the handle behind a ``Completion``."""

    prompt_ids: list[int]
    response_ids: list[int]
    log_probs: list[float] | None
    weights_step: int
    """Step of the weights that generated it."""


class SelfPlayAgentLoop:
    """Plays the rows of one worker process, all side by side.

    Args:
        engine: verl's client of the engines.
        model_folder: says which tokens end a response.
        resembles: what the run's proposals may not resemble.
    """

    def __init__(
        self,
        config: Config,
        engine: Any,
        tokenizer: Any,
        model_folder: str,
        resembles: Resembles | None = None,
    ) -> None:
        self.config, self.engine, self.tokenizer = config, engine, tokenizer
        self.resembles = resembles
        self.ends = end_token_ids(tokenizer, model_folder)
        self.sandbox = Sandbox(config.sandbox)

    async def play(self, row_json: str, sampling_params: dict[str, Any]) -> list[RowOutcome]:
        """Plays a row: the responses that can be trained on, the row's own last."""
        record = json.loads(row_json)
        row = PromptRow.from_json(record)
        tokens = PromptTokens(self.tokenizer, self.config.rollout.max_prompt_tokens)
        tokens.learn(row.prompt, record["prompt_ids"])
        asked = itertools.count()

        def params() -> dict[str, Any]:
            if not self.config.rollout.seeded_sampling:
                return sampling_params
            return sampling_params | {"seed": sampling_seed(self.config.seed, row.row_id, next(asked))}

        async def generate(prompt: Prompt, n: int) -> list[Completion]:
            """n samples of one prompt; the engine shares the prompt's KV cache among them."""
            ids = tokens.ids(prompt)
            return list(await asyncio.gather(*[self._generate_one(ids, params()) for _ in range(n)]))

        if self.config.rollout.fixed_response_tokens:
            return await play_fixed_lengths(row, self.config, sampling_params, self._generate_one)
        game, fits = self.config.selfplay, tokens.fits
        outcome = await play(row, generate, self.sandbox, game, fits, self.resembles)
        return trained_outcomes(outcome, game)

    async def run(self, row_json: str, sampling_params: dict[str, Any]) -> list[AgentLoopOutput]:
        *further, own = await self.play(row_json, sampling_params)
        return [*(self._output(each, "") for each in further), self._output(own, json.dumps(own.to_json()))]

    async def _generate_one(self, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Completion:
        output = await self.engine.generate(
            request_id=uuid4().hex,
            prompt_ids=list(prompt_ids),
            sampling_params={**sampling_params, **WHOLE_RESPONSE},
        )
        limit = self.config.rollout.max_response_tokens
        response_ids = list(output.token_ids)[:limit] or [min(self.ends)]
        log_probs = list(output.log_probs)[:limit] if output.log_probs else None
        response = EngineResponse(
            prompt_ids, response_ids, log_probs, int(output.extra_fields.get("global_steps") or 0)
        )
        text = response_text(self.tokenizer, response_ids)
        finished = response_ids[-1] in self.ends or len(response_ids) < limit
        return Completion(text=text, n_tokens=len(response_ids), finished=finished, handle=response)

    def _output(self, outcome: RowOutcome, record: str) -> AgentLoopOutput:
        response = outcome.completion.handle
        assert isinstance(response, EngineResponse)
        return AgentLoopOutput(
            prompt_ids=response.prompt_ids,
            response_ids=response.response_ids,
            response_mask=[1] * len(response.response_ids),
            response_logprobs=response.log_probs,
            reward_score=0.0,  # verl wants one; azr.selfplay.credit pays
            num_turns=2,
            metrics=AgentLoopMetrics(),
            extra_fields={
                "stream": outcome.stream.name,
                "group": outcome.task_id if isinstance(outcome, SolveOutcome) else "",
                "format_ok": outcome.format_ok,
                "score": outcome.score if isinstance(outcome, SolveOutcome) else 0.0,
                "outcome": record,
                "reward_extra_info": {},
                "min_global_steps": response.weights_step,
                "max_global_steps": response.weights_step,
            },
        )
