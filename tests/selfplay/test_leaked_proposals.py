"""Proposals like a probe: refused before anything is run or sampled, counted, and learned from by nobody."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selfplay_helpers import proposal_text, respond, task

from azr.config.selfplay import SelfPlayConfig
from azr.data.contamination import LeakIndex, evaluation_items, fingerprint_sources
from azr.data.reasons import Reason
from azr.run import metric_names as names
from azr.selfplay.credit import Credit, Trajectory, assign_rewards, credit
from azr.selfplay.episode import play
from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import ProposeOutcome, outcome_from_json, trained_outcomes
from azr.selfplay.rows import PromptRow
from azr.selfplay.seeding import Seeding
from azr.selfplay.transcripts import transcripts
from azr.selfplay.validation import LEAKED_EVALUATION, Resembles
from azr.system.files import write_jsonl_atomic
from azr.tasks import Task, TaskType

SMALL = SelfPlayConfig(batch_size=2, difficulty_samples=2, references=2, num_inputs=4, seed_factor=2)
PROBE = "def f(numbers):\n    total = 3\n    for number in numbers:\n        total += number * 2\n    return total"
RENAMED = "def f(xs):\n    # mine\n    s = 3\n    for x in xs:\n        s += x * 2\n    return s"
HARMLESS = "def f(x):\n    return x * 3"


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("probes") / "probes.jsonl"
    write_jsonl_atomic(
        file,
        [
            task("def f(text):\n    return text.upper()", "'a'", "'A'").to_json(),
            task(PROBE, "[1]", "5").to_json(),
        ],
    )
    return file


@pytest.fixture(scope="module")
def resembles(probes: Path) -> Resembles:
    return LeakIndex(evaluation_items([probes]), 0.6).leak


def game(config: SelfPlayConfig = SMALL) -> SelfPlay:
    made = SelfPlay(config, 7)
    made.start([task(f"def f(x):\n    return x + {number}", "1", str(1 + number)) for number in range(6)])
    return made


def row_of(stream: str, made: SelfPlay) -> PromptRow:
    return next(row for row in made.plan_step(1, lambda prompt: True) if row.stream.name == stream)


def test_the_comparison_is_the_one_of_the_merge(probes: Path, resembles: Resembles) -> None:
    assert Reason.LEAKED.value == LEAKED_EVALUATION
    programs = [PROBE, RENAMED, HARMLESS, f"import math\n{PROBE}", RENAMED.replace("3", "4"), "def f(:"]
    _, leaks = fingerprint_sources(programs, [probes], 0.6)
    assert {program: name for program in programs if (name := resembles(program))} == leaks
    assert leaks[RENAMED] == "probes.jsonl:2" and HARMLESS not in leaks


@pytest.mark.parametrize(
    "given",
    [
        "[4]",
        "open('x')",  # no literal: a reward of -1 would be for the probe's program too
        "'not numbers'",  # raises
    ],
)
async def test_a_renamed_probe_is_neither_run_nor_sampled(sandbox, script, resembles, given) -> None:
    made = game()
    row = row_of("propose-deduction", made)
    model = script(respond(proposal_text(RENAMED, given)))  # asked for a second text, it fails
    outcome = await play(row, model, sandbox, SMALL, lambda prompt: True, resembles)
    assert isinstance(outcome, ProposeOutcome) and outcome.rejection is not None and outcome.task is None
    assert (outcome.rejection.reason, outcome.rejection.detail) == ("leaked_evaluation", "probes.jsonl:2")
    assert len(model.asked) == 1 and trained_outcomes(outcome, SMALL) == [outcome]

    travelled = outcome_from_json(json.loads(json.dumps(outcome.to_json())))
    [paid] = assign_rewards([travelled], made, 1000)
    assert paid.reward is None
    assert made.accept(1, [paid]) == [] and not any(RENAMED in each for each in made.latest_programs())
    values = made.metrics()
    assert values[names.rejected("leaked_evaluation")] == 1
    assert values["propose-deduction/rejected/leaked_evaluation"] == 1
    assert "propose-deduction/reward_mean" not in values


async def test_any_other_program_is_as_before(sandbox, script, resembles) -> None:
    texts = [respond(proposal_text(HARMLESS, "5")), respond("```output\n15\n```"), respond("no")]
    outcomes = [
        await play(
            row_of("propose-deduction", game()), script(*texts), sandbox, SMALL, lambda prompt: True, compared
        )
        for compared in (None, resembles)
    ]
    assert replace(outcomes[0], seconds={}) == replace(outcomes[1], seconds={}) and outcomes[0].task


async def test_the_proposers_own_part_of_a_composite_program_is_compared_too(
    sandbox, script, resembles
) -> None:
    """The whole program is long enough to look like something else, and is left out where it does not."""
    composite = "\n".join(
        [
            "def g_0(x):",
            *(f"    x = [each + {number} for each in x if each]" for number in range(9)),
            "    return x",
        ]
    )
    own = PROBE.replace("in numbers", "in g_0(numbers)")
    assert resembles(own) and not resembles(f"{composite}\n{own}")
    row = replace(row_of("propose-deduction", game()), composites=(composite,))
    model = script(respond(proposal_text(own, "[4]")))
    outcome = await play(row, model, sandbox, SMALL, lambda prompt: True, resembles)
    assert isinstance(outcome, ProposeOutcome) and outcome.is_leak


async def test_the_row_still_solves_its_fallback(sandbox, script, resembles) -> None:
    config = replace(SMALL, variant="paper")
    row = row_of("propose-deduction", game(config))
    assert row.fallback is not None and row.fallback.task is not None
    model = script(respond(proposal_text(RENAMED, "[4]")), respond("```output\n1\n```"))
    outcome = await play(row, model, sandbox, config, lambda prompt: True, resembles)
    assert isinstance(outcome, ProposeOutcome) and outcome.is_leak and outcome.solved is not None
    assert outcome.solved.task_id == row.fallback.task.task_id
    [paid] = assign_rewards([outcome], game(config), 1000)
    assert isinstance(paid, ProposeOutcome) and paid.reward is None
    assert paid.solved is not None and paid.solved.reward is not None


async def proposals(sandbox: Any, script: Any, resembles: Resembles) -> tuple[SelfPlay, list[ProposeOutcome]]:
    """A leak between a valid proposal and an invalid one."""
    made, found = game(), []
    row = row_of("propose-deduction", made)
    answers = [respond("```output\n15\n```"), respond("```output\n1\n```")]
    for index, texts in enumerate(
        [[proposal_text(HARMLESS, "5"), *answers], [proposal_text(RENAMED, "[4]")], ["nothing"]]
    ):
        texts[0] = respond(texts[0])
        named = replace(row, row_id=f"{row.row_id}-{index}")
        outcome = await play(named, script(*texts), sandbox, SMALL, lambda prompt: True, resembles)
        assert isinstance(outcome, ProposeOutcome)
        found.append(outcome)
    return made, found


def credited(made: SelfPlay, outcomes: list[ProposeOutcome], control: str) -> Credit:
    rows = [
        Trajectory(
            stream=outcome.stream.name, group=None, n_tokens=outcome.completion.n_tokens, format_ok=True, score=0,
            outcome=outcome,
        )
        for outcome in outcomes
    ]  # fmt: skip
    return credit(rows, made, 1, 100, control)


@pytest.mark.parametrize("control", ["none", "shuffled_rewards", "format_only"])
async def test_the_others_are_compared_as_if_it_had_not_been_sampled(
    sandbox, script, resembles, control
) -> None:
    made, found = await proposals(sandbox, script, resembles)
    among, alone = credited(made, found, control), credited(made, [found[0], found[2]], control)
    assert among.advantages.tolist() == [alone.advantages[0], 0.0, alone.advantages[1]]
    assert control == "format_only" or np.count_nonzero(among.advantages) == 2
    assert among.is_leak.tolist() == [False, True, False] and not alone.is_leak.any()
    assert among.metrics == alone.metrics, "what the update saw"
    assert [outcome.reward is None for outcome in among.outcomes] == [False, True, False]


async def test_it_is_shown_as_one_of_its_stream_and_not_as_the_best(sandbox, script, resembles) -> None:
    made, found = await proposals(sandbox, script, resembles)
    paid = assign_rewards(found[1:], made, 1000)
    rows = [replace(row_of("propose-deduction", made), row_id=outcome.row_id) for outcome in paid]
    shown = transcripts(1, rows, paid, replace(SMALL, transcripts_per_stream=2), 0)
    assert [each["rejection"] for each in shown] == ["no_code_block", "leaked_evaluation"]
    assert shown[1]["reward"] is None


async def test_the_zero_data_start_refuses_it_as_well(sandbox, script, resembles) -> None:
    made = SelfPlay(SMALL, 7)
    seeding = Seeding(made)
    rows = [row for row in seeding.plan_round(lambda prompt: True) if row.stream.name == "propose-deduction"]
    model = script(*[respond(proposal_text(RENAMED, "[4]"))] * 2)
    played = [await play(row, model, sandbox, SMALL, lambda prompt: True, resembles) for row in rows]
    assert seeding.accept_round(played) == [] and seeding.reasons == {"leaked_evaluation": 2}


def test_a_buffer_of_a_version_that_took_it_loses_it(resembles: Resembles) -> None:
    pairs = {"inputs": ("[1]", "[2]"), "outputs": ("5", "7")}
    made = game()
    before = {kind: len(made.buffers[kind]) for kind in TaskType}
    held = [task(RENAMED, "[1]", "5"), task(RENAMED, "[2]", "7", TaskType.ABDUCTION)]
    held += [Task(task_type=TaskType.INDUCTION, code=PROBE, message="sums", **pairs)]
    for each in held:
        assert made._add(each, 3) == ""
    assert made.drop_leaks(resembles, known=[PROBE]) == 2, "the pool was compared when it was made"
    assert made.drop_leaks(resembles) == 1
    assert {kind: len(made.buffers[kind]) for kind in TaskType} == before
    assert made._add(held[0], 4) == "", "no trace of it is left"
