"""Adapters merged into their base on the way to the engine: exact in float32, right in the mean in bfloat16,
the same again for the same step, and the trainer's weights untouched."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_qwen import IDS, small_qwen, wrapped_alone
from torch.distributed.fsdp import FullyShardedDataParallel

from azr.train.kernels import merging
from azr.train.kernels.merging import merged, rounding_seed
from azr.train.verl.merging import merged_weights
from azr.train.verl.no_shard import named_weights


@pytest.fixture
def adapted() -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        small_qwen(),
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False),
    )


@pytest.fixture
def wrapped(adapted: Any, tmp_path: Path) -> Iterator[FullyShardedDataParallel]:
    with wrapped_alone(adapted, tmp_path) as model:
        yield model


def test_in_float32_the_engine_gets_what_peft_merges(adapted: Any, wrapped: Any) -> None:
    """Under the names of an ordinary model, biases and tied weights too; and nothing of the trainer's
    changes."""
    before = {name: weight.clone() for name, weight in named_weights(wrapped)}
    answers = wrapped(input_ids=IDS).logits
    found = dict(merged_weights(wrapped, torch.float32, seed=1, step=2))
    expected = copy.deepcopy(adapted).merge_and_unload()
    assert set(found) == {name for name, _ in expected.named_parameters()}
    for name, weight in expected.named_parameters():
        torch.testing.assert_close(found[name], weight.detach())
    expected.load_state_dict(found, strict=False)
    torch.testing.assert_close(expected(input_ids=IDS).logits, answers)
    assert all(torch.equal(weight, before[name]) for name, weight in named_weights(wrapped))
    assert torch.equal(wrapped(input_ids=IDS).logits, answers)


def test_rounding_is_one_for_a_step_and_another_in_the_next(wrapped: Any) -> None:
    def sent(seed: int, step: int) -> dict[str, torch.Tensor]:
        return dict(merged_weights(wrapped, torch.bfloat16, seed, step))

    first = sent(1, 5)
    name = "model.layers.0.mlp.up_proj.weight"
    torch.rand(3)  # whatever else is drawn
    assert all(torch.equal(weight, first[key]) for key, weight in sent(1, 5).items())
    assert first[name].dtype == torch.bfloat16
    for other in (sent(1, 6), sent(2, 5)):
        assert not torch.equal(other[name], first[name])
    norm = "model.layers.0.input_layernorm.weight"
    assert torch.equal(first[norm], dict(named_weights(wrapped))[f"base_model.model.{norm}"])
    assert len({rounding_seed(*key) for key in [(1, 2, "a"), (1, 3, "a"), (2, 2, "a"), (1, 2, "b")]}) == 4


def small(shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A bfloat16 weight of usual size, and adapters that move it by a small share of the distance to its
    neighbours, as in the first steps."""
    generator = torch.Generator().manual_seed(0)
    weight = (0.02 * torch.randn(shape, generator=generator)).bfloat16()
    down = (0.02 * torch.randn(8, shape[1], generator=generator)).bfloat16()
    up = (4e-5 * torch.randn(shape[0], 8, generator=generator)).bfloat16()
    return weight, down, up


def test_the_mean_of_many_roundings_is_the_exact_sum() -> None:
    weight, down, up = small((48, 64))
    added = 2.0 * up.double() @ down.double()
    total = torch.zeros(48, 64, dtype=torch.float64)
    rounds = 1000
    moved = 0.0
    for number in range(rounds):
        sent = merged(weight, down, up, 2.0, torch.bfloat16, torch.Generator().manual_seed(number)).double()
        total += sent - weight.double()
        moved += (sent != weight).double().mean().item() / rounds
    nearest = (weight.float() + added.float()).bfloat16()
    assert (nearest == weight).double().mean() > 0.9, "to nearest, the base is what would be served"
    assert 0.005 < moved < 0.2
    slope = (total / rounds * added).sum() / (added * added).sum()
    assert slope == pytest.approx(1.0, abs=0.02)
    neighbour = (
        torch.nextafter(weight.float().abs().bfloat16(), torch.tensor(torch.inf).bfloat16()) - weight.abs()
    ).double()
    variance = (added.abs() * neighbour) / rounds
    score = (total / rounds - added) / variance.sqrt().clamp_min(1e-12)
    assert score.abs().max() < 6 and score.mean().abs() < 0.1


def test_a_step_without_adapters_grown_sends_the_base_itself() -> None:
    weight, down, up = small((48, 64))
    sent = merged(weight, down, torch.zeros_like(up), 2.0, torch.bfloat16, torch.Generator().manual_seed(1))
    assert torch.equal(sent, weight)


def test_slices_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, down, up = (tensor.float() for tensor in small((50, 64)))
    expected = weight + 2.0 * up @ down
    for values in (1, 640, 10**6):
        monkeypatch.setattr(merging, "SLICE", values)
        found = merged(weight, down, up, 2.0, torch.float32, torch.Generator().manual_seed(1))
        torch.testing.assert_close(found, expected)


def test_a_float32_weight_counts_as_the_trainer_computes_with_it() -> None:
    weight, down, up = (tensor.float() for tensor in small((48, 64)))
    weight = weight + 1e-6
    sent = merged(weight, down, torch.zeros_like(up), 2.0, torch.bfloat16, torch.Generator().manual_seed(1))
    assert torch.equal(sent, weight.bfloat16())
