"""The parts of the benchmarks that need no trainer: work, figures, comparison."""

import asyncio
import importlib.util
import os
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from azr.config import Config
from azr.config.load import load_config
from azr.run.protocol import Heartbeat, MetricsRecord, Phase, append_metrics, write_beat
from azr.selfplay.outcomes import Completion, ProposeOutcome, SolveOutcome
from azr.selfplay.rows import PromptRow
from azr.system.hardware import Gpu, Machine
from azr.tasks import Prompt, Role, Stream, TaskType
from azr.train.fixed_lengths import length_around, play_fixed_lengths

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "dev"


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


bench_step = script("bench_step")


def options(**changes):
    return bench_step.Options(**{"fraction": 0.25, "leave_gib": 16.0, "peak_tflops": 790.0, **changes})


CARD_80 = Machine((Gpu("H100", 80.0, 79.0, (9, 0)),), cpu_cores=16, ram_gib=128.0, ram_available_gib=120.0)


def test_share_of_a_large_card_is_that_of_the_small_one():
    config = bench_step.configuration("0_5b_16gb+budget.automatic=[]", options(), CARD_80)
    assert config.rollout.gpu_memory_share == pytest.approx(
        load_config(["recipe=0_5b_16gb"]).config.rollout.gpu_memory_share * 16 / 80, abs=1e-4
    )
    assert config.selfplay.batch_size == 16
    assert config.rollout.fixed_response_tokens == 300
    alone = bench_step.configuration(
        "published_single_gpu", options(no_hold=["published_single_gpu"]), CARD_80
    )
    assert alone.rollout.gpu_memory_share == 0.7


def test_a_recipe_with_settings_of_its_own():
    words = "3b_lora_16gb+rollout.merge_adapters=false+seed=3"
    config = bench_step.configuration(words, options(override=["train.learning_rate=1e-7"]), CARD_80)
    assert (config.recipe, config.rollout.merge_adapters, config.seed) == ("3b_lora_16gb", False, 3)
    assert config.train.learning_rate == 1e-7


@pytest.mark.parametrize(("recipe", "leave_gib"), [("0_5b_8gb", 8.0), ("3b_lora_16gb", 16.0)])
def test_a_small_card_can_be_imitated_on_a_large_one(recipe, leave_gib):
    bench_step.configuration(recipe, options(leave_gib=leave_gib), CARD_80).rollout.validate()


def test_tasks_fill_every_stream():
    tasks = bench_step.synthetic_tasks(5)
    kinds = [task.task_type for task in tasks]
    assert all(
        kinds.count(kind) == 5 for kind in (TaskType.ABDUCTION, TaskType.DEDUCTION, TaskType.INDUCTION)
    )
    assert len({task.task_id for task in tasks}) == 15


class NoWatch:
    def __init__(self):
        self.gpu_gib = {"update": 11.5, "generate": 13.0}
        self.ram_gib = [(0, 8.0), (1, 11.0), (2, 10.0)]


def test_growth_shows_between_quarters():
    """Four quarters of the steps after the first; host readings by the step that was finished last."""
    steps = [{"memory/asleep_device_used_gib": 99.0}] + [
        {"memory/asleep_device_used_gib": 8.0 + number // 2} for number in range(8)
    ]
    host = [(0, 50.0), (1, 50.0), *((number + 2, 10.0) for number in range(8))]
    found = bench_step.quarters(steps, host)
    assert found == {"host": [10.0] * 4, "asleep_device_used": [8.0, 9.0, 10.0, 11.0]}
    assert bench_step.quarters(steps[:3], host[:4]) == {}  # too few to say


def test_figures_by_hand():
    config = bench_step.configuration("0_5b_16gb", options(), CARD_80)
    step = {
        "time_s/step": 10.0, "time_s/generate": 4.0, "time_s/update": 5.0, "time_s/sync": 1.0, "train/rows": 96.0,
        "train/response_tokens": 28_800.0, "train/optimizer_steps": 3.0,
        "train/logprob_mismatch": 4e-7, "train/logprob_mismatch_nats": 0.0238, "memory/update_trainer_peak_gib": 9.9,
    }  # fmt: skip
    warm_up = {**step, "time_s/step": 99.0, "time_s/generate": 90.0}
    figures = bench_step.summarise(config, [warm_up, step, step], NoWatch(), options(), CARD_80)
    assert figures["step_s"] == 10.0 and figures["optimizer_steps"] == 3.0
    tokens = 28_800 + 96 * 600
    assert figures["update_tokens_per_s"] == pytest.approx(tokens / 5.0, abs=1)
    assert figures["generated_tokens_per_s"] == pytest.approx((28_800 + 16 * 3 * 8 * 300) / 4.0, abs=1)
    assert figures["mfu"] == pytest.approx(6 * 0.494e9 * tokens / 5.0 / 790e12, rel=0.01)
    assert figures["host_peak_gib"] == 11.0
    on_two = bench_step.configuration("0_5b_16gb", options(override=["train.n_gpus_per_node=2"]), CARD_80)
    halves = bench_step.summarise(on_two, [warm_up, step, step], NoWatch(), options(), CARD_80)
    assert halves["mfu"] == pytest.approx(figures["mfu"] / 2, abs=1e-4)  # of both cards' peak
    assert figures["predicted_gib"]["rollout"] == pytest.approx(14.8, abs=0.3)
    text = bench_step.table([{"recipe": "0_5b_16gb", **figures}, {"recipe": "other", "failed": "no card"}])
    assert "GPU peak in update" in text and "other failed: no card" in text
    # it printed the difference in probability, tiny where tokens are unlikely, as one in log-probs of 0.00000
    rows = [line.split() for line in text.splitlines()]
    assert ["engine", "and", "trainer,", "nats", "0.0238", "-"] in rows
    assert ["in", "token", "probability", "4e-07", "-"] in rows
    del step["train/logprob_mismatch_nats"]
    unpacked = bench_step.summarise(config, [warm_up, step, step], NoWatch(), options(), CARD_80)
    assert unpacked["mismatch_nats"] is None and bench_step.table([{"recipe": "0_5b_16gb", **unpacked}])


def test_a_trainer_without_a_finished_step_is_a_failure_with_its_last_phase(tmp_path, monkeypatch):
    """The record of step 0, written at the start, was taken for a step; the reason was lost."""

    def attempt(run, request, options):
        append_metrics(run, MetricsRecord(step=0, cycle=1, attempt=1, unix_s=0.0))
        write_beat(
            run,
            Heartbeat(
                phase=Phase.SYNC, step=0, cycle=1, attempt=1, unix_s=0.0, pid=1, phase_since_unix_s=0.0
            ),
        )
        log = run.trainer_log(1, 1)
        log.parent.mkdir(parents=True)
        log.write_text("ValueError: no room\n", encoding="utf-8")
        return None, NoWatch(), 600.0

    monkeypatch.setattr(bench_step, "_attempt", attempt)
    found = bench_step.run_recipe("0_5b_16gb", options(steps=1, timeout_s=600.0), CARD_80, tmp_path)
    assert found["failed"] == "no step within 600 s, the last phase was sync\nValueError: no room"


def test_regressions_are_ratios_on_the_same_machine():
    result = {"recipe": "a", "step_s": 10.0, "update_tokens_per_s": 100, "generated_tokens_per_s": 100}
    baseline = {"machine": "H100", "results": [result]}

    def against(**changes):
        return bench_step.regressions({"machine": "H100", "results": [{**result, **changes}]}, baseline, 0.15)

    assert not against(step_s=11.0)
    assert len(against(step_s=12.0)) == 1
    assert len(against(update_tokens_per_s=80, generated_tokens_per_s=50)) == 2
    assert not against(update_tokens_per_s=200)
    assert not bench_step.regressions(
        {"machine": "other", "results": [{**result, "step_s": 99.0}]}, baseline, 0.15
    )


def fixed_config(group=0, **selfplay):
    rollout = replace(Config().rollout, fixed_prompt_tokens=60, fixed_response_tokens=30, fixed_group=group)
    return replace(Config(), rollout=rollout, selfplay=replace(Config().selfplay, **selfplay))


def play_fixed(role, config, row_id="r7"):
    """The trained outcomes of one row, and what the engine was asked."""
    row = PromptRow(
        stream=Stream(role, TaskType.DEDUCTION), prompt=Prompt((("user", "x"),), raw=True), row_id=row_id
    )
    asked = []

    async def generate(prompt, params):
        asked.append((tuple(prompt), params["max_tokens"], params["ignore_eos"]))
        return Completion("", params["max_tokens"], True)

    return asyncio.run(play_fixed_lengths(row, config, {"temperature": 1.0}, generate)), asked


@pytest.mark.parametrize("role", [Role.PROPOSE, Role.SOLVE])
def test_rows_of_fixed_lengths(role):
    config = fixed_config()
    [outcome], asked = play_fixed(role, config)
    assert all(30 <= len(prompt) <= 90 and 15 <= length <= 45 and forced for prompt, length, forced in asked)
    if role is Role.PROPOSE:
        assert isinstance(outcome, ProposeOutcome) and outcome.task is None
        assert len(asked) == 1 + config.selfplay.difficulty_samples
        assert len({prompt for prompt, _, _ in asked[1:]}) == 1  # the samples share their prompt
    else:
        assert len(asked) == 1
    assert play_fixed(role, config)[1] == asked  # the same work every time
    draw = random.Random(0)
    mean = sum(length_around(300, draw) for _ in range(4000)) / 4000
    assert mean == pytest.approx(300, rel=0.02)


def test_samples_of_fixed_lengths_are_trained_on_where_the_game_trains_on_them():
    config = fixed_config(train_on_samples=True, advantage="group", difficulty_samples=5)
    trained, asked = play_fixed(Role.PROPOSE, config)
    assert [outcome.stream.role for outcome in trained] == [Role.SOLVE] * 5 + [Role.PROPOSE]
    assert [outcome.completion.n_tokens for outcome in trained] == [
        length for _, length, _ in (*asked[1:], asked[0])
    ]
    groups = {outcome.task_id for outcome in trained if isinstance(outcome, SolveOutcome)}
    assert groups == {"r7"}


@pytest.mark.parametrize("role", [Role.PROPOSE, Role.SOLVE])
def test_a_group_of_fixed_lengths_is_the_work_of_other_trainers(role):
    trained, asked = play_fixed(role, fixed_config(group=8))
    assert len(trained) == len(asked) == 8
    assert len({prompt for prompt, _, _ in asked}) == 1 and {length for _, length, _ in asked} == {30}
    assert len(asked[0][0]) == 60
    answers = [outcome for outcome in trained if isinstance(outcome, SolveOutcome)]
    assert len(answers) == 8 and {outcome.task_id for outcome in answers} == {"r7"}
    assert len({outcome.score for outcome in answers}) > 1  # something to learn
    assert play_fixed(role, fixed_config(group=8), "r8")[1][0][0] != asked[0][0]


def test_bench_step_counts_what_is_generated_and_not_trained():
    def discarded(*override):
        return bench_step.discarded_samples(
            bench_step.configuration("0_5b_16gb", options(override=list(override)), CARD_80)
        )

    assert discarded() == 16 * 3 * 8
    assert discarded("selfplay=instruct") == 0  # trains on them
    assert discarded("rollout.fixed_group=8") == 0
    assert discarded("selfplay.train_propose=false") == 0
    config = bench_step.configuration("0_5b_16gb", options(override=["selfplay=instruct"]), CARD_80)
    assert not config.train.drop_zero_advantages  # equal work, whatever rewards are drawn


def test_logs_of_trainer_and_workers_are_kept_beside_the_figures(tmp_path, monkeypatch):
    run = bench_step.RunDir(tmp_path / "run")
    for name, text in (("trainer.log", "x" * 2_000_000 + "the end"), ("stacks.txt", "stacks")):
        run.attempt(1, 1).mkdir(parents=True, exist_ok=True)
        (run.attempt(1, 1) / name).write_text(text)
    ray = tmp_path / "ray" / "session_2026-01-01" / "logs"
    ray.mkdir(parents=True)
    (ray / "worker-1.err").write_text("of the engine")
    (ray / "worker-0.err").write_text("of an earlier run")
    os.utime(ray / "worker-0.err", (0, 0))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    request = bench_step.TrainRequest(cycle=1, attempt=1, first_step=1, last_step=1)
    logs = bench_step.Logs(run, request, "none/1/1", tmp_path / "kept")
    logs._since_s -= 10
    logs.stacks("time is up")
    logs.keep()
    kept = {path.name: path.read_text() for path in (tmp_path / "kept" / "attempt_1").iterdir()}
    assert kept.keys() == {"trainer.log", "stacks.txt", "worker-1.err"}
    assert kept["trainer.log"].endswith("the end") and len(kept["trainer.log"]) == 1_000_000
    assert "time is up" in kept["stacks.txt"]
