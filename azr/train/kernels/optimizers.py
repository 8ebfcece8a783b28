"""AdamW that learns in little memory: bf16 weights with stochastic rounding, 8-bit moments. 6 bytes per
parameter, including its gradient.

Why rounding matters: a bf16 weight of 0.02 has its neighbours 1.2e-4 away, so an update of 1e-6 added with
rounding to nearest is lost every time. Stochastic rounding keeps it in the mean: the weight moves by one step
of 1.2e-4 with probability 0.8 %.

How the moments are kept: blocks of 256 values share one float32 scale (their largest magnitude); each value
is one byte ``c`` and stands for ``(c / C)^2`` of the scale, which resolves the largest to 1 % and still tells
values 10^4 times smaller from zero. The first moment is signed (C = 127). Of the second moment its square root is kept (C =
255), so that the range in the variance is 10^9. Bytes are rounded stochastically too: with beta2 = 0.999 a
moment changes by 0.1 % a step, less than any 8-bit grid resolves, and rounding to nearest would freeze it.
The second moment is never rounded to zero, and an update is held to the largest ratio that exact Adam can
produce, so that no rounding error is divided by (almost) nothing.

On a GPU one Triton kernel does a step in a single pass over memory (``optimizer_kernels``); elsewhere the
same arithmetic runs in torch, a slice at a time. fp32 training uses ``torch.optim.AdamW``; ``verl_optimizer``
says which to take.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

BLOCK = 256
"""Values that share a scale."""
SIGNED_LEVELS = 127
UNSIGNED_LEVELS = 255
SLICE = BLOCK * 16384
"""Values handled at once by the torch path: bounds its temporary memory."""


def verl_optimizer(kind: str, *, on_gpu: bool) -> dict[str, Any]:
    """The fields of verl's optimizer configuration for ``train.optimizer``.

    ``adamw``: torch's own; fused on a GPU, where the default would hold temporary copies as large as the
    weights. ``adamw_8bit``: ``AdamW8bit`` below.
    """
    if kind == "adamw_8bit":
        return {
            "optimizer_impl": "azr.train.kernels.optimizers",
            "optimizer": "AdamW8bit",
            "override_optimizer_config": None,
        }
    return {
        "optimizer_impl": "torch.optim",
        "optimizer": "AdamW",
        "override_optimizer_config": {"fused": True} if on_gpu else None,
    }


def set_rates(
    optimizer: torch.optim.Optimizer, scheduler: LambdaLR, learning_rate: float, weight_decay: float
) -> None:
    """The rate that the schedule goes on from, at its present step, and the decay. Restored states bring those of
    their checkpoint, and the user may have changed the settings since."""
    scheduler.base_lrs = [learning_rate for _ in scheduler.base_lrs]
    for group, share in zip(optimizer.param_groups, scheduler.lr_lambdas, strict=True):
        group["lr"] = learning_rate * share(scheduler.last_epoch)
        group["weight_decay"] = weight_decay


class AdamW8bit(torch.optim.Optimizer):
    """AdamW with 8-bit moments; bf16 weights are rounded stochastically, fp32 weights are kept exactly.

    The random numbers are a function of ``seed``, step and place, so a resumed run draws the same ones.

    Args:
        params: parameters or groups, bf16 or fp32, on any device.
        lr, betas, eps, weight_decay: as in ``torch.optim.AdamW``.
        seed: of the rounding.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-6,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        seed: int = 0,
    ) -> None:
        if lr < 0 or eps <= 0 or not 0 <= betas[0] < 1 or not 0 <= betas[1] < 1:
            raise ValueError(f"AdamW8bit: lr={lr}, eps={eps}, betas={betas} out of range")
        super().__init__(
            params, {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "seed": seed}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        place = 0
        for group in self.param_groups:
            for parameter in group["params"]:
                place += 1
                if parameter.grad is not None:
                    self._update(parameter, group, place)
        return loss

    def _update(self, parameter: torch.Tensor, group: dict[str, Any], place: int) -> None:
        weights, gradient = parameter.view(-1), parameter.grad.reshape(-1)  # type: ignore[union-attr]
        state = self.state[parameter]
        if not state:
            blocks = -(-weights.numel() // BLOCK)
            state["step"] = torch.zeros((), dtype=torch.float32)
            for name, dtype in (("first", torch.int8), ("second", torch.uint8)):
                state[name] = torch.zeros(weights.numel(), dtype=dtype, device=weights.device)
                state[f"{name}_scale"] = torch.zeros(blocks, dtype=torch.float32, device=weights.device)
        state["step"] += 1
        step = int(state["step"])

        constants = _constants(group, step)
        # of step and place alone: a resumed run rounds as an uninterrupted one would have
        seed = (int(group["seed"]) * 1_000_003 + step * 8191 + place) % (2**31)
        moments = (state["first"], state["first_scale"], state["second"], state["second_scale"])
        if weights.is_cuda:
            from azr.train.kernels.optimizer_kernels import adamw_step

            adamw_step(weights, gradient, *moments, constants, seed)
        else:
            _adamw_step(weights, gradient, *moments, constants, seed)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Like torch's, but keeps bytes and float32 scales (torch casts states to the weights' type)."""
        super().load_state_dict(state_dict)
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        names = [name for group in state_dict["param_groups"] for name in group["params"]]
        for name, parameter in zip(names, parameters, strict=True):
            for key, value in state_dict["state"].get(name, {}).items():
                device = torch.device("cpu") if key == "step" else parameter.device
                self.state[parameter][key] = value.detach().clone().to(device)


def _constants(group: dict[str, Any], step: int) -> tuple[float, ...]:
    """(lr, beta1, beta2, eps, weight decay, 1 / bias correction of m, 1 / sqrt bias correction of v, largest ratio)."""
    beta1, beta2 = group["betas"]
    correction1, correction2 = 1 - beta1**step, 1 - beta2**step
    # Exact Adam's ratio is largest where a gradient follows upon zeros: m = (1 - beta1) g, v = (1 - beta2) g^2.
    largest = (1 - beta1) / (1 - beta2) ** 0.5 / correction1 * correction2**0.5
    corrections = (1 / correction1, 1 / correction2**0.5)
    return (
        float(group["lr"]),
        beta1,
        beta2,
        group["eps"],
        group["weight_decay"],
        *corrections,
        max(1.0, largest),
    )


def _adamw_step(
    weights: torch.Tensor,  # [n] bf16 or fp32
    gradient: torch.Tensor,  # [n]
    first: torch.Tensor,  # [n] int8
    first_scale: torch.Tensor,  # [ceil(n / BLOCK)]
    second: torch.Tensor,  # [n] uint8
    second_scale: torch.Tensor,
    constants: tuple[float, ...],
    seed: int,
) -> None:
    """``optimizer_kernels.adamw_step`` in torch, a slice at a time; other random numbers, the same arithmetic."""
    lr, beta1, beta2, eps, decay, correct1, correct2, largest = constants
    generator = torch.Generator(device=weights.device).manual_seed(seed)
    for start in range(0, weights.numel(), SLICE):
        here = slice(start, min(start + SLICE, weights.numel()))
        blocks = slice(start // BLOCK, -(-here.stop // BLOCK))
        g = gradient[here].float()
        m = _decode(first[here], first_scale[blocks], SIGNED_LEVELS).mul_(beta1).add_(g, alpha=1 - beta1)
        root = _decode(second[here], second_scale[blocks], UNSIGNED_LEVELS)
        v = root.square_().mul_(beta2).addcmul_(g, g, value=1 - beta2)

        # a moment that was rounded down must not turn into a step that exact Adam would never take
        ratio = (m * correct1) / (v.sqrt() * correct2 + eps)
        updated = weights[here].float() * (1 - lr * decay) - lr * ratio.clamp_(-largest, largest)
        weights[here] = stochastic_bf16(updated, generator) if weights.dtype == torch.bfloat16 else updated

        # of v its root is kept: half the decades, so one byte reaches as far down as the first moment's
        first[here], first_scale[blocks] = _encode(m, SIGNED_LEVELS, 0, generator)
        second[here], second_scale[blocks] = _encode(v.sqrt_(), UNSIGNED_LEVELS, 1, generator)


def _decode(codes: torch.Tensor, scale: torch.Tensor, levels: int) -> torch.Tensor:
    """float32 ``[n]`` of bytes ``[n]`` and the blocks' scales, float32 ``[ceil(n / BLOCK)]``."""
    share = codes.float() / levels
    return share * share.abs() * scale.repeat_interleave(BLOCK)[: codes.numel()]


def _encode(
    values: torch.Tensor, levels: int, least: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes ``[n]`` and float32 block scales ``[ceil(n / BLOCK)]`` of float32 values ``[n]``; rounding is stochastic and
    unbiased, except that non-zero values get at least code ``least``."""
    padded = torch.nn.functional.pad(values, (0, -values.numel() % BLOCK)).view(-1, BLOCK)
    scale = padded.abs().amax(dim=1)
    share = values.abs() / scale.clamp_min(1e-38).repeat_interleave(BLOCK)[: values.numel()]  # 0 to 1
    squared = share * (levels * levels)  # of the code; exact codes are at 0, 1, 4, 9 ...
    low = squared.sqrt().floor_()
    # codes c and c + 1 stand for c^2 and (c + 1)^2, which are 2 c + 1 apart: this chance keeps the mean
    chance = (squared - low * low) / (2 * low + 1)
    codes = low + (torch.rand(values.shape, generator=generator, device=values.device) < chance)
    codes = codes.clamp_(max=levels)
    if least:  # a second moment of 0 would be divided by
        return torch.where(values > 0, codes.clamp_min(least), codes).to(torch.uint8), scale
    return (codes * values.sign()).to(torch.int8), scale


def stochastic_bf16(values: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Rounds float32 of any shape to one of the two neighbouring bf16 values, with the probability that keeps the
    mean. ``generator`` is of the values' device."""
    # bf16 is the upper half of a float32. A random number is added to the lower half, which is then cut off: it carries
    # into the upper one as often as the cut-off part is large.
    bits = values.contiguous().view(torch.int32)
    noise = torch.randint(
        0, 1 << 16, values.shape, dtype=torch.int32, device=values.device, generator=generator
    )
    return ((bits + noise) & -65536).view(torch.float32).to(torch.bfloat16)
