"""The whole algorithm in one file (azr/absolute_zero.py): it trains, and it pays what the trainer pays."""

import asyncio
from dataclasses import replace

import pytest
import torch

from azr import absolute_zero
from azr.config.sandbox import SandboxConfig
from azr.sandbox import Sandbox
from azr.selfplay.credit import assign_rewards
from azr.selfplay.episode import play
from azr.selfplay.game import SelfPlay
from azr.system.files import read_jsonl
from azr.tasks import Role, Task

GAME = replace(absolute_zero.GAME, batch_size=2, difficulty_samples=2)


class Recording(absolute_zero.Policy):
    """Keeps what was sampled, by prompt, so that the same responses can be played again."""

    def __init__(self) -> None:
        super().__init__(absolute_zero.MODEL, max_response_tokens=96)
        self.said = {}

    def sample(self, prompts):
        completions = super().sample(prompts)
        for prompt, completion in zip(prompts, completions, strict=True):
            self.said.setdefault(prompt, []).append(completion)
        return completions


@pytest.fixture(scope="module")
def one_step():
    torch.manual_seed(3)
    policy, game = Recording(), SelfPlay(GAME, 3)
    game.start([Task.from_json(record) for record in read_jsonl(absolute_zero.SEEDS)])
    rows = game.plan_step(1, policy.fits)
    before = [weight.detach().clone() for weight in policy.model.parameters()]
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-3)
    seen = {}
    accept = game.accept
    game.accept = lambda number, outcomes: accept(number, seen.setdefault("outcomes", outcomes))
    with Sandbox(SandboxConfig()) as sandbox:
        metrics = absolute_zero.step(1, policy, game, sandbox, optimizer)
        yield policy, game, rows, seen["outcomes"], metrics, before, sandbox


def test_a_step_moves_the_weights_and_keeps_the_new_tasks(one_step):
    policy, game, rows, outcomes, metrics, before, _ = one_step
    assert metrics["responses"] >= len(rows) == 6 * GAME.batch_size
    assert metrics["grad_norm"] > 0
    assert any(not torch.equal(old, new) for old, new in zip(before, policy.model.parameters(), strict=True))
    accepted = [each for each in outcomes if each.stream.role is Role.PROPOSE and each.task is not None]
    assert metrics["new_tasks"] <= len(accepted)
    assert all(game.buffers[each.task.task_type].holds(each.task) for each in accepted)


def test_the_same_responses_earn_the_same_in_the_trainers_episodes(one_step):
    policy, _, rows, outcomes, _, _, sandbox = one_step
    left = {prompt: list(completions) for prompt, completions in policy.said.items()}

    async def replay(prompt, n):
        return [left[prompt].pop(0) for _ in range(n)]

    async def play_in_order():
        found = [
            await play(row, replay, sandbox, GAME, policy.fits)
            for row in rows
            if row.stream.role is Role.PROPOSE
        ]
        return found + [
            await play(row, replay, sandbox, GAME, policy.fits)
            for row in rows
            if row.stream.role is Role.SOLVE
        ]

    start = SelfPlay(GAME, 3)
    start.start([Task.from_json(record) for record in read_jsonl(absolute_zero.SEEDS)])
    expected = assign_rewards(asyncio.run(play_in_order()), start, policy.max_response_tokens)
    assert len({each.reward for each in expected} - {None}) > 1
    ours = {each.row_id: each for each in outcomes}
    for each in expected:
        mine = ours[each.row_id]
        assert (mine.reward, mine.format_ok, mine.completion.text) == (
            each.reward,
            each.format_ok,
            each.completion.text,
        )
        if each.stream.role is Role.PROPOSE:
            assert [s.score for s in mine.samples] == [s.score for s in each.samples]


@pytest.mark.parametrize("steps", ["0", "-3"])
def test_a_number_of_steps_without_a_step_is_refused(steps, monkeypatch, capsys):
    """It ended without a word, and with success."""
    monkeypatch.setattr("sys.argv", ["absolute_zero", "--steps", steps])
    with pytest.raises(SystemExit, match="2"):
        absolute_zero.main()
    assert "--steps starts at 1" in capsys.readouterr().err
