"""verl's names of what is measured, under ours."""

import pytest

from azr.train.verl.trainer import _flat


@pytest.mark.parametrize("key", ["actor/entropy", "actor/entropy_loss"])
def test_entropy_is_reported_with_and_without_the_pass_for_old_log_probs(key):
    """Without that pass the update's own is all there is, and the monitor's judge of a collapse needs it."""
    assert _flat({key: [0.4, 0.6], "actor/unknown": 1.0}) == {"train/entropy": pytest.approx(0.5)}
