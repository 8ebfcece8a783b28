"""A training step with a machine that computes nothing: what is called in which order, and what stops a run
that does not train."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from azr.config import Config
from azr.config.load import load_config
from azr.errors import EngineError, TrainingError
from azr.run import metric_names as names
from azr.selfplay.credit import Trajectory
from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import Completion, ProposeOutcome, SolveOutcome
from azr.selfplay.validation import LEAKED_EVALUATION
from azr.tasks import Rejection, Role, Stream, TaskType
from azr.train.step import Clock, require_changed_engine, train_step


def with_settings(*settings: str) -> Config:
    return load_config(
        [
            "recipe=cpu_tiny",
            "selfplay.train_propose=false",
            "selfplay.batch_size=4",
            "selfplay.train_on_samples=false",
            "selfplay.advantage=token",
            *settings,
        ]
    ).config


CONFIG = with_settings()


class IdleMachine:
    """Every other answer is right."""

    def __init__(self, *, share: float = 1.0, engine_follows: bool = True, mismatch: float = 0.0) -> None:
        self.share, self.engine_follows, self.mismatch = share, engine_follows, mismatch
        self.calls: list[str] = []
        self.advantages: list[float] = []
        self.indices: list[int] = []

    def __getattr__(self, name: str) -> Any:
        def noted(*_: Any, **__: Any) -> None:
            self.calls.append(name)

        return noted

    def fits(self, prompt: Any) -> bool:
        return True

    def roll_out(self, rows: Any, **_: Any) -> list[Trajectory]:
        self.calls.append("roll_out")
        found = []
        for number, row in enumerate(rows):
            assert row.stream.role is Role.SOLVE and row.task is not None
            outcome = SolveOutcome(
                stream=row.stream, row_id=row.row_id, prompt=row.prompt, completion=Completion("", 5, True),
                format_ok=True, task_id=row.task.task_id, solution="", score=float(number % 2), reason="",
            )  # fmt: skip
            found.append(
                Trajectory(
                    stream=row.stream.name,
                    group=None,
                    n_tokens=5,
                    score=outcome.score,
                    format_ok=True,
                    outcome=outcome,
                )
            )
        return found

    def compute_old_log_probs(self, batch: Any) -> tuple[Any, dict[str, float]]:
        self.calls.append("compute_old_log_probs")
        return batch, {names.MISMATCH: self.mismatch}

    def trajectories(self, batch: Any) -> Any:
        return batch

    def update(
        self, batch: Any, advantages: Any, indices: Any, entropy_coefficient: float
    ) -> dict[str, float]:
        self.calls.append("update")
        self.advantages, self.indices = list(advantages), list(indices)
        return {"train/entropy": 0.5}

    def weights_moved(self) -> dict[str, float]:
        return {"share": self.share, "largest": 1.0}

    def engine_answers(self) -> list[float]:
        return [1.0, -1.0 - float("update" in self.calls and self.engine_follows)]

    def memory(self, phase: str) -> dict[str, float]:
        return {f"memory/{phase}": 1.0}


def step_of(machine: IdleMachine, *, check_learning: bool = True, config: Config = CONFIG) -> Any:
    game = SelfPlay(config.selfplay, config.seed)
    game.start([])
    return train_step(1, machine, game, config, Clock(lambda phase: None), {}, check_learning=check_learning)  # type: ignore[arg-type]


def test_a_step_is_told_in_this_order() -> None:
    machine = IdleMachine()
    found = step_of(machine)
    told = [
        "roll_out",
        "sleep_engine",
        "compute_old_log_probs",
        "remember_weights",
        "update",
        "release_memory",
        "sync_engine",
        "forget",
    ]
    assert machine.calls == told
    assert len(found.rows) == len(found.outcomes) == len(machine.advantages) == 12
    assert all((advantage > 0) == (row % 2 == 1) for row, advantage in enumerate(machine.advantages))
    assert (
        found.values["train/entropy"] == 0.5
        and found.values["memory/asleep"] == 1.0
        and found.values["train/rows"] == 12
    )


@pytest.mark.parametrize(
    ("machine", "error"),
    [
        (IdleMachine(), None),
        (IdleMachine(share=0.0), pytest.raises(TrainingError, match="moved no weight")),
        (IdleMachine(engine_follows=False), pytest.raises(TrainingError, match="weights do not reach it")),
        (IdleMachine(mismatch=0.2), pytest.raises(EngineError, match=r"differ by 0\.2000")),
    ],
)
def test_what_stops_a_run_that_does_not_train(machine: IdleMachine, error: Any) -> None:
    with error or nullcontext():
        step_of(machine)


@pytest.mark.parametrize(
    ("settings", "learned"),
    [
        ([], list(range(12))),
        (["train.drop_zero_advantages=true"], list(range(12))),
        (["train.mini_batch_sequences=4"], list(range(12))),
        (["train.mini_batch_sequences=13"], list(range(13))),  # with an advantage of 0
    ],
)
def test_the_update_leaves_out_a_proposal_like_a_probe(settings: list[str], learned: list[int]) -> None:
    """The bonus on entropy would be paid for its tokens."""

    class LeakingMachine(IdleMachine):
        def roll_out(self, rows: Any, **_: Any) -> list[Trajectory]:
            stream = Stream(Role.PROPOSE, TaskType.DEDUCTION)
            outcome = ProposeOutcome(
                stream=stream, row_id="z", prompt=rows[0].prompt, completion=Completion("", 5, True), format_ok=True,
                task=None, rejection=Rejection(LEAKED_EVALUATION), accuracy=None, learnability=None,
            )  # fmt: skip
            leak = Trajectory(
                stream=stream.name, group=None, n_tokens=5, score=0.0, format_ok=True, outcome=outcome
            )
            return [*super().roll_out(rows), leak]

    machine = LeakingMachine()
    found = step_of(machine, config=with_settings(*settings))
    assert machine.indices == learned and machine.advantages[12] == 0 and all(machine.advantages[:12])
    assert found.values["train/rows"] == 12 and found.values[names.rejected(LEAKED_EVALUATION)] == 1


def test_an_update_of_a_model_that_is_certain_cannot_be_seen_in_its_answers() -> None:
    """A model that ends every answer at once: "weights do not reach it. On WSL2 CUDA IPC may not work", without a card."""
    require_changed_engine([1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0])
    with pytest.raises(TrainingError, match="weights do not reach it"):
        require_changed_engine([1.0, 1.0, 0.0, -0.25], [1.0, 1.0, 0.0, -0.25])


def test_later_steps_trust_the_first() -> None:
    step_of(IdleMachine(share=0.0, engine_follows=False), check_learning=False)
