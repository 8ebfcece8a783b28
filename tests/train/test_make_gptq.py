"""The calibrated int4 model that the data-free one is compared with."""

from __future__ import annotations

import pytest
import torch
from tiny_int4 import KINDS, tiny

from azr.train.quantize.int4 import dequantise, quantise
from make_gptq import quantised_layers, rounded


def correlated_inputs(width: int) -> torch.Tensor:
    """``[512, width]``, of a quarter as many directions and a little noise."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(width // 4, width, generator=generator)
    return torch.randn(512, width // 4, generator=generator) @ directions + 0.1 * torch.randn(
        512, width, generator=generator
    )


def test_the_layer_s_outputs_are_nearer_than_without_data() -> None:
    inputs = correlated_inputs(192)
    weight = torch.randn(64, 192, generator=torch.Generator().manual_seed(1))
    calibrated = dequantise(*rounded(weight, 2 * inputs.T @ inputs / len(inputs))).float()
    plain = dequantise(*quantise(weight)).float()

    def error(other: torch.Tensor) -> float:
        return float((inputs @ (weight - other).T).square().mean())

    assert error(calibrated) < 0.5 * error(plain)


def test_weights_that_int4_holds_exactly_stay_as_they_are() -> None:
    values = torch.randint(-8, 8, (16, 128), generator=torch.Generator().manual_seed(2))
    values[:, ::64] = -8
    weight, inputs = values * 2.0**-6, correlated_inputs(128)
    assert torch.equal(dequantise(*rounded(weight, inputs.T @ inputs)).float(), weight)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_every_linear_layer_is_quantised_and_the_model_computes_with_what_is_written(kind: str) -> None:
    model = tiny(kind, torch.float32).eval()
    rows = torch.randint(0, 320, (4, 32), generator=torch.Generator().manual_seed(3))
    found = {name: dequantise(words, scales).float() for name, words, scales in quantised_layers(model, rows)}
    linears = {
        name: part.weight
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.Linear) and name != "lm_head"
    }
    assert found.keys() == linears.keys()
    assert all(torch.equal(found[name], weight) for name, weight in linears.items())
