"""Linear layers by oneDNN: values and gradients are those of torch."""

from __future__ import annotations

import pytest
import torch

from azr.train.cpu import linear as module


def test_torch_still_has_the_product_by_onednn() -> None:
    assert hasattr(torch.ops.mkldnn, "_linear_pointwise")


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 16), (1, 5, 16), (2, 3, 16), (37, 16), (3, 67, 16), (0, 16)])
def test_values_and_gradients_are_those_of_torch(shape: tuple[int, ...], has_bias: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    results = []
    for ours in (False, True):
        torch.manual_seed(1)
        model = torch.nn.Sequential(
            torch.nn.Linear(16, 24, bias=has_bias), torch.nn.Linear(24, 8, bias=has_bias)
        )
        if ours:
            module.install_cpu_linear(model)
        inputs = x.clone().requires_grad_()
        y = model(inputs)
        (y**2).sum().backward()
        results.append([y, inputs.grad, *(parameter.grad for parameter in model.parameters())])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_frozen_layers_pass_the_gradient_on() -> None:
    layer = torch.nn.Linear(4, 4)
    module.install_cpu_linear(layer)
    layer.requires_grad_(False)
    x = torch.randn(3, 4, requires_grad=True)
    layer(x).sum().backward()
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(3, 4))
    assert layer.weight.grad is None


def test_other_types_are_left_to_torch() -> None:
    x, weight = torch.randn(2, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(module.linear(x, weight), x @ weight.T)


def test_few_sizes_are_met_whatever_the_number_of_tokens() -> None:
    """oneDNN keeps a kernel for each: a run of 40 steps had grown by 1.5 GiB."""
    sizes = [module.rounded_up(rows) for rows in range(4097)]
    assert len(set(sizes)) < 100
    assert all(rows <= size <= rows * 9 / 8 for rows, size in enumerate(sizes))
    padded = module.padded(torch.ones(37, 3))
    assert padded.shape == (40, 3) and padded.sum() == 37 * 3
