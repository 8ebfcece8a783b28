import copy
import os
import subprocess
import sys

import pytest
import torch

from azr.train.kernels.optimizers import (
    SIGNED_LEVELS,
    UNSIGNED_LEVELS,
    AdamW8bit,
    _decode,
    _encode,
    stochastic_bf16,
    verl_optimizer,
)


def test_stochastic_rounding_keeps_the_mean():
    value = torch.full((200_000,), 0.02)
    values = value + 1e-6
    rounded = stochastic_bf16(values, torch.Generator().manual_seed(0)).float()
    spacing = 0.02 * 2**-7
    assert rounded.unique().numel() == 2
    assert (rounded.mean() - values.mean()).abs() < 5 * spacing / 200_000**0.5
    assert torch.equal(stochastic_bf16(values.bfloat16().float()), values.bfloat16())


@pytest.mark.parametrize(
    ("levels", "least", "signed"), [(SIGNED_LEVELS, 0, True), (UNSIGNED_LEVELS, 1, False)]
)
def test_codes_are_unbiased_and_fine(levels, least, signed):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(1000, generator=generator) * torch.logspace(-4, 0, 1000)
    values = values if signed else values.abs()
    mean = torch.zeros(1000)
    for _ in range(100):
        codes, scale = _encode(values, levels, least, generator)
        assert scale.shape == (4,)
        mean += _decode(codes, scale, levels) / 100
    largest = (
        torch.nn.functional.pad(values.abs(), (0, 24)).view(4, 256).amax(1).repeat_interleave(256)[:1000]
    )
    assert ((mean - values).abs() / largest).max() < 0.007
    if least:
        assert (codes[values > 0] > 0).all()
    assert torch.equal(
        _encode(torch.zeros(10), levels, least, generator)[0], torch.zeros(10, dtype=codes.dtype)
    )


def small_problem():
    """A two-layer network on noisy targets: every run sees the same minibatches."""
    torch.manual_seed(0)
    teacher = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Tanh(), torch.nn.Linear(64, 8))
    student = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.Tanh(), torch.nn.Linear(64, 8))
    x = torch.randn(40, 64, 32)
    with torch.no_grad():
        y = teacher(x) + 0.05 * torch.randn(40, 64, 8)
    return student, x, y


def train(model, optimizer, x, y, steps):
    losses = []
    for step in range(steps):
        prediction = model(x[step % len(x)].to(next(model.parameters()).dtype)).float()
        loss = torch.nn.functional.mse_loss(prediction, y[step % len(y)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_follows_fp32_adamw(dtype):
    model, x, y = small_problem()
    reference = copy.deepcopy(model)
    expected = train(
        reference, torch.optim.AdamW(reference.parameters(), lr=6e-3, weight_decay=0.01), x, y, 160
    )
    model = model.to(dtype)
    found = train(model, AdamW8bit(model.parameters(), lr=6e-3, weight_decay=0.01), x, y, 160)
    assert expected[-1] < 0.2 * expected[0]
    for step in (40, 80, 159):
        wanted, got = (sum(losses[step - 10 : step + 1]) / 11 for losses in (expected, found))
        assert got == pytest.approx(wanted, rel=0.15), step


def test_small_rate_moves_bf16_weights_in_the_mean():
    """At lr 1e-6 the mean displacement is that of fp32 AdamW; plain rounding would not move these weights at
    all."""
    torch.manual_seed(0)
    start = torch.full((256 * 400,), 0.02)
    gradient = torch.randn(()).abs() + 0.1 * torch.randn(256 * 400)
    exact, stochastic, nearest = (
        torch.nn.Parameter(start.clone().to(dtype))
        for dtype in (torch.float32, torch.bfloat16, torch.bfloat16)
    )
    optimizers = [
        torch.optim.AdamW([exact], lr=1e-6, weight_decay=0.0),
        AdamW8bit([stochastic], lr=1e-6, weight_decay=0.0),
        torch.optim.AdamW([nearest], lr=1e-6, weight_decay=0.0),
    ]
    first = stochastic.detach().float().mean()
    for _ in range(20):
        for parameter, optimizer in zip((exact, stochastic, nearest), optimizers, strict=True):
            parameter.grad = gradient.to(parameter.dtype)
            optimizer.step()
    moved = (exact.detach() - start).mean()
    assert torch.equal(nearest.detach(), start.bfloat16())
    assert (stochastic.detach().float().mean() - first) / moved == pytest.approx(1.0, abs=0.1)


def test_resume_is_bitwise(tmp_path):
    model, x, y = small_problem()
    model = model.bfloat16()
    optimizer = AdamW8bit(model.parameters(), lr=1e-3, seed=5)
    train(model, optimizer, x, y, 7)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "checkpoint.pt")
    straight = train(model, optimizer, x, y, 5)

    loaded = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = copy.deepcopy(model)
    resumed.load_state_dict(loaded["model"])
    again = AdamW8bit(resumed.parameters(), lr=1e-3, seed=5)
    again.load_state_dict(loaded["optimizer"])
    state = again.state[next(iter(resumed.parameters()))]
    assert (state["first"].dtype, state["second"].dtype, state["first_scale"].dtype) == (
        torch.int8,
        torch.uint8,
        torch.float32,
    )
    assert train(resumed, again, x, y, 5) == straight
    assert all(
        torch.equal(left, right) for left, right in zip(model.parameters(), resumed.parameters(), strict=True)
    )


def test_state_is_two_bytes_a_parameter():
    parameter = torch.nn.Parameter(torch.zeros(100_000, dtype=torch.bfloat16))
    parameter.grad = torch.ones_like(parameter)
    optimizer = AdamW8bit([parameter])
    optimizer.step()
    state = optimizer.state[parameter]
    size = sum(value.numel() * value.element_size() for value in state.values())
    assert 2.0 <= size / 100_000 < 2.05


def test_gradient_spike_stays_bounded():
    """A coordinate whose gradient was 0 for long, then large: Adam's own bound on the update holds."""
    parameter = torch.nn.Parameter(torch.zeros(512))
    optimizer = AdamW8bit([parameter], lr=1.0, weight_decay=0.0)
    for step in range(60):
        parameter.grad = torch.ones(512)
        parameter.grad[::2] = 0.0 if step < 50 else 1e4
        before = parameter.detach().clone()
        optimizer.step()
        assert (parameter.detach() - before).abs().max() < 3.7
    assert torch.isfinite(parameter).all()


def test_verl_builds_it():
    from verl.workers.config import FSDPOptimizerConfig
    from verl.workers.config.optimizer import build_optimizer

    parameter = torch.nn.Parameter(torch.zeros(300, dtype=torch.bfloat16))
    for kind, wanted in (("adamw", torch.optim.AdamW), ("adamw_8bit", AdamW8bit)):
        config = FSDPOptimizerConfig(lr=1e-6, weight_decay=0.01, **verl_optimizer(kind, on_gpu=False))
        assert isinstance(build_optimizer([parameter], config), wanted)
    assert verl_optimizer("adamw", on_gpu=True)["override_optimizer_config"] == {"fused": True}


KERNEL = """
import torch
from azr.train.kernels import optimizers, optimizer_kernels
torch.manual_seed(0)
n = 256 * 9 + 100
def fresh():
    torch.manual_seed(1)
    blocks = -(-n // 256)
    moments = [torch.zeros(n, dtype=torch.int8), torch.zeros(blocks), torch.zeros(n, dtype=torch.uint8), torch.zeros(blocks)]
    return torch.randn(n) * 0.02, *moments
group = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
one, two = fresh(), fresh()
for step in range(1, 6):
    g = torch.randn(n) * torch.logspace(-3, 0, n)
    constants = optimizers._constants(group, step)
    optimizers._adamw_step(one[0], g, *one[1:], constants, step)
    optimizer_kernels.adamw_step(two[0], g, *two[1:], constants, step)
torch.testing.assert_close(two[2], one[2], rtol=2e-2, atol=1e-6)
torch.testing.assert_close(two[4], one[4], rtol=2e-2, atol=1e-6)
assert (one[0] - two[0]).abs().mean() < 1e-4, (one[0] - two[0]).abs().mean()
assert (one[0] - fresh()[0]).abs().mean() > 1e-3
print("agree")
"""


def test_kernel_in_tritons_interpreter():
    """The GPU's kernel, run by Triton's own interpreter, against the torch arithmetic (only the random draws
    differ)."""
    pytest.importorskip("triton")
    answer = subprocess.run(
        [sys.executable, "-c", KERNEL],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.stdout.strip() == "agree", answer.stderr


@pytest.mark.gpu
def test_gpu_follows_fp32_adamw():
    model, x, y = small_problem()
    reference = copy.deepcopy(model)
    expected = train(
        reference, torch.optim.AdamW(reference.parameters(), lr=6e-3, weight_decay=0.01), x, y, 160
    )
    model, x, y = model.bfloat16().cuda(), x.cuda(), y.cuda()
    found = train(model, AdamW8bit(model.parameters(), lr=6e-3, weight_decay=0.01), x, y, 160)
    wanted, got = (sum(losses[-11:]) / 11 for losses in (expected, found))
    assert got == pytest.approx(wanted, rel=0.15)
