"""The cards say what was done in this run."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_fixture import card_record

from azr.config import Config
from azr.config.selfplay import SelfPlayConfig
from azr.config.train import TrainConfig
from azr.evaluate.export_cards import model_card, task_card
from azr.tasks import Lineage, Task, TaskType


@pytest.mark.parametrize(
    ("settings", "said", "not_said"),
    [
        (Config(), "both roles were trained by\nreinforcement learning.\n\n## Training", "control"),
        (
            Config(selfplay=SelfPlayConfig(train_propose=False)),
            "It proposed none.\n\n## Training",
            "both roles",
        ),
        (
            Config(train=TrainConfig(control="proposer_frozen")),
            "(`train.control=proposer_frozen`).",
            "both roles",
        ),
        (
            Config(train=TrainConfig(control="shuffled_rewards")),
            "so that they teach nothing.\n\n## Tr",
            "proposed none",
        ),
    ],
)
def test_the_card_says_what_was_trained(tmp_path: Path, settings: Config, said: str, not_said: str) -> None:
    """It was always both roles, also of a run that only solved, and of one whose rewards were shuffled."""
    card = model_card(card_record(tmp_path, settings, 2), settings, [], "mine")
    assert said in card and not_said not in card.partition("## Training")[0]


def test_the_card_of_a_control_in_part_says_so(tmp_path: Path) -> None:
    """A control that was switched off before the end left no trace on the card."""
    record = card_record(tmp_path, Config(), 5)
    for under, said in (
        (
            {"none": 3, "format_only": 2},
            "\n\n**A control in part**: Of the 5 steps, 2 were trained under train.control=fo",
        ),
        ({"format_only": 5}, "\n\n**A control experiment** (`train.control=format_only`)"),
        ({"none": 5}, "reinforcement learning.\n\n## Training"),
    ):
        assert said in model_card(record | {"trained_under": under}, Config(), [], "mine")


@pytest.mark.parametrize("at_last", [True, False])
def test_the_card_of_a_run_that_solved_alone_in_part_says_so(tmp_path: Path, *, at_last: bool) -> None:
    """It was one or the other, by the configuration of the end."""
    settings = Config(selfplay=SelfPlayConfig(train_propose=not at_last))
    record = card_record(tmp_path, settings, 5)
    for alone, said, facts in (
        (
            2,
            "\n\n**The solver alone in part**: Of the 5 steps, 2 trained the solver alone, w",
            "proposed and solved)",
        ),
        (5, "It proposed none.\n\n## Training", "(solved only)"),
        (0, "reinforcement learning.\n\n## Training", "proposed and solved)"),
    ):
        card = model_card(record | {"solver_alone_steps": alone}, settings, [], "mine")
        assert said in card and facts in card and ("proposed small" in card) is (alone < 5)


def test_the_card_of_a_run_whose_probes_its_start_knew_says_so(tmp_path: Path) -> None:
    scores = {"probe/all/accuracy": 0.5, "probe/tasks": 9.0}
    record = card_record(tmp_path, Config(), 5, recorded=scores, known_probes="3 of 9 known.")
    card = model_card(record, Config(), [], "mine")
    assert "frozen probe tasks, kept out of the pool of this run:" in card
    assert "Not measured again on this folder.\n\n3 of 9 known.\n\n## Use" in card


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["selfplay"], "\nPrograms were written by a language model.\n"),
        (["user", "selfplay"], "\nPrograms of the source `selfplay` were written by a language model.\n"),
        (["user"], ""),
    ],
)
def test_the_card_of_tasks_says_who_wrote_them(sources: list[str], said: str) -> None:
    """It was always a language model, also of the user's own tasks."""
    code = "def f(x):\n    return x"
    tasks = [
        Task(
            task_type=TaskType.DEDUCTION,
            code=code,
            inputs=("1",),
            outputs=("1",),
            lineage=Lineage(source=source),
        )
        for source in sources
    ]
    card = task_card(tasks, "mine", "m")
    assert said in card and ("language model" in card) == bool(said)
