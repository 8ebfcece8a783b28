"""Keys by the names that other trainers give them."""

from __future__ import annotations

import pytest

from azr.config import default_container, flat
from azr.config.usual_names import _NONE_OF_OURS, _OURS, usual_name

KEYS = flat(default_container())


def test_every_name_leads_to_a_key_that_there_is() -> None:
    assert _OURS.keys() <= KEYS.keys()
    names = [name for others in (*_OURS.values(), *_NONE_OF_OURS) for name in others.split()]
    assert len(names) == len(set(names))
    assert not set(names) & (KEYS.keys() - {"name"})


@pytest.mark.parametrize(
    "key",
    ["lr", "epochs", "batch", "train_batch_size", "gpus", "max_tokens", "temperature", "warmup", "train.warmup", "max-new-tokens",
     "GPUS", "output_dir", "run_name", "lora_r", "steps", "dataset", "save_steps", "gradient_accumulation_steps", "top_p", "beta"],
)  # fmt: skip
def test_what_people_type_first_is_known(key: str) -> None:
    assert usual_name(key)


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("vram", "budget.gpu_limit_gib"),  # a share was named, from 0.01 to 0.95
        ("bf16", "train.compute_dtype"),  # not the trained weights, which would need stochastic rounding
        ("val_files", "data.probe_files"),  # what is measured, not what tasks may not resemble
        ("total_training_steps", "campaign.cycles times campaign.steps_per_cycle"),
    ],
)
def test_a_name_leads_to_the_key_of_the_same_meaning(key: str, ours: str) -> None:
    assert ours in usual_name(key)
