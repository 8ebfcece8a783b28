"""From a batch's responses to advantages."""

import pytest

from azr.config.selfplay import SelfPlayConfig
from azr.selfplay.credit import Response, credit
from azr.selfplay.game import SelfPlay

GAME = SelfPlay(SelfPlayConfig(), seed=3)


def sample(reward: float, n_tokens: int = 5) -> Response:
    return Response(
        stream="solve-deduction", group=None, n_tokens=n_tokens, reward=reward, format_ok=True, outcome=None
    )


@pytest.mark.parametrize("control", ["none", "shuffled_rewards"])
def test_padding_takes_no_part_in_any_step(control):
    """Seven paddings paid 9 among eight responses: with them in the shuffle, most responses would get one of
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
