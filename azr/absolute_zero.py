"""All of Absolute Zero in one file: python -m azr.absolute_zero [--steps 3]

Read this first. ``step`` is one step of the algorithm (arXiv 2505.03335), top to bottom: propose, verify,
estimate, solve, reward, compare, update. Each rule is a call into ``azr.selfplay``, and the trainer
(``azr.train.step``) uses the same functions.

Left to the trainer: an inference engine and sending it the new weights (here one model generates and learns),
packed sequences, several devices, checkpoints, cycles, and rows that overlap, so that the GPU decodes while
programs run. Three steps of the bundled model take about a minute on two quiet cores.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from azr.config.sandbox import SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.parsing import split_response
from azr.prompts import solve_prompt
from azr.sandbox import Sandbox
from azr.selfplay import episode
from azr.selfplay.advantage import task_relative_advantages
from azr.selfplay.credit import assign_rewards
from azr.selfplay.episode import Stopwatch
from azr.selfplay.game import SelfPlay
from azr.selfplay.options import prompt_options
from azr.selfplay.outcomes import Completion, SolveOutcome, trained_outcomes
from azr.system.files import read_jsonl
from azr.tasks import Prompt, Role, Task
from azr.train.tokens import end_token_ids, prompt_token_ids

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "data" / "models" / "azr-tiny"
SEEDS = ROOT / "data" / "seeds" / "azr_tiny.jsonl"
GAME = SelfPlayConfig(
    frame="compact", batch_size=8, references=2, difficulty_samples=4, train_on_samples=True, advantage="group"
)  # fmt: skip
"""That of recipe ``cpu_tiny``. Published: 64 tasks a stream, 6 references, 8 difficulty samples."""


def step(
    number: int, policy: Policy, game: SelfPlay, sandbox: Sandbox, optimizer: torch.optim.Optimizer
) -> dict[str, float]:
    """One training step. Two roles times three task types are six streams of ``batch_size`` rows each."""
    config, options = game.config, prompt_options(game.config)
    rows = game.plan_step(number, policy.fits)
    propose_rows = [row for row in rows if row.stream.role is Role.PROPOSE]
    solve_rows = [row for row in rows if row.stream.role is Role.SOLVE]

    # Propose: the model writes a program and an input (for induction: inputs and a message for a given program).
    written = policy.sample([row.prompt for row in propose_rows])
    read = [
        split_response(each.text, row.prompt.response_prefix, strict=config.strict_format)
        for row, each in zip(propose_rows, written, strict=True)
    ]

    # Verify: what can be read, runs, and gives the same result each time is a task whose answer is known.
    pairs = zip(propose_rows, read, strict=True)
    tasks = wait_for([episode.read_and_validate(*pair, sandbox, config, Stopwatch()) for pair in pairs])
    too_long = [isinstance(task, Task) and not policy.fits(solve_prompt(task, options)) for task in tasks]

    # Estimate: the same model tries each new task n times, in whatever format; its share of right answers is the
    # task's accuracy.
    n = config.difficulty_samples
    tried = [
        i for i, task in enumerate(tasks) if isinstance(task, Task) and read[i].format_ok and not too_long[i]
    ]
    trials = [(tasks[i], propose_rows[i].row_id) for i in tried for _ in range(n)]
    samples = solve(trials, policy, sandbox, config, skip_bad_format=False)
    samples_of = {i: samples[place * n : (place + 1) * n] for place, i in enumerate(tried)}

    # Solve: tasks of the buffer, the newest first.
    questions = [(row.task, row.row_id) for row in solve_rows if row.task]
    solved = solve(questions, policy, sandbox, config, skip_bad_format=True)

    # Reward: a proposer is paid most for what is hard but solvable, a solver for being right. (The trainer
    # calls azr.selfplay.credit.credit for this and the next part.)
    proposed = [
        episode.proposal_outcome(
            row,
            written[i],
            read[i].format_ok,
            tasks[i],
            samples_of.get(i, ()),
            config,
            is_too_long=too_long[i],
        )
        for i, row in enumerate(propose_rows)
    ]
    outcomes = assign_rewards([*proposed, *solved], game, policy.max_response_tokens)

    # Compare (TRR++): a response is judged against the others of its stream, samples against those of its task.
    responses = [each for outcome in outcomes for each in trained_outcomes(outcome, config)]
    advantages_N = task_relative_advantages(
        rewards=[each.reward or 0.0 for each in responses],
        lengths=[each.completion.n_tokens for each in responses],
        streams=[each.stream.name for each in responses],
        mode=config.advantage_mode,
        groups=[each.task_id if isinstance(each, SolveOutcome) else None for each in responses],
    )

    # Update: one optimizer step on everything, then new tasks enter the buffer.
    batch = [
        Trained(policy.token_ids(each.prompt), each.completion.handle, float(advantage))
        for each, advantage in zip(responses, advantages_N, strict=True)
    ]
    norm = update(policy.model, optimizer, batch)
    new_tasks = game.accept(number, outcomes)
    return game.metrics() | {"new_tasks": len(new_tasks), "responses": len(batch), "grad_norm": norm}


def solve(
    questions: Sequence[tuple[Task, str]],
    policy: Policy,
    sandbox: Sandbox,
    config: SelfPlayConfig,
    *,
    skip_bad_format: bool,
) -> list[SolveOutcome]:
    """One answer to each (task, row id), graded by execution."""
    prompts = [solve_prompt(task, prompt_options(config)) for task, _ in questions]
    answers = policy.sample(prompts)
    return wait_for(
        [
            episode.read_and_grade(
                task, prompt, answer, row_id, sandbox, config, skip_bad_format=skip_bad_format
            )
            for (task, row_id), prompt, answer in zip(questions, prompts, answers, strict=True)
        ]
    )


@dataclass(frozen=True)
class Trained:
    """One response to learn from."""

    prompt: list[int]
    response: Any  # token ids, the end token included
    advantage: float


def update(
    model: Any, optimizer: torch.optim.Optimizer, batch: Sequence[Trained], micro_batch: int = 32
) -> float:
    """One on-policy policy-gradient step: the token mean of -advantage x log-prob. Every response is new, so
    importance ratios are 1 and PPO's clip never acts. Returns the gradient's norm."""
    tokens = sum(len(each.response) for each in batch)
    for start in range(0, len(batch), micro_batch):
        part = batch[start : start + micro_batch]
        width = max(len(each.prompt) + len(each.response) for each in part)
        ids_BT = torch.zeros(len(part), width, dtype=torch.long)  # padding is on the right: no mask needed
        weight_BT = torch.zeros(len(part), width)  # the advantage at response tokens, 0 elsewhere
        for b, each in enumerate(part):
            end = len(each.prompt) + len(each.response)
            ids_BT[b, :end] = torch.tensor([*each.prompt, *each.response])
            weight_BT[b, len(each.prompt) : end] = each.advantage

        logits_BTV = model(input_ids=ids_BT).logits[:, :-1].float()  # position t predicts token t + 1
        logprobs_BT = logits_BTV.log_softmax(-1).gather(-1, ids_BT[:, 1:, None]).squeeze(-1)  # [B, T-1]
        (-(weight_BT[:, 1:] * logprobs_BT).sum() / tokens).backward()

    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(norm)


class Policy:
    """The one model that plays both roles."""

    def __init__(self, folder: Path, max_prompt_tokens: int = 400, max_response_tokens: int = 128) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.ends = sorted(end_token_ids(self.tokenizer, folder))
        self.max_prompt_tokens, self.max_response_tokens = max_prompt_tokens, max_response_tokens

    def token_ids(self, prompt: Prompt) -> list[int]:
        return prompt_token_ids(self.tokenizer, prompt)

    def fits(self, prompt: Prompt) -> bool:
        return len(self.token_ids(prompt)) <= self.max_prompt_tokens

    @torch.inference_mode()
    def sample(self, prompts: Sequence[Prompt]) -> list[Completion]:
        """One response to each prompt at temperature 1; ``handle``: token ids, the end token included."""
        if not prompts:
            return []
        pad = self.tokenizer.pad_token_id
        prompts_ids = [self.token_ids(prompt) for prompt in prompts]
        width = max(map(len, prompts_ids))
        ids_BT = torch.tensor([[pad] * (width - len(ids)) + ids for ids in prompts_ids])  # padded on the left
        mask_BT = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts_ids])
        output_BT = self.model.generate(
            input_ids=ids_BT, attention_mask=mask_BT, max_new_tokens=self.max_response_tokens,
            do_sample=True, temperature=1.0, top_k=0, top_p=1.0, eos_token_id=self.ends, pad_token_id=pad,
        )  # fmt: skip
        found = []
        for row in output_BT[:, width:].tolist():
            end = next((index for index, token in enumerate(row) if token in self.ends), None)
            ids = row if end is None else row[: end + 1]
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            found.append(Completion(text, len(ids), finished=end is not None, handle=ids))
        return found


def wait_for(work: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Results of sandbox work that runs side by side; every program has its own time limit."""

    async def all_of_it() -> list[Any]:
        return await asyncio.gather(*work)

    return asyncio.run(all_of_it())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.steps < 1:
        parser.error("--steps starts at 1")
    torch.manual_seed(args.seed)
    policy, game = Policy(MODEL), SelfPlay(GAME, args.seed)
    game.start([Task.from_json(record) for record in read_jsonl(SEEDS)])
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=2e-4, weight_decay=0.01)
    with Sandbox(SandboxConfig()) as sandbox:
        for number in range(1, args.steps + 1):
            began_s = time.monotonic()
            seen = step(number, policy, game, sandbox, optimizer)
            proposals = len(game.task_types) * GAME.batch_size
            solved = [f"{seen[f'solve-{kind.value}/accuracy']:.0%} {kind.value}" for kind in game.task_types]
            print(
                f"step {number}: {seen['new_tasks']:.0f} new tasks from {proposals} proposals, solved: "
                f"{', '.join(solved)} ({seen['responses']:.0f} responses, gradient {seen['grad_norm']:.2f}, "
                f"{time.monotonic() - began_s:.0f} s)", flush=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
