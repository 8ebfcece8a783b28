#!/usr/bin/env python
"""Absolute Zero in one file: the minimal loop for readers, in plain torch and transformers.

    python scripts/reference_loop.py --steps 40                       # the bundled model, CPU or GPU
    python scripts/reference_loop.py --steps 0 --samples 4            # only measure a model on the frozen probes
    python scripts/reference_loop.py --arm shuffled --seed 2 --out /tmp/shuffled

What the real trainer (azr/train) does with verl, Ray and vLLM happens here in the open: plan a step's rows, play them (propose,
verify, estimate, solve) against the sandbox, whiten rewards inside each of the six streams (TRR++), one optimizer step. The
game itself is the same code. Left out: an inference engine, checkpoints and resume, packed sequences, several devices, cycles.
Fit for models of some million parameters; it writes curve.jsonl, and the trained model with --save.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from tiny.sampling import sample_ids  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from azr.config.sandbox import SandboxConfig  # noqa: E402
from azr.config.selfplay import SelfPlayConfig  # noqa: E402
from azr.files import append_jsonl, read_jsonl  # noqa: E402
from azr.prompts import PromptOptions, solve_prompt  # noqa: E402
from azr.sandbox import Sandbox  # noqa: E402
from azr.selfplay.advantage import task_relative_advantages  # noqa: E402
from azr.selfplay.controls import controlled_rewards  # noqa: E402
from azr.selfplay.episode import Completion, ProposeOutcome, SolveOutcome, play, play_solve, trained_outcomes  # noqa: E402
from azr.selfplay.game import SelfPlay  # noqa: E402
from azr.selfplay.rows import PromptRow  # noqa: E402
from azr.tasks import Prompt, Role, Stream, Task  # noqa: E402
from azr.terminal import outlive_the_terminal  # noqa: E402
from azr.train.model_source import local_model_folder  # noqa: E402
from azr.train.tokens import end_token_ids, prompt_token_ids, response_text  # noqa: E402

ARMS = {"full": "none", "solver_only": "none", "proposer_frozen": "proposer_frozen", "shuffled": "shuffled_rewards"}
"""Arms of the learning experiment and their control (azr/selfplay/controls.py)."""


class Policy:
    """The model as the game sees it. Requests that wait together are generated in one batch."""

    def __init__(self, folder: str, device: str, max_prompt_tokens: int, max_response_tokens: int) -> None:
        folder = str(local_model_folder(folder))
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.ends = end_token_ids(self.tokenizer, folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model.to(device).eval()
        self.max_prompt_tokens, self.max_response_tokens = max_prompt_tokens, max_response_tokens
        self.temperature = 1.0
        self._waiting: list[tuple[list[int], asyncio.Future[Completion]]] = []

    def fits(self, prompt: Prompt) -> bool:
        return len(prompt_token_ids(self.tokenizer, prompt)) <= self.max_prompt_tokens

    async def generate(self, prompt: Prompt, n: int) -> list[Completion]:
        futures = [asyncio.get_running_loop().create_future() for _ in range(n)]
        self._waiting += [(prompt_token_ids(self.tokenizer, prompt), future) for future in futures]
        return list(await asyncio.gather(*futures))

    async def play_all(self, games: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
        """Runs the games to their end, generating whenever no further request has come for a moment."""
        running = asyncio.gather(*games)
        seen = -1
        while not running.done():
            await asyncio.sleep(0.02)
            if self._waiting and len(self._waiting) == seen:
                batch, self._waiting = self._waiting, []
                self._generate(batch)
            seen = len(self._waiting)
        return await running

    def _generate(self, batch: list[tuple[list[int], asyncio.Future[Completion]]]) -> None:
        prompts = [ids for ids, _ in batch]
        rows = sample_ids(self.model, prompts, self.ends, temperature=self.temperature, max_new_tokens=self.max_response_tokens)
        for (prompt, future), row in zip(batch, rows, strict=True):
            text = response_text(self.tokenizer, row)
            future.set_result(Completion(text, len(row), row[-1] in self.ends, handle=(tuple(prompt), tuple(row))))


@dataclass(frozen=True)
class Sample:
    """One response to learn from."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    stream: str
    reward: float


def update(policy: Policy, optimizer: torch.optim.Optimizer, samples: Sequence[Sample], micro_batch: int = 32) -> dict[str, float]:
    """One on-policy REINFORCE step with TRR++ advantages: the token-mean of -advantage x log-probability (importance ratios are 1)."""
    advantages = task_relative_advantages([s.reward for s in samples], [len(s.response) for s in samples], [s.stream for s in samples])
    total = sum(len(s.response) for s in samples)
    model, device, entropy = policy.model, policy.model.device, 0.0
    order = sorted(range(len(samples)), key=lambda index: len(samples[index].response))
    for start in range(0, len(order), micro_batch):
        chosen = [samples[index] for index in order[start : start + micro_batch]]
        prompts = [s.prompt for s in chosen]
        width = max(len(p) + len(s.response) for p, s in zip(prompts, chosen, strict=True))
        ids = torch.zeros(len(chosen), width, dtype=torch.long)  # [B, T], padded on the right: causal attention needs no mask
        weight = torch.zeros(len(chosen), width)  # [B, T] advantage at response tokens
        inside = torch.zeros(len(chosen), width, dtype=torch.bool)
        for row, (p, s) in enumerate(zip(prompts, chosen, strict=True)):
            end = len(p) + len(s.response)
            ids[row, :end] = torch.tensor([*p, *s.response])
            weight[row, len(p) : end] = float(advantages[order[start + row]])
            inside[row, len(p) : end] = True
        ids, weight, inside = ids.to(device), weight.to(device), inside.to(device)
        log_probs = torch.log_softmax(model(input_ids=ids).logits[:, :-1].float(), -1)  # [B, T-1, V]
        chosen_log_probs = log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1)  # [B, T-1]
        (-(chosen_log_probs * weight[:, 1:] * inside[:, 1:]).sum() / total).backward()
        entropy += float(-(log_probs.detach().exp() * log_probs.detach()).sum(-1)[inside[:, 1:]].sum()) / total
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"grad_norm": float(norm), "entropy": entropy}


def to_learn_from(outcomes: Sequence[Any], game: SelfPlay, control: str, step: int) -> list[Sample]:
    found: list[Any] = [each for row in outcomes for each in trained_outcomes(row, game.config)]
    streams = [outcome.stream.name for outcome in found]
    paid = game.final_rewards(outcomes)  # samples carry their proposal's row id and keep their own rewards
    final = [paid[each.row_id] if isinstance(each, ProposeOutcome) else each.reward for each in found]
    rewards = controlled_rewards(control, final, streams, [each.format_ok for each in found], game.seed, step)
    tokens = [outcome.completion.handle for outcome in found]
    return [Sample(prompt, response, stream, reward) for (prompt, response), stream, reward in zip(tokens, streams, rewards, strict=True)]


def measure(policy: Policy, records: Sequence[dict[str, Any]], sandbox: Sandbox, config: SelfPlayConfig, samples: int) -> dict[str, Any]:
    """Accuracy on frozen tasks: ``samples`` at temperature 1 and one greedy; format and accuracy given format apart.

    ``by_task`` holds each task's share of right samples, for paired tests.
    """
    options = PromptOptions(frame=config.frame)
    tasks = [Task.from_json(record) for record in records]
    rows = [
        PromptRow(stream=Stream(Role.SOLVE, t.task_type), prompt=solve_prompt(t, options), row_id=str(i), task=t)
        for i, t in enumerate(tasks)
    ]
    found: dict[str, Any] = {}
    for name, temperature, repeats in (("sampled", 1.0, samples), ("greedy", 0.0, 1)):
        policy.temperature = temperature
        outcomes = asyncio.run(policy.play_all([play_solve(row, policy.generate, sandbox, config) for _ in range(repeats) for row in rows]))
        right = np.array([o.format_ok and o.score >= 1 for o in outcomes]).reshape(repeats, len(rows))
        valid = np.array([o.format_ok for o in outcomes]).reshape(repeats, len(rows))
        found[name] = {
            "accuracy": round(float(right.mean()), 4),
            "format": round(float(valid.mean()), 4),
            "accuracy_given_format": round(float(right.sum() / max(1, valid.sum())), 4),
            "tokens": round(float(np.mean([o.completion.n_tokens for o in outcomes])), 1),
            "thinks": round(float(np.mean([len(o.completion.text.split("</think>")[0]) > 0 for o in outcomes])), 4),
        }
        for kind in sorted({task.task_type.value for task in tasks}):
            found[name][kind] = round(float(right[:, [task.task_type.value == kind for task in tasks]].mean()), 4)
        if name == "sampled":
            found["by_task"] = [round(float(share), 3) for share in right.mean(0)]
    policy.temperature = 1.0
    return found


def measure_proposals(policy: Policy, game: SelfPlay, sandbox: Sandbox, batches: int) -> dict[str, float]:
    """Shares of proposals with the format, and of valid programs, by stream; nothing is learned from or kept."""
    rows = [row for batch in range(batches) for row in game.plan_step(10**6 + batch, policy.fits) if row.stream.role is Role.PROPOSE]
    outcomes = asyncio.run(policy.play_all([play(row, policy.generate, sandbox, game.config, policy.fits) for row in rows]))
    found = defaultdict(list)
    for outcome in outcomes:
        for name in (outcome.stream.name, "all"):
            found[f"{name}/valid"].append(outcome.valid and outcome.format_ok)
            found[f"{name}/format"].append(outcome.format_ok)
            if outcome.accuracy is not None:
                found[f"{name}/solved"].append(outcome.accuracy)
    return {name: round(float(np.mean(values)), 4) for name, values in sorted(found.items())}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=str(ROOT / "data" / "models" / "azr-tiny"))
    parser.add_argument("--arm", choices=tuple(ARMS), default="full")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8, help="rows of each of the six streams")
    parser.add_argument("--difficulty-samples", type=int, default=4)
    parser.add_argument(
        "--train-on-samples", action=argparse.BooleanOptionalAction, default=True, help="learn from the difficulty samples too"
    )
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--probes", type=int, default=400, help="frozen tasks of each set to measure on; 0: never measure")
    parser.add_argument("--samples", type=int, default=1, help="samples a probe at temperature 1")
    parser.add_argument("--proposals", type=int, default=4, help="batches of proposals in a measurement")
    parser.add_argument("--measure-every", type=int, default=0, help="steps between measurements; 0: before and after only")
    parser.add_argument("--heldout", action=argparse.BooleanOptionalAction, default=True, help="also measure on the harder families")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "reference")
    parser.add_argument("--save", action="store_true", help="save the trained model under --out")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = SelfPlayConfig(
        frame="compact", batch_size=args.batch, references=2, difficulty_samples=args.difficulty_samples,
        train_propose=args.arm != "solver_only", train_on_samples=args.train_on_samples,
    )  # fmt: skip
    game = SelfPlay(config, args.seed)
    game.start([Task.from_json(record) for record in read_jsonl(ROOT / "data" / "seeds" / "azr_tiny.jsonl")])
    judge = SelfPlay(SelfPlayConfig(frame="compact", batch_size=16, references=2, difficulty_samples=2), 0)
    judge.start([Task.from_json(record) for record in read_jsonl(ROOT / "data" / "seeds" / "azr_tiny.jsonl")])
    probes = {"train_families": list(read_jsonl(ROOT / "data" / "probes" / "azr_tiny_train_families.jsonl"))[: args.probes]}
    if args.heldout:
        probes["heldout"] = list(read_jsonl(ROOT / "data" / "probes" / "azr_tiny_heldout.jsonl"))[: args.probes]
    policy = Policy(args.model, device, 400, 128)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=args.lr, weight_decay=0.01)
    args.out.mkdir(parents=True, exist_ok=True)
    with Sandbox(SandboxConfig()) as sandbox:

        def report(step: int) -> None:
            began = time.monotonic()
            found: dict[str, Any] = {name: measure(policy, records, sandbox, config, args.samples) for name, records in probes.items()}
            found["proposals"] = measure_proposals(policy, judge, sandbox, args.proposals) if args.proposals else {}
            append_jsonl(args.out / "curve.jsonl", [{"arm": args.arm, "seed": args.seed, "step": step, "lr": args.lr, "probes": found}])
            for name in probes:
                print(f"step {step} {name}: " + json.dumps({k: found[name][k] for k in ("sampled", "greedy")}), flush=True)
            print(f"step {step} proposals: {json.dumps(found['proposals'])} ({time.monotonic() - began:.0f} s)", flush=True)

        if args.probes:
            report(0)
        accepted = 0
        for step in range(1, args.steps + 1):
            began = time.monotonic()
            rows = game.plan_step(step, policy.fits)
            outcomes = asyncio.run(policy.play_all([play(row, policy.generate, sandbox, config, policy.fits) for row in rows]))
            samples = to_learn_from(outcomes, game, ARMS[args.arm], step)
            found = update(policy, optimizer, samples)
            accepted += len(game.accept(step, outcomes))
            solved = [o.score for row in outcomes for o in trained_outcomes(row, config) if isinstance(o, SolveOutcome)]
            proposed = [o for o in outcomes if isinstance(o, ProposeOutcome)]
            valid = sum(o.valid for o in proposed) / max(1, len(proposed))
            tokens = np.mean([len(s.response) for s in samples])
            print(
                f"step {step} solve accuracy {np.mean(solved):.2f} valid {valid:.2f} new tasks {accepted} tokens {tokens:.0f} "
                f"entropy {found['entropy']:.2f} gradient {found['grad_norm']:.2f} "
                f"({len(samples)} samples, {time.monotonic() - began:.1f} s)",
                flush=True,
            )
            if args.probes and (step == args.steps or (args.measure_every and step % args.measure_every == 0)):
                report(step)
        if args.save:
            policy.model.save_pretrained(args.out / "model")
            policy.tokenizer.save_pretrained(args.out / "model")


if __name__ == "__main__":
    outlive_the_terminal()
    main()
