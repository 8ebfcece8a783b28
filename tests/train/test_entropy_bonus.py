import pytest

from azr.config.train import TrainConfig
from azr.errors import ConfigError
from azr.train.entropy import entropy_coefficient

FLOOR = TrainConfig(entropy_coefficient=0.001, entropy_floor=0.2, entropy_floor_coefficient=0.021)


@pytest.mark.parametrize(
    ("entropy", "weight"), [(None, 0.001), (0.5, 0.001), (0.2, 0.001), (0.1, 0.011), (0.0, 0.021), (-0.1, 0.021), (float("nan"), 0.001)]
)
def test_the_bonus_grows_below_the_floor(entropy, weight):
    assert entropy_coefficient(FLOOR, entropy) == pytest.approx(weight)


def test_without_a_floor_it_is_constant():
    assert entropy_coefficient(TrainConfig(), 0.0) == TrainConfig().entropy_coefficient


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"entropy_floor": -1.0}, "entropy_floor"),
        ({"entropy_floor": 0.1, "entropy_coefficient": 0.1}, "entropy_floor_coefficient"),
        ({"early_saves": [0]}, "early_saves"),
    ],
)
def test_contradictions_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(**settings).validate()
