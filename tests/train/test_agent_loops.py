"""The agent loop as verl calls it, with the bundled model's tokenizer; what the engine would say is given."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from azr.config.load import load_config
from azr.prompts import propose_prompt, solve_prompt
from azr.selfplay.options import prompt_options
from azr.selfplay.outcomes import ProposeOutcome, SolveOutcome, outcome_from_json
from azr.selfplay.rows import PromptRow
from azr.tasks import Role, Stream, Task, TaskType

pytest.importorskip("verl")
pytest.importorskip("vllm")

MODEL = Path(__file__).resolve().parents[2] / "data" / "models" / "azr-tiny"


async def test_a_solve_row_is_asked_with_the_ids_that_the_trainer_found() -> None:
    from transformers import AutoTokenizer

    from azr.train.verl.agent_loops import SelfPlayAgentLoop

    config = load_config(["recipe=cpu_tiny"]).config
    tokenizer: Any = AutoTokenizer.from_pretrained(MODEL)
    said = tokenizer.encode("so </think>\n<answer>\n2\n</answer>", add_special_tokens=False)
    asked: list[list[int]] = []

    class Engine:
        async def generate(
            self, *, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any]
        ) -> Any:
            asked.append(prompt_ids)
            return SimpleNamespace(
                token_ids=[*said, tokenizer.eos_token_id], log_probs=None, extra_fields={"global_steps": 3}
            )

    loop = SelfPlayAgentLoop(config, Engine(), tokenizer, str(MODEL))
    task = Task(
        task_type=TaskType.DEDUCTION, code="def f(x):\n    return x + 1", inputs=("1",), outputs=("2",)
    )
    prompt = solve_prompt(task, prompt_options(config.selfplay))
    row = PromptRow(stream=Stream(Role.SOLVE, TaskType.DEDUCTION), prompt=prompt, row_id="r", task=task)

    [output] = await loop.run(json.dumps(row.to_json() | {"prompt_ids": [5, 6, 7]}), {})

    assert asked == [[5, 6, 7]] and output.prompt_ids == [5, 6, 7]
    outcome = outcome_from_json(json.loads(output.extra_fields["outcome"]))
    assert isinstance(outcome, SolveOutcome)
    assert output.extra_fields["score"] == outcome.score == 1.0
    assert output.extra_fields["min_global_steps"] == 3


async def test_a_proposal_like_a_probe_goes_back_without_samples() -> None:
    from transformers import AutoTokenizer

    from azr.train.verl.agent_loops import SelfPlayAgentLoop

    config = load_config(["recipe=cpu_tiny"]).config
    tokenizer: Any = AutoTokenizer.from_pretrained(MODEL)
    program = "```python\ndef f(x):\n    return x + 1\n```\n```input\n1\n```"
    said = tokenizer.encode(f"so </think>\n<answer>\n{program}\n</answer>", add_special_tokens=False)

    class Engine:
        async def generate(self, **_: Any) -> Any:
            return SimpleNamespace(
                token_ids=[*said, tokenizer.eos_token_id], log_probs=None, extra_fields={"global_steps": 3}
            )

    def resembles(source: str) -> str:
        return "probes.jsonl:1" if source.endswith("return x + 1") else ""

    loop = SelfPlayAgentLoop(config, Engine(), tokenizer, str(MODEL), resembles)
    stream = Stream(Role.PROPOSE, TaskType.DEDUCTION)
    prompt = propose_prompt(TaskType.DEDUCTION, [], prompt_options(config.selfplay))
    row = PromptRow(stream=stream, prompt=prompt, row_id="r")
    [output] = await loop.run(json.dumps(row.to_json() | {"prompt_ids": [5, 6, 7]}), {})
    outcome = outcome_from_json(json.loads(output.extra_fields["outcome"]))
    assert isinstance(outcome, ProposeOutcome) and outcome.is_leak
