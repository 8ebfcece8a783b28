from typing import Any

import pytest

from azr.config.train import TrainConfig
from azr.errors import ConfigError
from azr.train.entropy import entropy_coefficient

FLOOR = TrainConfig(entropy_coefficient=0.001, entropy_floor=0.2, entropy_floor_coefficient=0.021)


@pytest.mark.parametrize(
    ("entropy", "weight"),
    [
        (None, 0.001),
        (0.5, 0.001),
        (0.2, 0.001),
        (0.1, 0.011),
        (0.0, 0.021),
        (-0.1, 0.021),
        (float("nan"), 0.001),
    ],
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


def test_the_worker_gives_the_weight_to_the_loss_of_verl():
    """verl's actor configuration is frozen: the loss function gets a copy of it with the new weight."""
    from functools import partial

    from verl.workers.config import FSDPActorConfig
    from verl.workers.utils.losses import ppo_loss

    from azr.train.verl.policy_worker import PolicyWorker

    class Actor:
        def set_loss_fn(self, loss_fn):
            self.loss_fn = loss_fn

    config = FSDPActorConfig(
        strategy="fsdp", rollout_n=1, use_dynamic_bsz=True, entropy_coeff=0.001, clip_ratio_high=0.28
    )
    worker: Any = object.__new__(PolicyWorker)
    worker.loss_fn, actor = partial(ppo_loss, config=config), Actor()
    worker.actor = actor
    worker.set_entropy_coefficient(0.015)
    given = actor.loss_fn.keywords["config"]
    assert actor.loss_fn.func is ppo_loss and (given.entropy_coeff, given.clip_ratio_high) == (0.015, 0.28)
    assert config.entropy_coeff == 0.001
    worker.set_entropy_coefficient(0.002)
    assert actor.loss_fn.keywords["config"].entropy_coeff == 0.002
