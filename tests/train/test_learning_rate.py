from itertools import pairwise

import pytest
import torch
from verl.workers.config import FSDPOptimizerConfig

from azr.config.load import load_config
from azr.errors import ConfigError
from azr.train.kernels.optimizers import set_rates
from azr.train.verl.training_engine import RATE_FLOOR, SelfPlayEngine, rate_factor


def scheduler():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(step, warmup=0, horizon=10)
    )


def test_falls_to_the_floor_and_stays_there():
    factors = [rate_factor(step, warmup=4, horizon=20) for step in range(60)]
    assert factors[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8]) and factors[4] == 1.0
    assert all(later <= earlier for earlier, later in pairwise(factors[4:]))
    assert factors[12] == pytest.approx((1 + RATE_FLOOR) / 2)  # half way
    assert factors[20:] == pytest.approx([RATE_FLOOR] * 40)


def test_a_warm_up_begins_above_zero_and_the_rate_stays():
    """With verl's own schedule the first update moved no weight, by which the trainer gave up: no run with a warm-up began."""
    engine = object.__new__(SelfPlayEngine)
    engine.rank = 0
    engine.optimizer_config = FSDPOptimizerConfig(
        lr=0.5, lr_scheduler_type="constant", lr_warmup_steps=3, total_training_steps=5
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    schedule = engine._build_lr_scheduler(optimizer)
    rates = []
    for _ in range(6):
        rates += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.5])


def test_schedule_goes_on_where_a_checkpoint_left_it():
    optimizer, whole = scheduler()
    for _ in range(5):
        optimizer.step()
        whole.step()
    _, resumed = scheduler()
    resumed.load_state_dict(whole.state_dict())
    assert resumed.get_last_lr() == whole.get_last_lr() == [rate_factor(5, warmup=0, horizon=10)]


def test_a_rate_lowered_by_a_rollback_is_not_lowered_again_by_each_later_start():
    """It was: the checkpoints after a rollback hold the lowered rate, and every start multiplied it once more."""

    optimizer, schedule = scheduler()
    for start in range(3):
        set_rates(optimizer, schedule, 0.5, 0.0)
        assert optimizer.param_groups[0]["lr"] == 0.5 * rate_factor(start, warmup=0, horizon=10)
        optimizer.step()
        schedule.step()
        assert schedule.get_last_lr() == [0.5 * rate_factor(start + 1, warmup=0, horizon=10)]
        saved = optimizer.state_dict(), schedule.state_dict()
        optimizer, schedule = scheduler()
        optimizer.load_state_dict(saved[0])
        schedule.load_state_dict(saved[1])


def test_settings_changed_since_the_checkpoint_take_effect():
    """They did not: optimizer and scheduler brought the rate and the decay of their checkpoint."""

    def with_settings(rate, decay):
        optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=rate, weight_decay=decay)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)

    before, schedule = with_settings(1e-3, 0.1)
    before.step()
    schedule.step()
    after, resumed = with_settings(1e-4, 0.0)
    after.load_state_dict(before.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    assert after.param_groups[0]["lr"] == 5e-4 and after.param_groups[0]["weight_decay"] == 0.1
    set_rates(after, resumed, 1e-4, 0.0)
    assert after.param_groups[0]["lr"] == 5e-5 and after.param_groups[0]["weight_decay"] == 0.0
    after.step()
    resumed.step()
    assert resumed.get_last_lr() == [5e-5]


def test_decay_within_the_warm_up_is_refused():
    with pytest.raises(ConfigError, match=r"train\.decay_steps=5"):
        load_config(["recipe=cpu_tiny", "train.warmup_steps=10", "train.decay_steps=5"])
