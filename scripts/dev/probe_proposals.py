#!/usr/bin/env python
"""Which way of asking gets valid proposals out of a model? Several ways, one engine, no training.

    python scripts/dev/probe_proposals.py MODEL_FOLDER                                    induction, all variants below
    python scripts/dev/probe_proposals.py MODEL_FOLDER --variants published,example4 --requests 32
    python scripts/dev/probe_proposals.py MODEL_FOLDER --variant "mine: selfplay.frame=short selfplay.num_inputs=3"
    python scripts/dev/probe_proposals.py MODEL_FOLDER --type deduction --variant "chat:" --variant "short: selfplay.frame=short"

Every variant asks about the same programs (drawn from the seeds with fixed seeds), at temperature 1, as
training does; the proposals are read and verified by the code of training. ``--solve N`` answers each valid
proposal N times, too: valid tasks that everybody or nobody solves teach nothing. Prints a table; every
prompt, response and verdict goes to ``--out`` (JSON lines).
"""

from __future__ import annotations

import _project

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from azr.config import Config
from azr.config.load import load_config
from azr.errors import AzrError, ConfigError
from azr.parsing import parse_solution, split_response
from azr.prompts import solve_prompt
from azr.sandbox import Sandbox
from azr.selfplay.episode import Stopwatch, read_and_validate
from azr.selfplay.game import SelfPlay
from azr.selfplay.grading import grade
from azr.selfplay.options import prompt_options
from azr.selfplay.rewards import propose_reward
from azr.selfplay.rows import PromptRow
from azr.system.files import append_jsonl, read_jsonl
from azr.tasks import Prompt, Rejection, Task, TaskType
from azr.train.tokens import prompt_token_ids

SEED = 0
COMMON = ["selfplay.frame=chat", "selfplay.strict_format=true"]
EXAMPLE = ["selfplay.num_inputs=4", "selfplay.usable_inputs=true", "selfplay.induction_prompt=example"]
VARIANTS: dict[str, list[str]] = {
    "published": ["selfplay.num_inputs=10"],
    "plain4": ["selfplay.num_inputs=4"],
    "usable4": ["selfplay.num_inputs=4", "selfplay.usable_inputs=true"],
    "numbered4": [
        "selfplay.num_inputs=4",
        "selfplay.usable_inputs=true",
        "selfplay.induction_prompt=numbered",
    ],
    "example4": EXAMPLE,
    "example4-spare": [*EXAMPLE, "selfplay.induction_spare_inputs=1"],
    "example4-think": [*EXAMPLE, "selfplay.induction_reply=think"],
    "example4-answer": [*EXAMPLE, "selfplay.induction_reply=answer"],
    "short-example4": [*EXAMPLE, "selfplay.frame=short"],
    "example8": [*EXAMPLE, "selfplay.num_inputs=8"],
}
"""Overrides of each; later ones win. For other task types name your own with --variant."""


@dataclass(frozen=True)
class Reply:
    text: str
    n_tokens: int
    finished: bool


@dataclass
class Asked:
    """One variant's requests and what became of them."""

    name: str
    config: Config
    rows: list[PromptRow]
    replies: list[Reply] = field(default_factory=list)
    results: list[Task | Rejection] = field(default_factory=list)
    accuracies: dict[int, float] = field(default_factory=dict)
    """Of valid proposals, by row number."""

    @property
    def responses(self) -> list[Any]:
        strict = self.config.selfplay.strict_format
        return [
            split_response(reply.text, row.prompt.response_prefix, strict=strict)
            for row, reply in zip(self.rows, self.replies, strict=True)
        ]


class Engine:
    """Plain vLLM in this process; all prompts of a wave go in together."""

    def __init__(
        self, folder: str, prompt_tokens: int, response_tokens: int, memory_share: float, sequences: int
    ) -> None:
        import torch

        on_gpu = torch.cuda.is_available()
        settings = {
            "VLLM_LOGGING_LEVEL": "WARNING",
            "VLLM_USE_FLASHINFER_SAMPLER": "0",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        }
        if not on_gpu:
            settings |= {
                "VLLM_CPU_KVCACHE_SPACE": "2",
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                "TORCHDYNAMO_DISABLE": "1",
            }
        for name, value in settings.items():
            os.environ.setdefault(name, value)
        from transformers import AutoTokenizer
        from vllm import LLM

        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.prompt_tokens, self.response_tokens = prompt_tokens, response_tokens
        options: dict[str, Any] = (
            {"gpu_memory_utilization": memory_share} if on_gpu else {"enforce_eager": True}
        )
        self.llm = LLM(
            model=folder,
            dtype="bfloat16" if on_gpu else "float32",
            max_model_len=prompt_tokens + response_tokens,
            max_num_seqs=sequences,
            enable_prefix_caching=True,
            seed=SEED,
            **options,
        )

    def fits(self, prompt: Prompt) -> bool:
        return len(prompt_token_ids(self.tokenizer, prompt)) <= self.prompt_tokens

    def answer(self, prompts: Sequence[Prompt], samples: int = 1) -> list[list[Reply]]:
        from vllm import SamplingParams

        params = SamplingParams(n=samples, temperature=1.0, max_tokens=self.response_tokens)
        ids: Any = [{"prompt_token_ids": prompt_token_ids(self.tokenizer, prompt)} for prompt in prompts]
        return [[self._reply(each) for each in output.outputs] for output in self.llm.generate(ids, params)]

    def _reply(self, output: Any) -> Reply:
        ids = list(output.token_ids)
        return Reply(
            self.tokenizer.decode(ids, skip_special_tokens=True), len(ids), output.finish_reason != "length"
        )


def requests(name: str, config: Config, kind: TaskType, count: int, fits: Any) -> Asked:
    """The propose prompts of training over the run's seeds; request i is about the same program (or
    references) in every variant."""
    game = SelfPlay(config.selfplay, SEED)
    names = (
        ["data/seeds/seed_io.jsonl", "data/seeds/seed_induction.jsonl"]
        if config.data.seeds == "shipped"
        else [config.data.seeds]
    )
    tasks = [
        Task.from_json(record)
        for path in names
        for record in read_jsonl(Path(__file__).resolve().parents[2] / path)
    ]
    game.start(tasks)
    place = list(TaskType).index(kind)
    rngs = [np.random.default_rng([SEED, place, index]) for index in range(count)]
    rows = [game.propose_row(kind, f"{index:04d}", rng, fits) for index, rng in enumerate(rngs)]
    return Asked(name, config, rows)


async def judge(asked: Asked, sandbox: Sandbox) -> None:
    waiting = [
        read_and_validate(row, response, sandbox, asked.config.selfplay, Stopwatch())
        for row, response in zip(asked.rows, asked.responses, strict=True)
    ]
    asked.results = list(await asyncio.gather(*waiting))


async def solve(asked: Asked, samples: int, engine: Engine, sandbox: Sandbox) -> None:
    config = asked.config.selfplay
    valid = [(index, result) for index, result in enumerate(asked.results) if isinstance(result, Task)]
    prompts = [solve_prompt(task, prompt_options(config)) for _, task in valid]
    for (index, task), prompt, replies in zip(
        valid, prompts, engine.answer(prompts, samples) if prompts else [], strict=True
    ):
        solutions = [
            parse_solution(task.task_type, split_response(reply.text, prompt.response_prefix).answer)
            for reply in replies
        ]
        verdicts = await asyncio.gather(
            *(grade(task, text, sandbox, config) for text in solutions if isinstance(text, str))
        )
        asked.accuracies[index] = sum(verdict.score for verdict in verdicts) / samples


def table_line(asked: Asked) -> list[str]:
    count = len(asked.rows)
    responses = asked.responses
    valid = [result for result in asked.results if isinstance(result, Task)]
    refused = [result for result in asked.results if isinstance(result, Rejection)]
    keys = {
        (each.code, each.inputs if each.task_type is not TaskType.INDUCTION else each.message)
        for each in valid
    }
    config = asked.config.selfplay
    rewards = [
        propose_reward(response.format_ok, None, config, None, result.progress)
        for response, result in zip(responses, asked.results, strict=True)
        if isinstance(result, Rejection)
    ]
    reasons = ", ".join(
        f"{reason} {number}" for reason, number in Counter(each.reason for each in refused).most_common(4)
    )
    accuracies = list(asked.accuracies.values())
    middling = sum(0 < accuracy < 1 for accuracy in accuracies)
    return [
        asked.name,
        f"{len(valid) / count:.0%}",
        f"{sum(isinstance(r, Task) and s.format_ok for r, s in zip(asked.results, responses, strict=True)) / count:.0%}",
        f"{sum(response.format_ok for response in responses) / count:.0%}",
        str(len(keys)),
        f"{sum(map(len, (each.inputs for each in valid))) / len(valid):.1f}" if valid else "-",
        f"{sum(rewards) / len(rewards):.2f}" if rewards else "-",
        f"{sum(reply.n_tokens for reply in asked.replies) / count:.0f}",
        f"{sum(not reply.finished for reply in asked.replies) / count:.0%}",
        f"{sum(accuracies) / len(accuracies):.2f}, {middling}" if accuracies else "-",
        reasons or "-",
    ]


HEAD = [
    "variant",
    "valid",
    "+format",
    "format",
    "distinct",
    "inputs",
    "refused get",
    "tokens",
    "cut",
    "solved, middling",
    "reasons",
]


def show(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def transcript(asked: Asked) -> list[dict[str, Any]]:
    found = []
    for index, (row, reply, result) in enumerate(zip(asked.rows, asked.replies, asked.results, strict=True)):
        refused = isinstance(result, Rejection)
        found.append(
            {
                "variant": asked.name,
                "request": row.row_id,
                "valid": not refused,
                "reason": f"{result.reason}: {result.detail}" if refused else "",
                "progress": result.progress if refused else 1.0,
                "accuracy": asked.accuracies.get(index),
                "tokens": reply.n_tokens,
                "prompt": row.prompt.text,
                "begun": row.prompt.response_prefix,
                "response": reply.text,
            }
        )
    return found


def named_variants(arguments: argparse.Namespace) -> dict[str, list[str]]:
    own = {
        name.strip(): overrides.split()
        for name, _, overrides in (item.partition(":") for item in arguments.variant)
    }
    chosen = arguments.variants.split(",") if arguments.variants else ([] if own else list(VARIANTS))
    if unknown := [name for name in chosen if name not in VARIANTS]:
        raise ConfigError(f"--variants: {unknown[0]} is unknown; there is {', '.join(VARIANTS)}")
    return {name: VARIANTS[name] for name in chosen} | own


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("model", help="Hugging Face folder")
    parser.add_argument("--type", choices=[kind.value for kind in TaskType], default="induction")
    parser.add_argument(
        "--recipe", default="1_5b_16gb", help="where settings come from that no variant names"
    )
    parser.add_argument(
        "--variants", default="", help="comma-separated names of built-in variants; default: all"
    )
    parser.add_argument(
        "--variant", action="append", default=[], metavar="'NAME: KEY=VALUE ...'", help="one of your own"
    )
    parser.add_argument("--requests", type=int, default=96)
    parser.add_argument(
        "--solve", type=int, default=0, metavar="N", help="answer each valid proposal N times"
    )
    parser.add_argument("--prompt-tokens", type=int, default=2048)
    parser.add_argument("--response-tokens", type=int, default=1024)
    parser.add_argument("--memory-share", type=float, default=0.8)
    parser.add_argument("--sequences", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("build/probe_proposals.jsonl"))
    arguments = parser.parse_args()
    try:
        overrides = named_variants(arguments)
        configs = {
            name: load_config([f"recipe={arguments.recipe}", *_last([*COMMON, *items])]).config
            for name, items in overrides.items()
        }
        started_s = time.monotonic()
        engine = Engine(
            arguments.model,
            arguments.prompt_tokens,
            arguments.response_tokens,
            arguments.memory_share,
            arguments.sequences,
        )
        ready_s = time.monotonic()
        kind = TaskType(arguments.type)
        every = [
            requests(name, config, kind, arguments.requests, engine.fits) for name, config in configs.items()
        ]
        replies = [reply for [reply] in engine.answer([row.prompt for asked in every for row in asked.rows])]
        for number, asked in enumerate(every):
            asked.replies = replies[number * arguments.requests : (number + 1) * arguments.requests]
        answered_s = time.monotonic()
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.unlink(missing_ok=True)
        with Sandbox(every[0].config.sandbox) as sandbox:
            for asked in every:
                asyncio.run(judge(asked, sandbox))
                if arguments.solve:
                    asyncio.run(solve(asked, arguments.solve, engine, sandbox))
                append_jsonl(arguments.out, transcript(asked))
    except AzrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show([HEAD, *(table_line(asked) for asked in every)])
    total = sum(reply.n_tokens for reply in replies)
    print(
        f"\n{arguments.requests} requests each; engine ready in {ready_s - started_s:.0f} s, {len(replies)} answers of {total:,} tokens in "
        f"{answered_s - ready_s:.0f} s, judged in {time.monotonic() - answered_s:.0f} s. Transcripts: {arguments.out}"
    )
    return 0


def _last(overrides: Sequence[str]) -> list[str]:
    """Without what a later override of the same key replaces."""
    return list({item.partition("=")[0]: item for item in overrides}.values())


if __name__ == "__main__":
    sys.exit(main())
