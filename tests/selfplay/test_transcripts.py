"""Replays what real small models said (scripts/dev/record_transcripts.py) through parse, validate, reward and
buffer.

Every verdict in the fixture was reviewed: see data/README.md beside it. A change of behaviour shows as a
changed verdict.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from azr.config.selfplay import SelfPlayConfig
from azr.selfplay.credit import assign_rewards
from azr.selfplay.episode import play
from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import Completion
from azr.selfplay.rows import PromptRow
from azr.selfplay.transcripts import summary

FIXTURE = Path(__file__).parent / "data" / "transcripts.jsonl.gz"


@pytest.fixture(scope="module")
def lines():
    with gzip.open(FIXTURE, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Replay:
    def __init__(self, responses: list[dict]) -> None:
        self.responses = [Completion(each["text"], each["n_tokens"], each["finished"]) for each in responses]

    async def __call__(self, prompt, n):
        said, self.responses = self.responses[:n], self.responses[n:]
        return said


async def replay(line: dict, sandbox, config: SelfPlayConfig):
    model = Replay(line["responses"])
    outcome = await play(PromptRow.from_json(line["row"]), model, sandbox, config, lambda prompt: True)
    assert not model.responses, "fewer samples were asked for than recorded"
    return outcome


async def test_every_verdict_is_the_reviewed_one(sandbox, lines):
    config = SelfPlayConfig(difficulty_samples=2, num_inputs=4)
    recordings = sorted({line["model"] for line in lines})
    for recording in recordings:
        own = [line for line in lines if line["model"] == recording]
        game = SelfPlay(config, 0)
        played = await asyncio.gather(*[replay(line, sandbox, config) for line in own])
        outcomes = assign_rewards(played, game, 10_000)
        buffered: set[str] = set()
        for step in sorted({line["step"] for line in own}):
            chosen = [outcome for line, outcome in zip(own, outcomes, strict=True) if line["step"] == step]
            buffered |= {task.task_id for task in game.accept(step, chosen)}
        found = [
            {**summary(outcome), "buffered": summary(outcome).get("task_id") in buffered}
            for outcome in outcomes
        ]
        for line, verdict in zip(own, found, strict=True):
            assert verdict == line["expected"], line["responses"][0]["text"]


def test_the_fixture_is_large_and_mixed(lines):
    responses = [response for line in lines for response in line["responses"]]
    assert len(responses) >= 300
    rewards = Counter(line["expected"]["reward"] for line in lines)
    assert {-1.0, -0.5, 1.0, 0.5} <= set(rewards)
    assert len({PromptRow.from_json(line["row"]).stream for line in lines}) == 6
    assert len({line["expected"].get("rejection") for line in lines}) >= 8
    assert sum(line["expected"]["buffered"] for line in lines) >= 20
