"""Induction proposals judged input by input, their partial reward, the curriculum, and what counts as a
copy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from selfplay_helpers import Script, respond, task

from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError
from azr.parsing import parse_proposal
from azr.prompts import SHIPPED_FRAMES
from azr.prompts.examples import INDUCTION_EXAMPLES
from azr.selfplay.credit import assign_rewards, base_reward
from azr.selfplay.curriculum import InputCurriculum
from azr.selfplay.episode import play_propose
from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import Completion, ProposeOutcome, outcome_from_json
from azr.selfplay.rows import PromptRow
from azr.selfplay.validation import validate
from azr.tasks import Prompt, Proposal, Rejection, Role, Stream, Task, TaskType

PROGRAM = task("def f(x):\n    return 10 // x")
CONFIG = SelfPlayConfig(
    num_inputs=4,
    usable_inputs=True,
    partial_proposal_reward=0.4,
    duplicate_reward=-1.0,
    strict_format=True,
    difficulty_samples=2,
)
PUBLISHED = SelfPlayConfig(num_inputs=4)


def answer(*inputs: str, message: str | None = "Divide ten by it.") -> str:
    blocks = [f"```input_{number}\n{text}\n```" for number, text in enumerate(inputs, 1)]
    return "\n".join([*blocks, *([f"```message\n{message}\n```"] if message is not None else [])])


async def propose(
    text: str,
    sandbox,
    config: SelfPlayConfig = CONFIG,
    program: Task = PROGRAM,
    after: str = "",
    needed_inputs: int = 0,
) -> ProposeOutcome:
    row = PromptRow(
        stream=Stream(Role.PROPOSE, TaskType.INDUCTION),
        prompt=Prompt((("user", ""),), raw=True, response_prefix="<think>"),
        row_id="r",
        references=(program,),
        needed_inputs=needed_inputs,
    )
    row = PromptRow.from_json(row.to_json())
    solution = respond(f"```python\n{program.code}\n```")
    return await play_propose(
        row, Script(respond(text) + after, *[solution] * 8), sandbox, config, lambda prompt: True
    )


def rejected(outcome: ProposeOutcome) -> Rejection:
    assert outcome.rejection is not None
    return outcome.rejection


async def test_what_is_usable_makes_the_task(sandbox):
    """Repeated, failing, malformed and surplus inputs cost nothing where enough remain; the published rule
    refuses each of them."""
    text = answer("1", " 1 ", "0", "print(1)", "2", "'a'", "4", "5", "6")
    outcome = await propose(text, sandbox)
    assert (
        outcome.task is not None
        and outcome.task.inputs == ("1", "2", "4", "5")
        and outcome.task.outputs == ("10", "5", "2", "2")
    )
    assert outcome.task.message == "Divide ten by it."
    strictly = await propose(text, sandbox, PUBLISHED)
    assert strictly.task is None and base_reward(strictly, PUBLISHED) == -1.0


async def test_spare_inputs_stay_in_the_task(sandbox):
    outcome = await propose(answer(*"123456789"), sandbox, replace(CONFIG, induction_spare_inputs=2))
    assert outcome.task is not None and len(outcome.task.inputs) == 6


async def test_the_row_says_how_many_inputs_are_needed(sandbox):
    assert (await propose(answer("1", "2"), sandbox, needed_inputs=2)).task is not None
    assert rejected(await propose(answer("1", "2"), sandbox)).reason == "too_few_inputs"


@pytest.mark.parametrize(
    ("text", "reason", "parts"),
    [
        ("nothing", "too_few_inputs", 0),
        (answer("0", "'a'"), "too_few_inputs", 1),  # only the message is of use
        (answer("1"), "too_few_inputs", 2),
        (answer("1", "1", "1", "1"), "too_few_inputs", 2),
        (answer("1", "2", "0"), "too_few_inputs", 3),
        (answer("1", "2", "3"), "too_few_inputs", 4),
        (answer("1", "2", "3", message=None), "too_few_inputs", 3),
        (answer("1", "2", "3", "4", message=None), "no_message", 4),
        (answer("1", "2", "3", "4", message="..."), "no_message", 4),
    ],
)
async def test_partial_reward_rises_with_what_is_there(sandbox, text, reason, parts):
    outcome = await propose(text, sandbox)
    assert rejected(outcome).reason == reason
    reward = base_reward(outcome, CONFIG)
    assert reward == pytest.approx(-1 + 0.4 * parts / 5)
    assert reward < CONFIG.extreme_reward  # never as much as a valid proposal
    travelled = outcome_from_json(outcome.to_json())
    assert isinstance(travelled, ProposeOutcome) and travelled.rejection == outcome.rejection
    published = replace(CONFIG, partial_proposal_reward=0.0)
    assert base_reward(await propose(text, sandbox, published), published) == -1.0


async def test_partial_reward_is_for_good_form_only(sandbox):
    outcome = await propose(answer("1", "2"), sandbox, after="</think></answer>")
    assert not outcome.format_ok and base_reward(outcome, CONFIG) == -1.0


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("def f(x): return 10 // x", "leaked_program"),
        (INDUCTION_EXAMPLES[0].message.upper(), "copied_example"),
    ],
)
async def test_leaks_and_copies_are_paid_nothing(sandbox, message, reason):
    outcome = await propose(answer("1", "2", "3", "4", message=message), sandbox)
    assert rejected(outcome).reason == reason and base_reward(outcome, CONFIG) == -1.0


async def test_inputs_of_the_example_do_not_count(sandbox):
    program = task(INDUCTION_EXAMPLES[2].program)
    outcome = await propose(answer(*INDUCTION_EXAMPLES[2].inputs, message="Count."), sandbox, program=program)
    assert rejected(outcome).reason == "too_few_inputs" and rejected(outcome).progress == pytest.approx(0.2)


async def test_a_program_that_does_not_end_is_refused_at_once(sandbox):
    endless = task("def f(x):\n    while x:\n        pass\n    return x")
    outcome = await propose(answer(*"0123456"), sandbox, program=endless)
    assert rejected(outcome).reason == "timeout" and base_reward(outcome, CONFIG) == -1.0


@pytest.mark.parametrize("number", range(len(INDUCTION_EXAMPLES)))
async def test_worked_examples_would_be_valid(sandbox, number):
    """All their inputs run, are distinct and give several outputs; the message gives the program away to
    nobody."""
    example = INDUCTION_EXAMPLES[number]
    rules = SelfPlayConfig(num_inputs=len(example.inputs))
    text = answer(*example.inputs, message=example.message)
    found = parse_proposal(TaskType.INDUCTION, text, rules, program=task(example.program))
    assert isinstance(found, Proposal)
    valid = await validate(found, sandbox, SelfPlayConfig(num_inputs=12))
    assert isinstance(valid, Task) and len(set(valid.inputs)) == 12 and len(set(valid.outputs[:4])) >= 3


# ------------------------------------------------------------------------------------------------ the game around it


def induction(
    inputs: tuple[str, ...] = ("1", "2"), message: str = "Divide ten by it.", code: str = PROGRAM.code
) -> Task:
    return Task(
        task_type=TaskType.INDUCTION, code=code, inputs=inputs, outputs=("1",) * len(inputs), message=message
    )


def proposed(number: int, found: Task | None) -> ProposeOutcome:
    return ProposeOutcome(
        stream=Stream(Role.PROPOSE, TaskType.INDUCTION),
        row_id=f"{number:03d}",
        prompt=Prompt((("user", ""),), raw=True),
        completion=Completion("", 5, True),
        format_ok=True,
        seconds={},
        task=found,
        rejection=None if found else Rejection("too_few_inputs", "", 0.5),
        accuracy=0.5 if found else None,
        learnability=0.5 if found else None,
    )


def rewards(outcomes: list[ProposeOutcome], game: SelfPlay) -> list[float | None]:
    return [outcome.reward for outcome in assign_rewards(outcomes, game, 100)]


def test_the_same_puzzle_again_is_not_paid():
    """The same program with the same hint is no new task, whatever its inputs and the spelling of both."""
    game = SelfPlay(CONFIG, 1)
    game.start([PROGRAM])
    renamed = "def f(value):\n    return 10 // value"
    outcomes = [
        proposed(0, induction()),
        proposed(1, induction(("3", "4"), "divide TEN by it")),
        proposed(2, induction(("3", "4"), "divide ten by it", renamed)),
        proposed(3, induction(("2", "1"), "Another hint")),  # the inputs of row 0 in another order
        proposed(4, induction(("5", "6"), "A third hint")),
    ]
    assert rewards(outcomes, game) == [0.5, -1.0, -1.0, -1.0, 0.5]
    accepted = game.accept(1, outcomes)
    assert [each.inputs for each in accepted] == [("1", "2"), ("5", "6")]
    assert game.metrics()["data/rejected/duplicate_puzzle"] == 2 and game.metrics()["data/duplicates"] == 3
    assert rewards([proposed(9, induction(("7", "8")))], game) == [-1.0]  # also against the buffer
    assert rewards(outcomes[:2], SelfPlay(replace(CONFIG, duplicate_reward=None), 1)) == [0.5, 0.5]


CURRICULUM = replace(
    CONFIG,
    num_inputs=5,
    induction_inputs_start=3,
    induction_inputs_window=2,
    batch_size=2,
    buffer_capacity=64,
)


def test_curriculum_grows_with_success_up_to_its_end():
    curriculum = InputCurriculum(replace(CURRICULUM, induction_inputs_threshold=0.5))
    needed = []
    for valid in (1.0, 0.0, 0.4, 0.5, 0.5, 1.0, 1.0, 1.0):
        curriculum.note(valid)
        needed.append(curriculum.needed)
    assert needed == [3, 4, 4, 4, 5, 5, 5, 5]
    fixed = InputCurriculum(replace(CURRICULUM, induction_inputs_start=0))
    fixed.note(1.0)
    fixed.note(1.0)
    assert fixed.needed == 5


def test_curriculum_is_asked_for_logged_and_resumed(tmp_path):
    def step(game: SelfPlay, number: int) -> tuple[set[int], list[str]]:
        rows = [
            row
            for row in game.plan_step(number, lambda prompt: True)
            if row.stream.name == "propose-induction"
        ]
        game.accept(
            number,
            [
                proposed(index, induction((str(number), str(index)), f"{number} {index}"))
                for index in range(2)
            ],
        )
        return {row.needed_inputs for row in rows}, [row.prompt.text for row in rows]

    whole = SelfPlay(CURRICULUM, 1)
    whole.start([PROGRAM])
    needed = []
    for number in range(1, 7):
        if number == 4:
            whole.save(tmp_path)
        rows, texts = step(whole, number)
        needed.append(rows)
        assert all(f"{next(iter(rows))} inputs" in text for text in texts)
    assert needed == [{3}, {3}, {4}, {4}, {5}, {5}]
    assert (
        whole.metrics()["propose-induction/needed_inputs"] == 5
        and whole.metrics()["propose-induction/progress"] == 1.0
    )
    resumed = SelfPlay(CURRICULUM, 1)
    resumed.load(tmp_path)
    assert [step(resumed, number)[0] for number in range(4, 7)] == needed[3:]
    assert resumed.curriculum.to_json() == whole.curriculum.to_json()


@pytest.mark.parametrize("frame", SHIPPED_FRAMES)
@pytest.mark.parametrize("form", ["plain", "numbered", "example"])
@pytest.mark.parametrize("reply", ["frame", "think", "answer"])
def test_every_way_of_asking_is_a_prompt(frame, form, reply):
    config = replace(
        CONFIG, frame=frame, induction_prompt=form, induction_reply=reply, induction_spare_inputs=1
    )
    game = SelfPlay(config, 1)
    game.start([PROGRAM])
    row = game.propose_row(TaskType.INDUCTION, "1", np.random.default_rng(1), lambda prompt: True)
    prompt = row.prompt
    assert [each.code for each in row.references] == [PROGRAM.code] and PROGRAM.code in prompt.text
    if form != "plain" and frame != "compact":
        assert "```input_5" in prompt.text and "```input_6" not in prompt.text
        assert any(example.message in prompt.text for example in INDUCTION_EXAMPLES) == (form == "example")
    if reply == "answer":
        assert prompt.response_prefix.startswith("<think>") and prompt.response_prefix.endswith(
            "<answer>\n```input_1\n"
        )
    if prompt.raw:
        assert prompt.text.endswith(prompt.response_prefix)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_inputs": 1}, "at least 2"),
        ({"induction_inputs_start": 5}, "no curriculum"),
        ({"induction_inputs_start": 1}, "no curriculum"),
        ({"induction_inputs_threshold": 0.0}, "share"),
        ({"induction_inputs_window": 0}, "at least 1"),
        ({"induction_spare_inputs": -1}, "negative"),
        ({"induction_prompt": "skeleton"}, "one of"),
        ({"num_inputs": 13, "induction_prompt": "example"}, "at most 12"),
        (
            {"usable_inputs": False, "partial_proposal_reward": 0.0, "induction_prompt": "example"},
            "usable_inputs",
        ),
        ({"usable_inputs": False}, "usable_inputs"),
        ({"partial_proposal_reward": 0.6}, "at most 0.5"),
    ],
)
def test_refused_settings(changes, words):
    with pytest.raises(ConfigError, match=words):
        replace(CONFIG, **changes).validate()


def test_published_rules_stay_the_default():
    config = SelfPlayConfig()
    assert (
        config.num_inputs,
        config.induction_prompt,
        config.induction_reply,
        config.induction_inputs_start,
    ) == (10, "plain", "frame", 0)
    assert not config.usable_inputs and not config.strict_format and config.partial_proposal_reward == 0
