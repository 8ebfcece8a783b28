"""Each verdict of the two judges, from records like the trainer's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from azr.campaign.judges import judge_health, judge_learning
from azr.campaign.parts import Advice
from azr.config import Config
from azr.config.monitor import MonitorConfig
from azr.errors import ConfigError
from azr.run.protocol import MetricsRecord
from azr.run.records import MachineSample
from azr.tasks import STREAMS

CONFIG = Config()
WELL = {
    "train/grad_norm": 0.3,
    "train/pg_loss": 0.01,
    "train/entropy": 0.4,
    "train/logprob_mismatch": 0.002,
    "data/valid": 20.0,
    "data/novelty": 0.8,
    "data/all_solved": 0.2,
    "data/none_solved": 0.2,
    "data/generated_tokens": 60_000.0,
    "time_s/step": 10.0,
} | {
    f"{stream.name}/{name}": value
    for stream in STREAMS
    for name, value in (
        ("response_cut", 0.05),
        ("format_ok", 0.9),
        ("count", 64.0),
    )
}


def records(
    count: int, *, cycle: int = 1, attempt: int = 1, first: int = 1, **changes: float
) -> list[MetricsRecord]:
    return [
        MetricsRecord(step, cycle, attempt, 60.0 * step, WELL | changes)
        for step in range(first, first + count)
    ]


def bad_format(count: int, first: int) -> list[MetricsRecord]:
    return records(count, first=first, **{f"{stream.name}/format_ok": 0.1 for stream in STREAMS})


def probed(values: list[float], **changes: int) -> list[MetricsRecord]:
    every = records(len(values), **changes)
    return [
        replace(item, values=item.values | {"probe/all/accuracy": value, "probe/tasks": 400.0})
        for item, value in zip(every, values, strict=True)
    ]


def samples(count: int, gib_per_sample: float, available: float = 6.0) -> list[MachineSample]:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.02, count + 1)
    levels = [8 + gib_per_sample * index + noise[index] for index in range(count + 1)]
    return [
        MachineSample(30.0 * index, 1, 1, index, levels[index], 0.1, available, 100.0, None, 5)
        for index in range(1, count + 1)
    ]


def test_a_healthy_run_goes_on() -> None:
    run = records(100)
    assert judge_health(run, samples(60, 0.0), CONFIG).advice is Advice.CONTINUE
    assert judge_learning(run, [], CONFIG).advice is Advice.CONTINUE
    assert judge_health([], [], CONFIG).advice is judge_learning([], [], CONFIG).advice is Advice.CONTINUE


def test_three_non_finite_updates_in_ten_are_divergence() -> None:
    bad = records(1, first=55, **{"train/grad_norm": math.nan})[0]
    run = records(60)
    for step in (52, 55):
        run[step - 1] = replace(bad, step=step)
    assert judge_health(run, [], CONFIG).advice is Advice.CONTINUE
    run[57] = records(1, first=58, **{"train/pg_loss": math.inf})[0]
    verdict = judge_health(run, [], CONFIG)
    assert (verdict.advice, verdict.verdict, verdict.onset_step) == (Advice.ROLLBACK, "diverged", 52)
    assert "3 of the last 10 updates" in verdict.sentence
    assert judge_health([*run, *records(10, first=61)], [], CONFIG).advice is Advice.CONTINUE


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"train/entropy": 0.0001}, "collapsing"),
        ({f"{stream.name}/response_cut": 0.9 for stream in STREAMS}, "collapsing"),
        ({f"{stream.name}/format_ok": 0.1 for stream in STREAMS}, "collapsing"),
        ({"train/logprob_mismatch": 0.05}, "mismatch"),
    ],
)
def test_collapses_are_rolled_back_to_before_they_began(changes: dict[str, float], verdict: str) -> None:
    run = records(40)
    found = None
    for step in range(41, 65):
        run += records(1, first=step, **changes)
        found = judge_health(run, [], CONFIG)
        if found.advice is not Advice.CONTINUE:
            break
    assert found is not None and (found.advice, found.verdict) == (Advice.ROLLBACK, verdict)
    assert run[-1].step <= 56, "seen within 16 steps"
    assert found.onset_step is not None and 34 <= found.onset_step <= 46


def test_a_model_that_is_bad_from_the_start_has_not_collapsed() -> None:
    assert judge_health(bad_format(60, 1), [], CONFIG).advice is Advice.CONTINUE


def test_one_bad_step_is_no_collapse() -> None:
    run = [*records(40), *bad_format(2, 41), *records(5, first=43)]
    assert all(judge_health(run[:count], [], CONFIG).advice is Advice.CONTINUE for count in range(40, 48))


def test_growing_memory_recycles_before_the_host_is_full() -> None:
    run = records(80)
    verdict = judge_health(run, samples(60, 0.05), CONFIG)  # 6 GiB an hour, 6 left
    assert (verdict.advice, verdict.verdict) == (Advice.RECYCLE, "leaking")
    assert "GiB an hour" in verdict.sentence
    assert judge_health(run, samples(60, 0.05, available=60.0), CONFIG).advice is Advice.CONTINUE
    assert judge_health(run, samples(60, 0.0), CONFIG).advice is Advice.CONTINUE
    assert judge_health(run[:20], samples(60, 0.05), CONFIG).advice is Advice.CONTINUE, (
        "not again right after a restart"
    )


def paced(steps: list[tuple[float, float]]) -> list[MetricsRecord]:
    """Steps of so many seconds in which so many tokens were written."""
    return [
        replace(item, values=item.values | {"time_s/step": step_s, "data/generated_tokens": tokens})
        for item, (step_s, tokens) in zip(records(len(steps)), steps, strict=True)
    ]


def test_slower_steps_recycle_unless_they_write_more() -> None:
    seconds = [10 + max(0, step - 30) * 0.2 for step in range(100)]
    assert judge_health(paced([(step_s, 60_000) for step_s in seconds]), [], CONFIG).verdict == "slowing"
    grown = paced([(step_s, 6_000 * step_s) for step_s in seconds])
    assert judge_health(grown, [], CONFIG).advice is Advice.CONTINUE


def test_a_trainer_that_goes_on_with_the_next_cycle_is_judged_over_both() -> None:
    run = [
        replace(item, cycle=1 + item.step // 60, process="1/1" if item.step >= 60 else "")
        for item in paced([(10 + max(0, step - 30) * 0.2, 60_000) for step in range(100)])
    ]
    assert judge_health(run, [], CONFIG).verdict == "slowing"
    anew = [replace(item, process="") for item in run]
    assert judge_health(anew, [], CONFIG).advice is Advice.CONTINUE, "40 steps of a new process"
    grown = [replace(item, cycle=1 + index // 30) for index, item in enumerate(samples(60, 0.05))]
    same = [replace(item, cycle=1 + item.step // 60, process="1/1") for item in records(100)]
    assert judge_health(same, grown, CONFIG).verdict == "leaking"


def test_short_responses_are_not_called_slow() -> None:
    """A real run paid for form alone: 60,000 tokens in 10 s, 50 steps later 20,000 in 7 s. It was restarted."""
    steps = [(10 - 0.06 * step, 60_000 - 800.0 * step) for step in range(50)]
    assert judge_health(paced(steps), [], CONFIG).advice is Advice.CONTINUE


@pytest.mark.parametrize(
    "changes",
    [{"data/novelty": 0.02}, {"data/valid": 0.0}, {"data/all_solved": 0.5, "data/none_solved": 0.45}],
)
def test_starved_data_end_the_cycle(changes: dict[str, float]) -> None:
    rows = records(50, **changes)
    if "data/valid" in changes:
        rows = [
            replace(
                item, values={name: value for name, value in item.values.items() if name != "data/novelty"}
            )
            for item in rows
        ]
    assert judge_learning(rows[:19], [], CONFIG).advice is Advice.CONTINUE
    verdict = judge_learning(rows[:20], [], CONFIG)
    assert (verdict.advice, verdict.verdict) == (Advice.END_CYCLE, "starved")
    assert judge_learning([*rows[:20], *records(1, first=21)], [], CONFIG).advice is Advice.CONTINUE
    fresh = records(10, first=51, cycle=2, **changes)
    assert judge_learning([*rows, *fresh], [], CONFIG).advice is Advice.CONTINUE, (
        "a new cycle starts with new data"
    )


def test_flat_probes_end_the_cycle_with_numbers() -> None:
    rng = np.random.default_rng(0)
    run = probed([0.5 + value for value in rng.normal(0, 0.005, 60)])
    verdict = judge_learning(run, [], CONFIG)
    assert (verdict.advice, verdict.verdict) == (Advice.END_CYCLE, "plateau")
    for part in ("gain", "limits [", "Mann-Kendall p", "min_delta 0.05", "6 windows"):
        assert part in verdict.sentence
    unprobed = [*run, *records(1, first=61)]
    assert judge_learning(unprobed, [], CONFIG).advice is Advice.CONTINUE, "one verdict per evaluation"


def test_a_new_cycle_or_attempt_gets_its_chance() -> None:
    run = probed([0.5] * 60)
    for changes in ({"cycle": 2, "attempt": 1}, {"cycle": 1, "attempt": 2}):
        found = [
            judge_learning([*run, *probed([0.5] * count, first=61, **changes)], [], CONFIG)
            for count in range(1, 6)
        ]
        assert [item.advice for item in found] == [Advice.CONTINUE] * 4 + [Advice.END_CYCLE]
        assert found[0].verdict == "flat"


def test_rising_probes_are_learning() -> None:
    verdict = judge_learning(probed([0.2 + 0.004 * index for index in range(60)]), [], CONFIG)
    assert (verdict.advice, verdict.verdict) == (Advice.CONTINUE, "learning")


def test_lost_ability_is_rolled_back_unless_chance_explains_it() -> None:
    run = probed([0.5] * 20 + [0.2] * 3)
    verdict = judge_learning(run, [], CONFIG)
    assert (verdict.advice, verdict.verdict, verdict.onset_step) == (Advice.ROLLBACK, "regressing", 21)
    few = [replace(item, values=item.values | {"probe/tasks": 12.0}) for item in run]
    assert judge_learning(few, [], CONFIG).advice is Advice.CONTINUE


def test_switched_off() -> None:
    config = replace(CONFIG, monitor=MonitorConfig(enabled=False))
    assert judge_learning(probed([0.5] * 60), [], config).advice is Advice.CONTINUE
    assert judge_health(records(20, **{"train/entropy": 0.0}), [], config).advice is Advice.CONTINUE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_evaluations": 5}, "at least 10"),
        ({"min_delta": 0.0}, "above 0"),
        ({"confidence": 0.4}, r"above 0\.5"),
        ({"nonfinite_limit": 11}, "could never be reached"),
        ({"slow_factor": 0.5}, "above 1, or 0"),
        ({"max_cut_share": 1.5}, "share from 0 to 1"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MonitorConfig(**changes).validate()  # type: ignore[arg-type]
