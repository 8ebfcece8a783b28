"""Abduction tasks that a usual input solves: measured, and refused where that is asked for."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selfplay_helpers import proposal_text, respond, task

from azr.config.sandbox import Limits, SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError
from azr.run import metric_names as names
from azr.sandbox import CallResult, Job, JobResult, Status
from azr.selfplay.credit import assign_rewards
from azr.selfplay.episode import play
from azr.selfplay.game import SelfPlay
from azr.selfplay.guessing import argument_count, guesses, solving_guesses, typical_inputs
from azr.selfplay.outcomes import ProposeOutcome, outcome_from_json, trained_outcomes
from azr.selfplay.repetition import WINDOW
from azr.selfplay.rows import PromptRow
from azr.tasks import Task, TaskType

SMALL = SelfPlayConfig(batch_size=3, difficulty_samples=2, references=1)
REFUSING = replace(SMALL, reject_guessable=True)
SQUARE = "def f(x):\n    return x * x"
ANSWERS = [respond("```input\n5\n```"), respond("```input\n6\n```")]


def abduction(code: str, given: str, output: str) -> Task:
    return task(code, given, output, TaskType.ABDUCTION)


def test_the_most_frequent_come_first_and_of_equals_the_oldest():
    latest = ["1", "'b'", "'a'", "2, 3", "'a'", "2, 3", "1", "4"]
    assert typical_inputs(latest, 10) == ("1", "'a'", "2, 3", "'b'", "4")
    assert typical_inputs(latest, 2) == ("1", "'a'", "2, 3"), "two of each number of arguments"
    assert typical_inputs(latest, 0) == ()
    assert typical_inputs(["open('x')", "(", ""], 5) == ("",)


def test_only_inputs_with_as_many_arguments_are_tried():
    assert [argument_count(text) for text in ("", "1", "[1, 2]", "1, n=2", "f(", "x")] == [0, 1, 1, 2, -1, -1]
    assert guesses("'a', 3", ["1", "2, 3", "'b', n=3", "4"]) == ["2, 3", "'b', n=3"]
    assert guesses("x", ["1", "y"]) == []


@given(st.lists(st.sampled_from(["1", "2", "1, 2", "'a'", "x", "n=1", ""]), max_size=40), st.integers(0, 4))
def test_at_most_so_many_of_each_kind_whatever_comes(latest: list[str], most: int):
    found = typical_inputs(latest, most)
    assert found == typical_inputs(iter(latest), most) and len(set(found)) == len(found)
    assert all(count <= most for count in Counter(map(argument_count, found)).values())
    places = [(-latest.count(text), latest.index(text)) for text in found]
    assert places == sorted(places)
    left_out = {text for text in latest if argument_count(text) >= 0} - set(found)
    for text in left_out:
        better = [each for each in found if argument_count(each) == argument_count(text)]
        assert len(better) == most and all(latest.count(each) >= latest.count(text) for each in better)


@pytest.mark.parametrize(
    ("code", "given", "output", "typical", "solving"),
    [
        (SQUARE, "-5", "25", ["4", "5", "5.0", "'a'"], ["5", "5.0"]),  # graded as an answer: 25.0 is 25
        (
            "def f(x):\n    while x == 4:\n        pass\n    return 1",
            "2",
            "1",
            ["4", "5", "4", "6"],
            ["5", "6"],
        ),
        ("def f(x):\n    return [1][x]", "0", "1", ["7", "-1", "'a'"], ["-1"]),
        ("def f(x):\n    return {len(x)}", "'ab'", "{2}", ["5", "'xy'"], ["'xy'"]),
        ("def f(a, b):\n    return a + b", "1, 2", "3", ["5", "3, 0", "2, b=1"], ["3, 0", "2, b=1"]),
        (SQUARE, "5", "25", [], []),
    ],
)
async def test_what_fails_or_hangs_is_no_hit_and_costs_the_others_nothing(
    sandbox, code, given, output, typical, solving
):
    assert await solving_guesses(abduction(code, given, output), typical, sandbox, SMALL) == solving


@pytest.mark.parametrize(
    ("own", "used"), [(Limits(), (0.1, 1.0)), (Limits(cpu_s=0.05, wall_s=0.5), (0.05, 0.5))]
)
async def test_all_guesses_are_one_job_with_short_limits(own, used):
    jobs: list[Job] = []

    class Refusing:
        config = SandboxConfig(limits=own)

        async def run(self, job: Job) -> JobResult:
            jobs.append(job)
            return JobResult.of((CallResult(Status.REFUSED, reason="a program of too many characters"),))

    assert await solving_guesses(abduction(SQUARE, "5", "25"), ["5", "4"], Refusing(), SMALL) == []  # type: ignore[arg-type]
    [job] = jobs
    assert (
        job.inputs == ("5", "4") and job.limits is not None and (job.limits.cpu_s, job.limits.wall_s) == used
    )


def game(config: SelfPlayConfig) -> SelfPlay:
    """Whose latest abduction inputs are 5, twice, and others once."""
    made = SelfPlay(config, 3)
    made.start([])
    for number, text in enumerate(["'a', 2", "7", "5", "'b'", "5"]):
        made.buffers[TaskType.ABDUCTION].add(
            abduction(f"def f(*x):\n    return {number}", text, f"{number}"), 1
        )
    return made


def row_of(stream: str, made: SelfPlay, number: int = 0) -> PromptRow:
    rows = [row for row in made.plan_step(1, lambda prompt: True) if row.stream.name == stream]
    return PromptRow.from_json(json.loads(json.dumps(rows[number].to_json())))


async def proposed(row: PromptRow, config: SelfPlayConfig, sandbox, model) -> ProposeOutcome:
    outcome = await play(row, model, sandbox, config, lambda prompt: True)
    travelled = outcome_from_json(json.loads(json.dumps(outcome.to_json())))
    assert isinstance(travelled, ProposeOutcome)
    return travelled


def test_the_inputs_travel_with_the_rows_of_abduction_proposals_alone():
    made = game(SMALL)
    rows = made.plan_step(1, lambda prompt: True)
    assert {row.guesses for row in rows if row.stream.name == "propose-abduction"} == {made.guesses()}
    assert made.guesses()[0] == "5" and {"7", "'b'", "'a', 2"} < set(made.guesses())
    assert not any(row.guesses for row in rows if row.stream.name != "propose-abduction")
    assert row_of("propose-abduction", made).guesses == made.guesses()
    assert game(replace(SMALL, guesses=1)).guesses() == ("5", "'a', 2")
    assert row_of("propose-abduction", game(replace(SMALL, guesses=0))).guesses == ()

    for number in range(WINDOW):
        made.buffers[TaskType.ABDUCTION].add(abduction(f"def f(x):\n    return {number}, x", "8", "0"), 2)
    assert made.guesses() == ("8",), "only the latest count"


async def test_a_guessable_proposal_is_measured(sandbox, script):
    made = game(SMALL)
    found = []
    for number, own in enumerate(["-5", "11"]):
        row = row_of("propose-abduction", made, number)
        found.append(
            await proposed(row, SMALL, sandbox, script(respond(proposal_text(SQUARE, own)), *ANSWERS))
        )
    assert [(each.guessable, each.valid, len(each.samples)) for each in found] == [
        (True, True, 2),
        (False, True, 2),
    ]
    found += [
        await proposed(row_of("propose-deduction", made), SMALL, sandbox,
                       script(respond(proposal_text(SQUARE, "5")), *ANSWERS)),
        await proposed(row_of("propose-abduction", made, 2), SMALL, sandbox,
                       script(respond(proposal_text("def f(x):\n    return y", "5")))),
    ]  # fmt: skip
    assert [each.guessable for each in found[2:]] == [None, None]
    made.accept(1, assign_rewards(found, made, 1000))
    assert made.metrics()[names.GUESSABLE] == 0.5


async def test_a_guessable_proposal_is_refused_before_its_samples(sandbox, script):
    made = game(REFUSING)
    model = script(respond(proposal_text(SQUARE, "-5")))  # asked for a second text, it fails
    refused = await proposed(row_of("propose-abduction", made), REFUSING, sandbox, model)
    assert refused.rejection is not None and refused.task is None and refused.guessable and not refused.valid
    assert (refused.rejection.reason, refused.rejection.detail) == ("guessable", "5")
    assert trained_outcomes(refused, REFUSING) == [refused]
    other = await proposed(
        row_of("propose-abduction", made, 1),
        REFUSING,
        sandbox,
        script(respond(proposal_text(SQUARE, "11")), *ANSWERS),
    )
    broken = await proposed(
        row_of("propose-abduction", made, 1), REFUSING, sandbox, script(respond("nothing"))
    )
    paid = assign_rewards([refused, other], made, 1000)
    assert paid[0].reward == assign_rewards([broken], made, 1000)[0].reward == -1.0, "as any invalid one"
    [accepted] = made.accept(1, paid)
    assert accepted.inputs == ("11",)
    values = made.metrics()
    assert values[names.rejected("guessable")] == values["propose-abduction/rejected/guessable"] == 1
    assert (values[names.GUESSABLE], values[names.valid(TaskType.ABDUCTION)]) == (0.5, 0.5)


async def test_a_row_whose_proposal_is_refused_solves_its_fallback(sandbox, script):
    config = replace(REFUSING, variant="paper")
    row = row_of("propose-abduction", game(config))
    assert row.fallback is not None and row.fallback.task is not None
    model = script(respond(proposal_text(SQUARE, "-5")), ANSWERS[0])
    outcome = await proposed(row, config, sandbox, model)
    assert outcome.solved is not None and outcome.solved.task_id == row.fallback.task.task_id


async def test_a_composite_program_is_run_with_what_it_was_given(sandbox, script):
    row = replace(row_of("propose-abduction", game(REFUSING)), composites=("def g_0(x):\n    return x * x",))
    text = proposal_text("def f(x):\n    y = g_0(x)\n    return y + 1", "-5")
    outcome = await proposed(row, REFUSING, sandbox, script(respond(text)))
    assert outcome.rejection is not None and outcome.rejection.reason == "guessable"


async def test_records_of_a_version_without_guesses_are_read(sandbox, script):
    row = row_of("propose-abduction", game(SMALL)).to_json()
    del row["guesses"]
    model = script(respond(proposal_text(SQUARE, "-5")), *ANSWERS)
    outcome = await play(PromptRow.from_json(row), model, sandbox, REFUSING, lambda prompt: True)
    assert isinstance(outcome, ProposeOutcome) and outcome.valid and outcome.guessable is None
    record = outcome.to_json()
    del record["guessable"]
    assert outcome_from_json(record) == outcome_from_json(outcome.to_json())


def test_refusing_needs_something_to_try():
    with pytest.raises(ConfigError, match=r"needs inputs to try.*reject_guessable=false too"):
        replace(REFUSING, guesses=0).validate()
    assert SelfPlayConfig().guesses == 10 and not SelfPlayConfig().reject_guessable
