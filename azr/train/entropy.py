"""The weight of the entropy bonus: constant above ``train.entropy_floor``, growing below it."""

from __future__ import annotations

from azr.config.train import TrainConfig


def entropy_coefficient(config: TrainConfig, entropy: float | None) -> float:
    """The weight for the next update.

    Args:
        entropy: token entropy of the step before, in nats; None before the first.
    """
    if not config.entropy_floor or entropy is None or not entropy < config.entropy_floor:
        return config.entropy_coefficient
    missing = 1.0 - max(0.0, entropy) / config.entropy_floor
    least, most = config.entropy_coefficient, config.entropy_floor_coefficient
    return least + missing * (most - least)
