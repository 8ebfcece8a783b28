"""Settings within their limits that make no sense together are told, and evaluations of any size end."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from azr.campaign.proportions import beyond_the_end, evaluation_cost
from azr.config import Config
from azr.config.load import load_config
from azr.errors import ConfigError
from azr.run.protocol import Phase
from azr.run.rundir import RunDir
from azr.selfplay.outcomes import SolveOutcome
from azr.train import loop


def tiny(*settings: str) -> Config:
    return load_config(["recipe=cpu_tiny", *settings]).config


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ([], ""),
        (["train.warmup_steps=39"], ""),
        (["train.warmup_steps=40"], "train.warmup_steps=40, and the run has 40 steps .* the last step has about 98% of it"),
        (["train.warmup_steps=399"], "the last step has about 10% of it"),
        (["selfplay.solve_only_steps=40"], "no task is ever proposed"),
        (["selfplay.solve_only_steps=40", "selfplay.train_propose=false"], ""),
    ],
)  # fmt: skip
def test_what_waits_for_a_step_that_never_comes_is_told(settings: list[str], told: str) -> None:
    found = beyond_the_end(tiny(*settings))
    assert len(found) == bool(told) and all(re.search(told, sentence) for sentence in found)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ([], ""),
        (["train.verdict_samples=64"], "64,000 for the verdict, also before the first step (train.verdict_samples=64, 1,000"),
        (["train.probe_every_steps=1", "train.probe_tasks=9999"], "and 20,000 in between (train.probe_tasks=9999, train.probe"),
        (["train.verdict_samples=0", "train.probe_every_steps=0"], ""),
    ],
)  # fmt: skip
def test_evaluations_that_ask_more_than_the_training_are_told(
    tmp_path: Path, settings: list[str], told: str
) -> None:
    run = RunDir(tmp_path)
    run.probes.mkdir()
    (run.probes / "mine.jsonl").write_text("{}\n" * 1000)
    assert told in (found := evaluation_cost(run, tiny(*settings))) and bool(found) == bool(told)


def test_the_number_of_answers_has_a_limit() -> None:
    with pytest.raises(ConfigError, match=r"train\.verdict_samples is 100000; it must be from 0 to 256"):
        tiny("train.verdict_samples=100000")


def test_a_large_evaluation_is_asked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once they ran out of time, and the trainer was taken for hung, again and again."""
    monkeypatch.setattr(loop, "ASKED_AT_ONCE", 4)
    asked: list[int] = []
    phases: list[Phase] = []

    def play(rows: list[Any], *, greedy: bool) -> list[Any]:
        asked.append(len(rows))
        return [object.__new__(SolveOutcome) for _ in rows]

    attempt: Any = SimpleNamespace(
        backend=SimpleNamespace(play=play), link=SimpleNamespace(phase=phases.append)
    )
    assert len(list(loop.Attempt._solve(attempt, iter(range(10)), greedy=False))) == 10  # type: ignore[arg-type]
    assert asked == [4, 4, 2] and phases == [Phase.VALIDATE] * 3
