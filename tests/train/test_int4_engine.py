"""Packed weights that arrive at a running engine: every layer of Marlin gets what vLLM itself would have made of
them, in the tensors that were there.

Marlin's own operator for rearranging words exists on a GPU only. Here vLLM's reference of it stands in its place.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("vllm")

from azr.errors import TrainingError
from azr.train.quantize.int4 import dequantise
from azr.train.quantize.model import served
from azr.train.verl.int4_engine import Int4Receiver

GROUP = 64
FUSED = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}
OUTPUTS = {"q_proj": 128, "k_proj": 64, "v_proj": 64, "gate_proj": 192, "up_proj": 192, "down_proj": 128}
INPUTS = {"down_proj": 192}
BIASED = ("q_proj", "k_proj", "v_proj")


class Repacked:
    """Stands for ``ops.gptq_marlin_repack``."""

    def __call__(
        self,
        words: torch.Tensor,
        perm: torch.Tensor,
        size_k: int,
        size_n: int,
        num_bits: int,
        is_a_8bit: bool,
    ):
        from vllm.model_executor.layers.quantization.utils.marlin_utils_test import (
            get_weight_perm,
            marlin_weights,
        )

        assert num_bits == 4 and not is_a_8bit and not perm.numel()
        values = torch.stack([(words >> (4 * place)) & 15 for place in range(8)], 1).reshape(size_k, size_n)
        return marlin_weights(values, size_k, size_n, 4, get_weight_perm(4))


def read_back(layer: Any, outputs: int, inputs: int) -> torch.Tensor:
    """The bfloat16 weight that the kernel would multiply by, from its own layout."""
    from vllm.model_executor.layers.quantization.utils.marlin_utils import get_scale_perms
    from vllm.model_executor.layers.quantization.utils.marlin_utils_test import get_weight_perm

    packed = layer.weight_packed.data
    values = torch.stack([(packed >> (4 * place)) & 15 for place in range(8)], -1).reshape(
        packed.shape[0], -1
    )
    perm = get_weight_perm(4)
    unmixed = torch.empty_like(values.reshape(-1, perm.numel()))
    unmixed[:, perm] = values.reshape(-1, perm.numel())
    tiles = unmixed.reshape(inputs // 16, outputs // 16, 16, 16).permute(0, 2, 1, 3)
    values = tiles.reshape(inputs, outputs).T
    order, _ = get_scale_perms()
    mixed = layer.weight_scale.data.reshape(-1, len(order))
    scales = torch.empty_like(mixed)
    scales[:, order] = mixed
    scales = scales.reshape(inputs // GROUP, outputs).T
    return ((values - 8).unflatten(-1, (-1, GROUP)) * scales.unsqueeze(-1)).flatten(-2).to(torch.bfloat16)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    from vllm import _custom_ops
    from vllm.model_executor import parameter
    from vllm.model_executor.kernels.linear import MarlinLinearKernel, MPLinearLayerConfig
    from vllm.model_executor.kernels.linear.mixed_precision import marlin
    from vllm.scalar_type import scalar_types

    monkeypatch.setattr(_custom_ops, "gptq_marlin_repack", Repacked(), raising=False)
    monkeypatch.setattr(parameter, "get_tensor_model_parallel_rank", lambda: 0)
    monkeypatch.setattr(parameter, "get_tensor_model_parallel_world_size", lambda: 1)
    monkeypatch.setattr(marlin, "marlin_make_workspace_new", lambda device: torch.zeros(132, dtype=torch.int))

    model: Any = torch.nn.Module()
    model.packed_modules_mapping = FUSED
    model.norm = torch.nn.Parameter(torch.zeros(128), requires_grad=False)
    model.loaded = []
    model.load_weights = lambda weights: model.loaded.extend(name for name, _ in weights)
    for name in ("qkv_proj", "gate_up_proj", "down_proj"):
        parts = FUSED.get(name, [name])
        outputs, inputs = sum(OUTPUTS[part] for part in parts), INPUTS.get(name, 128)
        layer: Any = torch.nn.Module()
        config = MPLinearLayerConfig(
            full_weight_shape=(inputs, outputs), partition_weight_shape=(inputs, outputs),
            weight_type=scalar_types.uint4b8, act_type=torch.bfloat16, group_size=GROUP, zero_points=False, has_g_idx=False,
        )  # fmt: skip
        kernel = MarlinLinearKernel(
            config, "weight_packed", "weight_scale", "weight_zero_point", "weight_g_idx"
        )
        kernel.workspace = torch.full((132,), 7, dtype=torch.int)
        layer.scheme = type("Scheme", (), {"kernel": kernel})()
        words = torch.zeros(inputs // 16, outputs * 2, dtype=torch.int)
        layer.weight_packed = torch.nn.Parameter(words, requires_grad=False)
        layer.weight_scale = torch.nn.Parameter(
            torch.zeros(inputs // GROUP, outputs, dtype=torch.bfloat16), requires_grad=False
        )
        biased = parts[0] in BIASED
        layer.bias = (
            torch.nn.Parameter(torch.zeros(outputs, dtype=torch.bfloat16), requires_grad=False)
            if biased
            else None
        )
        wrapped = torch.nn.Module()
        wrapped.base_layer = layer
        model.add_module(name, wrapped)
    return model


def trainers_weights() -> dict[str, torch.Tensor]:
    """As an ``int4_model`` under peft names them."""
    torch.manual_seed(0)
    weights = {"norm": torch.ones(128).bfloat16()}
    for name, outputs in OUTPUTS.items():
        inputs = INPUTS.get(name, 128)
        words = torch.randint(-(2**31), 2**31, (outputs, inputs // 8), dtype=torch.int)
        weights[f"{name}.base_layer.qweight"] = words.view(torch.bfloat16)
        weights[f"{name}.base_layer.scales"] = torch.randn(outputs, inputs // GROUP).bfloat16()
        if name in BIASED:
            weights[f"{name}.base_layer.bias"] = torch.randn(outputs).bfloat16()
    return weights


def test_every_layer_holds_what_the_trainer_dequantises(engine: Any) -> None:
    receiver = Int4Receiver(engine)
    before = receiver.addresses()
    weights = trainers_weights()
    buffer: dict[str, torch.Tensor] = {}
    for name, tensor in reversed(list(served(weights.items()))):  # in any order
        buffer = {name: tensor.clone()}
        receiver.take(buffer.items())
        buffer[name].zero_()  # a bucket is written over by the next
    receiver.finish(before)
    assert receiver.addresses() == before and engine.loaded == ["norm"]
    assert {type(layer.kernel).__name__ for layer in receiver._layers.values()} == {"MarlinLinearKernel"}
    for name in ("qkv_proj", "gate_up_proj", "down_proj"):
        parts = FUSED.get(name, [name])
        layer = getattr(engine, name).base_layer
        wanted = torch.cat(
            [
                dequantise(weights[f"{part}.base_layer.qweight"], weights[f"{part}.base_layer.scales"])
                for part in parts
            ]
        )
        assert torch.equal(read_back(layer, *wanted.shape), wanted), name
        assert not layer.scheme.kernel.workspace.any(), "Marlin waits for ever for locks that are not zero"
        if layer.bias is not None:
            from vllm.model_executor.layers.quantization.utils.marlin_utils import marlin_permute_bias

            bias = torch.cat([weights[f"{part}.base_layer.bias"] for part in parts])
            assert torch.equal(layer.bias.data, marlin_permute_bias(bias)) and not torch.equal(
                layer.bias.data, bias
            )


def test_what_has_not_come_is_named(engine: Any) -> None:
    receiver = Int4Receiver(engine)
    before = receiver.addresses()
    receiver.take(
        (name, tensor) for name, tensor in served(trainers_weights().items()) if "k_proj" not in name
    )
    with pytest.raises(TrainingError, match=r"not sent all of qkv_proj \(1 of 3"):
        receiver.finish(before)


def test_a_tensor_that_moved_is_named(engine: Any) -> None:
    receiver = Int4Receiver(engine)
    before = receiver.addresses()
    engine.down_proj.base_layer.weight_scale.data = engine.down_proj.base_layer.weight_scale.data.clone()
    receiver.take(served(trainers_weights().items()))
    with pytest.raises(TrainingError, match=r"down_proj\.weight_scale first"):
        receiver.finish(before)


def test_other_shapes_and_kinds_are_refused(engine: Any) -> None:
    receiver = Int4Receiver(engine)
    with pytest.raises(TrainingError, match=r"down_proj as .* 128 outputs of 192 inputs"):
        receiver.take(
            served(
                {
                    "down_proj.qweight": torch.zeros(64, 48, dtype=torch.bfloat16),
                    "down_proj.scales": torch.zeros(64, 3, dtype=torch.bfloat16),
                }.items()
            )
        )
    engine.qkv_proj.base_layer.scheme.kernel.config.act_type = torch.int8
    with pytest.raises(TrainingError, match="VLLM_MARLIN_INPUT_DTYPE"):
        Int4Receiver(engine)
    with pytest.raises(TrainingError, match="are not int4"):
        Int4Receiver(torch.nn.Linear(2, 2))
