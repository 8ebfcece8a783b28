"""From a batch's responses to advantages."""

import pytest
from selfplay_helpers import task

from azr.config.selfplay import IntrinsicConfig, SelfPlayConfig
from azr.selfplay.credit import Trajectory, credit
from azr.selfplay.game import SelfPlay
from azr.selfplay.outcomes import Completion, ProposeOutcome
from azr.tasks import Prompt, Role, Stream, TaskType

GAME = SelfPlay(SelfPlayConfig(), seed=3)


def sample(score: float, n_tokens: int = 5) -> Trajectory:
    return Trajectory(
        stream="solve-deduction", group=None, n_tokens=n_tokens, score=score, format_ok=True, outcome=None
    )


@pytest.mark.parametrize("control", ["none", "shuffled_rewards"])
def test_padding_takes_no_part_in_any_step(control):
    """Seven paddings graded 9 among eight responses: with them in the shuffle, most responses would get one of
    those."""
    responses = [sample(float(number % 2)) for number in range(8)]
    padded = [each for pair in zip(responses, [sample(9.0, 0)] * 8, strict=True) for each in pair][:-1]
    for step in range(5):
        alone = credit(responses, GAME, step, 100, control)
        among = credit(padded, GAME, step, 100, control)
        assert among.advantages[::2] == pytest.approx(alone.advantages) and not among.advantages[1::2].any()
        assert sorted(set(alone.advantages.round(2))) == pytest.approx([-0.99, 0.99])
        assert among.metrics == alone.metrics


def test_a_response_that_is_nearly_cut_is_paid_less():
    game = SelfPlay(SelfPlayConfig(overlong_tokens=10, overlong_penalty=0.5), seed=3)
    found = credit([sample(1.0, 50), sample(1.0, 100)], game, 1, 100)
    assert found.metrics["train/overlong"] == 0.5
    assert found.advantages[0] > 0 > found.advantages[1]


def test_of_two_wrong_answers_the_one_without_a_thought_is_paid_less():
    game = SelfPlay(SelfPlayConfig(short_wrong_tokens=80), seed=3)
    found = credit([sample(0.0, 20), sample(0.0, 80), sample(1.0, 20)], game, 1, 1000)
    short, thought, right = found.advantages
    assert short < thought < 0 < right


def test_metrics_tell_the_reward_that_was_trained_on():
    """The diversity term and the price of length, both: a second payment forgot the price."""
    config = SelfPlayConfig(
        overlong_tokens=10, overlong_penalty=0.5, intrinsic=IntrinsicConfig(diversity=1.0, diversity_max=0.25)
    )
    game = SelfPlay(config, seed=3)
    stream = Stream(Role.PROPOSE, TaskType.DEDUCTION)
    outcome = ProposeOutcome(
        stream=stream,
        row_id="1",
        prompt=Prompt((("user", ""),), raw=True),
        completion=Completion("", 100, True),
        format_ok=True,
        task=task("def f(x):\n    return x * 3", "5", "15"),
        rejection=None,
        accuracy=0.5,
        learnability=0.5,
    )
    response = Trajectory(
        stream=stream.name, group=None, n_tokens=100, score=0, format_ok=True, outcome=outcome
    )

    found = credit([response], game, 1, 100)
    game.accept(1, found.outcomes)

    assert found.outcomes[0].reward == pytest.approx(0.5 + 0.25 - 0.5)
    assert game.metrics()["propose-deduction/reward_mean"] == found.outcomes[0].reward
