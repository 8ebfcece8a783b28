"""Whole steps with a scripted model: composition of batches, determinism, resume, seeding."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from dataclasses import replace

import pytest
from selfplay_helpers import proposal_text, respond, task

from azr.config.selfplay import IntrinsicConfig, SelfPlayConfig
from azr.errors import CheckpointError, ConfigError
from azr.programs import source
from azr.selfplay.credit import assign_rewards, base_reward
from azr.selfplay.episode import play
from azr.selfplay.game import SelfPlay
from azr.selfplay.identity import identity_task
from azr.selfplay.options import last_resorts
from azr.selfplay.outcomes import (
    Completion,
    ProposeOutcome,
    SolveOutcome,
    outcome_from_json,
    trained_outcomes,
)
from azr.selfplay.rows import PromptRow
from azr.selfplay.saving import STATE_FILE
from azr.selfplay.seeding import Seeding
from azr.selfplay.transcripts import transcripts
from azr.tasks import STREAMS, Prompt, Role, Task, TaskType

SMALL = SelfPlayConfig(batch_size=4, difficulty_samples=4, references=2, num_inputs=4, seed_factor=2)


class Model:
    """Answers any prompt as a function of its text and the number of times it was asked: a recorded model
    without the record."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.calls: Counter[str] = Counter()
        self.samples = 0

    def text(self, prompt: Prompt) -> str:
        self.calls[prompt.text] += 1
        digest = hashlib.blake2b(f"{self.seed}{prompt.text}{self.calls[prompt.text]}".encode()).digest()
        number, mood = digest[0], digest[1] % 6
        if mood == 0:
            return "no tags at all"
        if "inputs and a message" in prompt.text:
            blocks = "\n".join(f"```input\n{number + place}\n```" for place in range(4))
            return respond(f"{blocks}\n```message\na function of numbers\n```")
        if "write a new Python program" in prompt.text:
            return respond(proposal_text(f"def f(x):\n    return x * {number} + {digest[2]}", str(digest[3])))
        if "behind pairs" in prompt.text:
            return respond("```python\ndef f(x):\n    return x\n```")
        if "give one possible input" in prompt.text:
            return respond(f"```input\n{number % 3}\n```")
        return respond(f"```output\n{number % 3}\n```")

    async def __call__(self, prompt: Prompt, n: int) -> list[Completion]:
        self.samples += n
        return [Completion(text, len(text), True) for text in [self.text(prompt) for _ in range(n)]]


def seeds() -> list[Task]:
    programs = [
        task(f"def f(x):\n    return x + {number}", "1", str(1 + number)).with_lineage(source="seed")
        for number in range(12)
    ]
    inductions = [
        Task(
            task_type=TaskType.INDUCTION,
            code=f"def f(x):\n    return x + {number}",
            inputs=("1", "2", "3", "4"),
            outputs=tuple(str(each + number) for each in (1, 2, 3, 4)),
            message="adds",
        )
        for number in range(6)
    ]
    return [*programs, *inductions]


def fits(prompt: Prompt) -> bool:
    return True


async def play_step(game: SelfPlay, step: int, model: Model, sandbox) -> list[Task]:
    rows = [PromptRow.from_json(json.loads(json.dumps(row.to_json()))) for row in game.plan_step(step, fits)]
    outcomes = [await play(row, model, sandbox, game.config, fits) for row in rows]
    travelled = [outcome_from_json(json.loads(json.dumps(outcome.to_json()))) for outcome in outcomes]
    return game.accept(step, assign_rewards(travelled[::-1], game, 1000), {"run": "test", "cycle": 1})


def new_game(config: SelfPlayConfig = SMALL, seed: int = 7) -> SelfPlay:
    game = SelfPlay(config, seed)
    game.start(seeds())
    return game


async def run_steps(game: SelfPlay, steps: range, sandbox, model: Model) -> list:
    found = []
    for step in steps:
        accepted = await play_step(game, step, model, sandbox)
        numbers = {
            name: value for name, value in game.metrics().items() if not name.startswith("sandbox/wait")
        }
        found.append(([each.to_json() for each in accepted], numbers))
    return found


def test_a_solve_group_has_one_task() -> None:
    game = new_game(replace(SMALL, solve_group_size=2, seed_share=0.5))
    rows = game.plan_step(1, fits)
    assert game.metrics()["plan/seed_solve_rows"] == 6, "rows, as metrics.md has it, not tasks"
    assert [row.stream for row in rows] == [stream for stream in STREAMS for _ in range(4)]
    assert len({row.row_id for row in rows}) == 24
    for kind in TaskType.ABDUCTION, TaskType.DEDUCTION, TaskType.INDUCTION:
        solved = [row.task.task_id for row in rows if row.task and row.stream.task_type is kind]
        assert solved[::2] == solved[1::2]
        assert len(set(solved)) == 2


async def test_answers_of_a_solve_group_are_counted_as_one_use_of_its_task(sandbox) -> None:
    game = new_game(replace(SMALL, solve_group_size=4, train_on_samples=True, advantage="group"))
    await play_step(game, 1, Model(), sandbox)
    assert game.metrics()["solve-deduction/count"] == 4
    assert game.metrics()["solve-deduction/distinct_tasks"] == 1


def test_a_step_has_all_six_streams_in_order():
    rows = new_game().plan_step(1, fits)
    assert [row.stream for row in rows] == [stream for stream in STREAMS for _ in range(4)]
    assert len({row.row_id for row in rows}) == 24 and not any("_" in row.row_id for row in rows)
    for row in rows:
        assert (row.task is None) == (row.stream.role is Role.PROPOSE)
        if row.stream.role is Role.PROPOSE:
            assert len(row.references) == (1 if row.stream.task_type is TaskType.INDUCTION else 2)
            assert all(reference.program in row.prompt.text for reference in row.references)


def test_proposers_are_told_the_configured_time_limit():
    game = SelfPlay(SMALL, 7, timeout_s=0.5)
    game.start(seeds())
    for row in game.plan_step(1, fits):
        if row.stream.role is Role.PROPOSE and row.stream.task_type is not TaskType.INDUCTION:
            assert "within 0.5 seconds" in row.prompt.text and "2 seconds" not in row.prompt.text


async def test_two_runs_are_identical_and_resume_continues_the_stream(sandbox, tmp_path):
    whole, first = new_game(), new_game()
    everything = await run_steps(whole, range(1, 5), sandbox, Model())
    model = Model()
    head = await run_steps(first, range(1, 3), sandbox, model)
    saved = first.save(tmp_path)
    resumed = SelfPlay(SMALL, 7)
    assert resumed.load(tmp_path) == saved
    tail = await run_steps(resumed, range(3, 5), sandbox, model)
    assert head + tail == everything
    assert whole.save(tmp_path / "a") == resumed.save(tmp_path / "b")
    assert sum(len(accepted) for accepted, _ in everything) > 5
    other = new_game(seed=8)
    assert [row.prompt for row in other.plan_step(1, fits)] != [
        row.prompt for row in new_game().plan_step(1, fits)
    ]


async def test_accepted_tasks_enter_buffer_with_lineage_and_are_selected_next(sandbox):
    game = new_game()
    accepted = await play_step(game, 1, Model(), sandbox)
    assert accepted and len({each.task_id for each in accepted}) == len(accepted)
    for each in accepted:
        assert each.lineage.source == "selfplay" and each.lineage.step == 1 and each.lineage.run == "test"
        assert each.lineage.accuracy is not None and each.lineage.parents
        assert each.task_id in game.buffers[each.task_type]
    chosen = {row.task.task_id for row in game.plan_step(2, fits) if row.task}
    assert {each.task_id for each in accepted} <= chosen
    again = game.accept(2, [])
    assert again == []


async def test_saved_state_is_verified(sandbox, tmp_path):
    game = new_game()
    await play_step(game, 1, Model(), sandbox)
    game.save(tmp_path)
    with pytest.raises(ConfigError):
        SelfPlay(SMALL, 8).load(tmp_path)
    for name in ("deduction.jsonl", STATE_FILE):
        path = tmp_path / name
        content = path.read_text()
        path.write_text(content.replace("1", "2", 1))
        with pytest.raises(CheckpointError):
            SelfPlay(SMALL, 7).load(tmp_path)
        path.write_text(content)
    (tmp_path / "abduction.jsonl").unlink()
    with pytest.raises(CheckpointError):
        SelfPlay(SMALL, 7).load(tmp_path)


def test_a_saved_game_has_no_empty_file(tmp_path):
    """Programs that copy or upload folders leave empty ones out, and every checkpoint was damaged."""
    game = new_game()
    assert not all(game.buffers.values())
    saved = game.save(tmp_path)
    assert all(path.stat().st_size for path in tmp_path.iterdir())
    assert SelfPlay(SMALL, 7).load(tmp_path) == saved


async def test_metrics_say_what_happened(sandbox):
    game = new_game()
    accepted = await play_step(game, 1, Model(), sandbox)
    numbers = game.metrics()
    assert (
        numbers["data/accepted"]
        == len(accepted)
        == sum(numbers[f"propose-{kind}/accepted"] for kind in SMALL.task_types)
    )
    assert numbers["data/proposed"] == 12
    for stream in STREAMS:
        assert numbers[f"{stream.name}/count"] == 4
        low, middle, high = (numbers[f"{stream.name}/reward_{what}"] for what in ("min", "mean", "max"))
        assert -1 <= low <= middle <= high <= 1
    assert numbers["samples/count"] == 4 * round(numbers["samples/count"] / 4)
    played = sum(numbers[f"{s.name}/count"] * numbers[f"{s.name}/response_tokens_mean"] for s in STREAMS)
    assert numbers["data/generated_tokens"] >= played + numbers["samples/count"] > played, "samples count too"
    assert all(isinstance(value, float) for value in numbers.values())


async def test_transcripts_are_a_few_rows_of_each_stream_with_their_prompts(sandbox):
    game = new_game(replace(SMALL, transcripts_per_stream=2))
    rows = game.plan_step(1, fits)
    model = Model()
    outcomes = [await play(row, model, sandbox, game.config, fits) for row in rows]
    kept = transcripts(1, rows, outcomes, game.config, 7)
    assert Counter(record["stream"] for record in kept) == {stream.name: 2 for stream in STREAMS}
    for record in kept:
        assert record["prompt"] == next(row.prompt.text for row in rows if row.row_id == record["row_id"])
        assert record["response"] and "reward" in json.loads(json.dumps(record))
        if record["stream"].startswith("solve"):
            task = next(row.task for row in rows if row.row_id == record["row_id"])
            assert task is not None and record["task_id"] == task.task_id
    assert kept == transcripts(1, rows, outcomes[::-1], game.config, 7)


async def test_same_step_solutions_are_among_the_transcripts(sandbox):
    game = new_game(replace(SMALL, variant="paper", transcripts_per_stream=4))
    rows = game.plan_step(1, fits)
    outcomes = [await play(row, Model(), sandbox, game.config, fits) for row in rows]
    travelled = [outcome_from_json(json.loads(json.dumps(outcome.to_json()))) for outcome in outcomes]
    kept = transcripts(1, rows, travelled, game.config, 7)
    assert Counter(record["stream"] for record in kept) == {stream.name: 4 for stream in STREAMS}
    solutions = [record for record in kept if record["stream"].startswith("solve")]
    asked = {each.solved.prompt.text for each in outcomes if isinstance(each, ProposeOutcome) and each.solved}
    assert {record["prompt"] for record in solutions} == asked
    ids = {each.solved.task_id for each in outcomes if isinstance(each, ProposeOutcome) and each.solved}
    assert {record["task_id"] for record in solutions} == ids


async def test_same_step_solving_fills_both_streams(sandbox):
    game = new_game(replace(SMALL, variant="paper"))
    rows = game.plan_step(1, fits)
    assert [row.stream.role for row in rows] == [Role.PROPOSE] * 12 and all(row.fallback for row in rows)
    model = Model()
    outcomes = [await play(row, model, sandbox, game.config, fits) for row in rows]
    for row, outcome in zip(rows, outcomes, strict=True):
        assert (
            isinstance(outcome, ProposeOutcome)
            and outcome.solved is not None
            and row.fallback
            and row.fallback.task
        )
        wanted = outcome.task.task_id if outcome.task and outcome.samples else row.fallback.task.task_id
        assert outcome.solved.task_id == wanted
        assert [each.stream.role for each in trained_outcomes(outcome, game.config)] == [
            Role.SOLVE,
            Role.PROPOSE,
        ]
    game.accept(1, outcomes)
    numbers = game.metrics()
    assert all(numbers[f"{stream.name}/count"] == 4 for stream in STREAMS)


async def test_difficulty_samples_can_be_trained_on(sandbox):
    config = replace(SMALL, train_on_samples=True, advantage="group")
    game = new_game(config)
    row = game.plan_step(1, fits)[4]
    assert row.stream.role is Role.SOLVE
    trained = 0
    for row in game.plan_step(1, fits):
        outcome = await play(row, Model(), sandbox, config, fits)
        responses = trained_outcomes(outcome, config)
        assert responses[-1] is outcome
        if isinstance(outcome, ProposeOutcome) and outcome.samples:
            trained += 1
            assert len(responses) == 5
            assert all(
                isinstance(each, SolveOutcome) and each.sample and each.completion.text
                for each in responses[:-1]
            )
    assert trained


async def test_adaptive_sampling_stops_when_the_first_half_agrees(sandbox, script, anything_fits):
    config = replace(SMALL, difficulty_samples=8, adaptive_samples=True)
    row = new_game(config).plan_step(1, fits)[8]
    assert row.stream.name == "propose-deduction"
    valid = respond(proposal_text("def f(x):\n    return x * 3", "5"))
    right, wrong = respond("```output\n15\n```"), respond("```output\n1\n```")
    for first, asked in (([wrong] * 4, 4), ([right] * 4, 4), ([right, wrong, wrong, wrong, *[right] * 4], 8)):
        model = script(valid, *first)
        outcome = await play(row, model, sandbox, config, anything_fits)
        assert isinstance(outcome, ProposeOutcome)
        assert len(outcome.samples) == asked and outcome.wanted_samples == 8 and not model.texts
    assert outcome.accuracy == 5 / 8


async def test_too_long_solve_prompt_is_a_counted_rejection(sandbox, script):
    row = new_game().plan_step(1, fits)[8]
    model = script(respond(proposal_text("def f(x):\n    return x * 3", "5")))
    outcome = await play(row, model, sandbox, SMALL, lambda prompt: False)
    assert isinstance(outcome, ProposeOutcome)
    assert (
        outcome.task is None
        and outcome.rejection is not None
        and outcome.rejection.reason == "solve_prompt_too_long"
    )
    assert base_reward(outcome, SMALL) == -0.5 and outcome.valid


@pytest.mark.parametrize(
    "config", [SMALL, replace(SMALL, variant="paper"), replace(SMALL, solve_selection="step")]
)
def test_length_limit_never_starves_a_stream(config):
    game = new_game(config)
    lengths = sorted(
        len(row.prompt.text) for row in new_game(replace(SMALL, references=0)).plan_step(1, fits)
    )
    limit = lengths[-1] + 1  # references fit rarely
    rows = game.plan_step(1, lambda prompt: len(prompt.text) <= limit)
    assert len(rows) == (12 if config.solves_same_step else 24)
    assert game.metrics()["plan/dropped_propose_prompts"] > 0


def test_where_nothing_fits_every_stream_asks_its_last_resort():
    """Which the start of the trainer has seen to fit (test_prompt_room.py)."""
    config = replace(SMALL, task_types=["abduction", "deduction", "induction", "error"])
    resorts = dict(last_resorts(config, config.num_inputs))
    rows = new_game(config).plan_step(1, lambda prompt: False)
    assert len(rows) == 32 and {row.stream for row in rows} == set(resorts)
    assert all(row.prompt == resorts[row.stream] for row in rows)


def test_solver_only_training_and_other_ablations():
    assert {row.stream.role for row in new_game(replace(SMALL, train_propose=False)).plan_step(1, fits)} == {
        Role.SOLVE
    }
    warm = new_game(replace(SMALL, solve_only_steps=2))
    assert [len(warm.plan_step(step, fits)) for step in (2, 3)] == [12, 24]
    assert len(new_game(replace(SMALL, task_types=["deduction"])).plan_step(1, fits)) == 8
    none = new_game(replace(SMALL, references=0)).plan_step(1, fits)[0]
    assert none.references == () and "<snippet_0>" not in none.prompt.text
    error = new_game(replace(SMALL, task_types=["deduction", "error"])).plan_step(1, fits)
    assert [row.stream.name for row in error[8::4]] == ["propose-error", "solve-error"]


@pytest.mark.parametrize(("wanted", "kept"), [("all", True), ("non_one", True), ("non_extremes", False)])
async def test_program_filters(sandbox, script, anything_fits, wanted, kept):
    config = replace(SMALL, program_filter=wanted)
    row = new_game(config).plan_step(1, fits)[8]
    valid = respond(proposal_text("def f(x):\n    return x * 3", "5"))
    outcome = await play(
        row, script(valid, *[respond("```output\n1\n```")] * 4), sandbox, config, anything_fits
    )
    assert isinstance(outcome, ProposeOutcome) and (outcome.task is not None) == kept


def rewards(outcomes: list[ProposeOutcome], game: SelfPlay) -> dict[str, float | None]:
    return {outcome.row_id: outcome.reward for outcome in assign_rewards(outcomes, game, 100)}


async def test_diversity_reward_needs_the_counts_of_the_game(sandbox, script, anything_fits):
    config = replace(
        SMALL,
        intrinsic=IntrinsicConfig(
            diversity=1.0, diversity_max=0.5, edit_distance=0.5, complexity=0.1, halstead=0.1
        ),
    )
    game = new_game(config)
    row = game.plan_step(1, fits)[8]
    texts = [
        respond(proposal_text("def f(x):\n    return x * 3", "5")),
        *[respond("```output\n15\n```")] * 2,
        *[respond("```output\n1\n```")] * 2,
    ]
    outcome = await play(row, script(*texts), sandbox, config, anything_fits)
    assert isinstance(outcome, ProposeOutcome)
    assert set(outcome.terms) == {"complexity", "halstead", "edit_distance"}
    own = base_reward(outcome, config)
    assert rewards([outcome], game)[row.row_id] == pytest.approx(own + 0.5)  # an output nobody saw
    for _ in range(300):
        game.type_counts.add("output", "15")
    assert own < (rewards([outcome], game)[row.row_id] or 0.0) < own + 0.5


async def test_a_proposal_that_is_held_or_comes_twice_is_paid_as_a_duplicate(sandbox, script, anything_fits):
    async def proposals(config: SelfPlayConfig) -> tuple[SelfPlay, list[ProposeOutcome]]:
        game = new_game(config)
        rows = [row for row in game.plan_step(1, fits) if row.stream.name == "propose-deduction"][:2]
        found = []
        for row, name in zip(rows, ("x", "y"), strict=True):  # the same task but for a variable's name
            samples = [respond("```output\n15\n```")] * 2 + [respond("```output\n1\n```")] * 2
            played = script(respond(proposal_text(f"def f({name}):\n    return {name} * 3", "5")), *samples)
            outcome = await play(row, played, sandbox, config, anything_fits)
            assert isinstance(outcome, ProposeOutcome) and outcome.task is not None
            assert base_reward(outcome, config) == 0.5
            found.append(outcome)
        return game, sorted(found, key=lambda outcome: outcome.row_id)

    game, both = await proposals(SMALL)
    assert set(rewards(both, game).values()) == {0.5}  # as published: a copy is paid like any other

    game, both = await proposals(replace(SMALL, duplicate_reward=-1.0))
    first, second = both
    expected = {first.row_id: 0.5, second.row_id: -1.0}
    assert rewards(both, game) == rewards(both[::-1], game) == expected
    assert rewards([second], game) == {second.row_id: 0.5}  # alone it is new
    accepted = game.accept(1, assign_rewards(both, game, 100))
    assert len(accepted) == 1 and game.metrics()["propose-deduction/reward_min"] == -1.0
    assert rewards(both, game) == {first.row_id: -1.0, second.row_id: -1.0}  # held from now on


async def test_composite_proposals(sandbox, script, anything_fits):
    config = replace(SMALL, composite_start_step=1, composite_chance=1.0, composite_min=1, composite_max=1)
    game = new_game(config)
    row = game.plan_step(1, fits)[8]
    assert len(row.composites) == 1 and "def g_0(x)" in row.prompt.text and "g_0" in row.prompt.text
    assert all("g_0" not in reference.code for reference in row.references)  # what is shared stays as it was
    samples = [respond("```output\n1\n```")] * 4
    good = respond(proposal_text("def f(x):\n    y = g_0(x)\n    return y * 2", "5"))
    outcome = await play(row, script(good, *samples), sandbox, config, anything_fits)
    assert isinstance(outcome, ProposeOutcome) and outcome.task is not None
    assert (
        outcome.task.composite_functions == row.composites
        and outcome.task.original_code
        and "def g_0" in outcome.task.code
    )
    for bad in (
        "def f(x):\n    return g_0(x)",
        "def f(x):\n    return x",
        "def f(x):\n    y = g_0(1)\n    return x + y",
    ):
        outcome = await play(row, script(respond(proposal_text(bad, "5"))), sandbox, config, anything_fits)
        assert (
            isinstance(outcome, ProposeOutcome)
            and outcome.rejection is not None
            and outcome.rejection.reason == "composite"
        )


async def test_error_tasks(sandbox, script, anything_fits):
    config = replace(SMALL, task_types=["deduction", "error"])
    game = new_game(config)
    row = game.plan_step(1, fits)[8]
    assert row.stream.name == "propose-error"
    texts = [
        respond(proposal_text("def f(x):\n    return 10 // x", "0")),
        *[respond("```output\nzerodivisionerror: by zero\n```")] * 3,
    ]
    outcome = await play(
        row, script(*texts, respond("```output\nNoError\n```")), sandbox, config, anything_fits
    )
    assert isinstance(outcome, ProposeOutcome) and outcome.task is not None
    assert outcome.task.output == "ZeroDivisionError" and outcome.accuracy == 0.75
    assert base_reward(outcome, config) == 0.25
    fine = [
        respond(proposal_text("def f(x):\n    return 10 // x", "5")),
        *[respond("```output\nNoError\n```")] * 4,
    ]
    outcome = await play(row, script(*fine), sandbox, config, anything_fits)
    assert (
        isinstance(outcome, ProposeOutcome) and outcome.task is not None and outcome.task.output == "NoError"
    )
    raised = respond(proposal_text("def f(x):\n    raise ValueError(x)", "5"))
    outcome = await play(row, script(raised), sandbox, config, anything_fits)
    assert (
        isinstance(outcome, ProposeOutcome)
        and outcome.rejection is not None
        and outcome.rejection.reason == "banned_word"
    )
    assert game.accept(1, [outcome]) == []


async def seed_fully(game: SelfPlay, model, sandbox) -> Seeding:
    seeding = Seeding(game)
    while rows := seeding.plan_round(fits):
        outcomes = await asyncio.gather(*[play(row, model, sandbox, game.config, fits) for row in rows])
        seeding.accept_round(outcomes)
    return seeding


async def test_seeding_from_the_identity_program(sandbox):
    game = SelfPlay(SMALL, 3)
    seeding = await seed_fully(game, Model(), sandbox)
    assert seeding.done and "target reached" in seeding.report
    assert [len(game.buffers[kind]) for kind in game.task_types] == [8, 8, 8]
    assert all(record.step == 0 for kind in game.task_types for record in game.buffers[kind])
    assert {record.task.lineage.source for record in game.buffers[TaskType.ABDUCTION]} == {
        "identity",
        "seeding",
    }
    assert len(game.plan_step(1, fits)) == 24


async def test_seeding_with_a_model_that_cannot(sandbox):
    game = SelfPlay(replace(SMALL, seed_rounds=2), 3)

    async def useless(prompt, n):
        return [Completion("I do not know", 4, True)] * n

    seeding = await seed_fully(game, useless, sandbox)
    assert "too weak" in seeding.report and seeding.round == 2 and seeding.tried == 16
    assert len(game.plan_step(1, fits)) == 24  # a run can still start: from the identity tasks alone


def test_identity_tasks_are_true():
    for kind in TaskType:
        each = identity_task(kind)
        assert Task.from_json(json.loads(json.dumps(each.to_json()))).inputs == each.inputs
    assert len(identity_task(TaskType.INDUCTION).inputs) == 6


async def test_a_program_is_parsed_once(sandbox, script, anything_fits, monkeypatch):
    """From the response to the verified task: what reads it hands the tree on."""
    parsed = []
    original = source.parse_nodes
    monkeypatch.setattr(source, "parse_nodes", lambda text: parsed.append(text) or original(text))

    row = new_game().plan_step(1, fits)[8]
    code = "def f(x):\n    # three times\n    return x * 3"
    texts = [respond(proposal_text(code, "5")), *[respond("```output\n15\n```")] * 4]
    outcome = await play(row, script(*texts), sandbox, SMALL, anything_fits)

    assert isinstance(outcome, ProposeOutcome) and outcome.task is not None
    assert parsed == [code]


async def test_composites_that_are_too_long_together_are_a_rejection(sandbox, script, anything_fits):
    config = replace(SMALL, composite_start_step=1, composite_chance=1.0, composite_min=1, composite_max=1)
    row = new_game(config).plan_step(1, fits)[8]
    row = replace(row, composites=(f"def g_0(x):\n    return x  # {'long' * 5000}",))
    model = script(respond(proposal_text("def f(x):\n    y = g_0(x)\n    return x + y", "5")))
    outcome = await play(row, model, sandbox, config, anything_fits)
    assert isinstance(outcome, ProposeOutcome) and outcome.rejection is not None
    assert outcome.rejection.reason == "program_too_long"
