"""Records what a real model says in self-play, with every verdict, as a fixture for
tests/selfplay/test_transcripts.py.

    python scripts/dev/record_transcripts.py MODEL_FOLDER OUT.jsonl --frame compact --steps 3

Each line holds a row as it was played, the model's responses in the order they were asked for, and what came
of them: rewards, reasons, the accepted task. Read the verdicts before you commit them: the test demands
exactly these for ever.
"""

from __future__ import annotations

import _project

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

from azr.config.sandbox import SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.sandbox import Sandbox
from azr.selfplay.credit import assign_rewards
from azr.selfplay.episode import play
from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import Completion
from azr.selfplay.rows import PromptRow
from azr.selfplay.transcripts import summary
from azr.system.files import json_line, read_jsonl, write_text_atomic
from azr.system.terminal import outlive_the_terminal
from azr.tasks import Prompt, Task
from azr.train.tokens import end_token_ids, prompt_token_ids, response_text
from tiny.sampling import sample_ids

SEEDS = Path(__file__).resolve().parents[2] / "data" / "seeds"


class TransformersModel:
    """Samples at temperature 1; requests that arrive together are generated in one batch."""

    def __init__(self, folder: str, max_tokens: int, batch: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.max_tokens, self.batch = max_tokens, batch
        self.ends = end_token_ids(self.tokenizer, folder)
        self.queue: list[tuple[list[int], asyncio.Future[Completion]]] = []

    async def __call__(self, prompt: Prompt, n: int) -> list[Completion]:
        futures = [asyncio.get_running_loop().create_future() for _ in range(n)]
        self.queue += [(prompt_token_ids(self.tokenizer, prompt), future) for future in futures]
        return list(await asyncio.gather(*futures))

    async def serve(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            while self.queue:
                taken, self.queue = self.queue[: self.batch], self.queue[self.batch :]
                for (_, future), completion in zip(
                    taken, self.generate([ids for ids, _ in taken]), strict=True
                ):
                    future.set_result(completion)
                await asyncio.sleep(0)

    def generate(self, prompts: list[list[int]]) -> list[Completion]:
        rows = sample_ids(self.model, prompts, self.ends, max_new_tokens=self.max_tokens, batch=self.batch)
        return [
            Completion(response_text(self.tokenizer, row), len(row), row[-1] in self.ends) for row in rows
        ]


class Recorder:
    """Passes requests on and keeps the answers in the order they were asked for."""

    def __init__(self, model: TransformersModel) -> None:
        self.model = model
        self.said: list[dict[str, Any]] = []

    async def __call__(self, prompt: Prompt, n: int) -> list[Completion]:
        completions = await self.model(prompt, n)
        self.said += [
            {"text": each.text, "n_tokens": each.n_tokens, "finished": each.finished} for each in completions
        ]
        return completions


async def record_row(
    row: PromptRow, step: int, model: TransformersModel, sandbox: Sandbox, config: SelfPlayConfig, name: str
):
    recorder = Recorder(model)
    outcome = await play(row, recorder, sandbox, config, lambda prompt: True)
    return outcome, {
        "model": name,
        "step": step,
        "row": row.to_json(),
        "responses": recorder.said,
    }


async def record(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    config = SelfPlayConfig(
        frame=arguments.frame,
        batch_size=arguments.batch_size,
        difficulty_samples=arguments.samples,
        references=arguments.references,
        num_inputs=arguments.num_inputs,
    )
    model = TransformersModel(arguments.model, arguments.max_tokens, arguments.generation_batch)
    model.torch.manual_seed(arguments.seed)
    game = SelfPlay(config, arguments.seed)
    game.start(
        [Task.from_json(line) for path in sorted(SEEDS.glob(arguments.seeds)) for line in read_jsonl(path)]
    )
    longest = arguments.max_prompt_chars
    lines: list[dict[str, Any]] = []
    server = asyncio.ensure_future(model.serve())
    with Sandbox(SandboxConfig(workers=2)) as sandbox:
        for step in range(1, arguments.steps + 1):
            rows = game.plan_step(step, lambda prompt: len(prompt.text) <= longest)
            played = await asyncio.gather(
                *[record_row(row, step, model, sandbox, config, arguments.name) for row in rows]
            )
            rewarded = assign_rewards([outcome for outcome, _ in played], game, arguments.max_tokens)
            accepted = {task.task_id for task in game.accept(step, rewarded)}
            for outcome, (_, line) in zip(rewarded, played, strict=True):
                expected = summary(outcome)
                lines.append(
                    line | {"expected": expected | {"buffered": expected.get("task_id") in accepted}}
                )
            write_text_atomic(arguments.out, "".join(json_line(line) for line in lines))
            print(
                f"step {step}: {sum(len(line['responses']) for line in lines)} responses, {len(accepted)} accepted"
            )
    server.cancel()
    return lines


def main() -> None:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("model", help="Hugging Face folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", default="model", help="what the fixture calls the model")
    parser.add_argument("--frame", default="compact")
    parser.add_argument("--seeds", default="azr_tiny.jsonl", help="file pattern under data/seeds")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--references", type=int, default=2)
    parser.add_argument("--num-inputs", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--max-prompt-chars", type=int, default=1200)
    parser.add_argument("--generation-batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    lines = asyncio.run(record(arguments))
    print(json.dumps({"rows": len(lines), "responses": sum(len(line["responses"]) for line in lines)}))


if __name__ == "__main__":
    outlive_the_terminal()
    main()
