"""Weights of an FSDP NO_SHARD model, read without copies and moved without leaving any behind."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
from small_qwen import FLOAT32, IDS, small_qwen, wrapped_alone
from torch.distributed.fsdp import FullyShardedDataParallel
from transformers import Qwen2ForCausalLM

from azr.errors import ModelError
from azr.train.patches.fsdp import state_dict_without_copies, tensors_left_in_files
from azr.train.verl.no_shard import (
    adapter_weights,
    base_was_read,
    base_weights,
    named_weights,
    offload,
    point_to_flat_parameters,
)
from azr.train.verl.training_engine import fully_sharded, require_sound_weights


@pytest.fixture
def plain() -> Qwen2ForCausalLM:
    return small_qwen()


@pytest.fixture
def wrapped(plain: Qwen2ForCausalLM, tmp_path) -> Iterator[FullyShardedDataParallel]:
    with wrapped_alone(plain, tmp_path) as model:
        yield model


def storages(model: FullyShardedDataParallel) -> set[int]:
    return {
        part._handle.flat_param.untyped_storage().data_ptr()
        for part in FullyShardedDataParallel.fsdp_modules(model)
    }


def test_all_weights_are_read_under_their_names_and_none_is_copied(plain, wrapped):
    wrapped(input_ids=IDS)
    expected = plain.state_dict()
    found = {}
    for name, weight in named_weights(wrapped):
        assert weight.untyped_storage().data_ptr() in storages(wrapped), f"{name} was copied"
        found[name] = weight.clone()
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_training_goes_on_after_weights_were_read(plain, wrapped):
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    for _ in range(2):
        wrapped(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        after = {name: weight.clone() for name, weight in named_weights(wrapped)}
    assert not torch.equal(
        after["model.layers.0.mlp.up_proj.weight"], plain.state_dict()["model.layers.0.mlp.up_proj.weight"]
    )
    next(named_weights(wrapped))  # a reader that gives up leaves the model usable
    wrapped(input_ids=IDS, labels=IDS).loss.backward()


def test_a_checkpoint_is_written_from_the_weights_themselves(plain, wrapped, tmp_path):
    expected = plain.state_dict()
    with state_dict_without_copies(wrapped):
        found = wrapped.state_dict()
        assert {weight.untyped_storage().data_ptr() for weight in found.values()} <= storages(wrapped)
        torch.save(found, tmp_path / "model.pt")
    read = torch.load(tmp_path / "model.pt", weights_only=True)
    assert set(read) == set(expected)
    assert all(torch.equal(read[name], expected[name]) for name in expected)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    wrapped(input_ids=IDS, labels=IDS).loss.backward()
    optimizer.step()
    wrapped.load_state_dict(read)
    # FSDP's own again, and restored
    assert all(torch.equal(weight, expected[name]) for name, weight in wrapped.state_dict().items())


def test_moved_weights_leave_nothing_behind(plain, wrapped):
    before = wrapped(input_ids=IDS).logits
    handles: Any = wrapped._all_handles
    for handle in handles:  # what an offload does, within one device: the flat parameter gets other memory
        handle.flat_param.data = handle.flat_param.data.clone()
        handle.flat_param._local_shard = handle.flat_param.data

    def left_behind() -> int:
        weights = [
            value
            for part in wrapped.modules()
            for value in vars(part).values()
            if isinstance(value, torch.Tensor)
        ]
        return sum(weight.untyped_storage().data_ptr() not in storages(wrapped) for weight in weights)

    assert left_behind() > 0  # as verl leaves it
    point_to_flat_parameters(wrapped)
    assert left_behind() == 0
    assert torch.equal(wrapped(input_ids=IDS).logits, before)


@pytest.fixture
def adapted(plain) -> Any:
    from peft import LoraConfig, get_peft_model

    plain.enable_input_require_grads()
    return get_peft_model(
        plain, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    )


@pytest.fixture
def adapted_and_wrapped(adapted, tmp_path) -> Iterator[FullyShardedDataParallel]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/{os.getpid()}", rank=0, world_size=1)
    try:
        yield fully_sharded(copy.deepcopy(adapted), torch.device("cpu"), FLOAT32)
    finally:
        dist.destroy_process_group()


def test_adapters_are_read_without_the_base(adapted, adapted_and_wrapped):
    """Names and values as peft writes them for the model that is not wrapped."""
    from peft import get_peft_model_state_dict

    expected = get_peft_model_state_dict(adapted)
    assert len(expected) == 2 * 2 * 7  # A and B of seven matrices in two layers
    # as an offload leaves a base: its memory is elsewhere
    for part in FullyShardedDataParallel.fsdp_modules(adapted_and_wrapped):
        handle: Any = part._handle
        handle.flat_param.data = torch.empty(0)
    found = adapter_weights(adapted_and_wrapped)
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_base_is_offloaded_to_one_copy_and_read_there(adapted, adapted_and_wrapped):
    """And sent under the names of an ordinary model, as verl's engine expects them: with ``.base_layer``
    where an adapter lies over it."""
    expected = {
        name.replace(".base_layer", ""): weight
        for name, weight in adapted.base_model.model.state_dict().items()
    }
    # tied
    expected = {
        name: weight.clone()
        for name, weight in expected.items()
        if ".lora_" not in name and name != "lm_head.weight"
    }
    before = adapted_and_wrapped(input_ids=IDS).logits
    places = []
    for _ in range(2):
        offload(adapted_and_wrapped, empty_cache=False)
        found = dict(base_weights(adapted_and_wrapped))
        places.append([weight.data_ptr() for weight in found.values()])
        assert {name.replace(".base_layer", "") for name in found} == set(expected)
        assert all(
            torch.equal(weight, expected[name.replace(".base_layer", "")]) for name, weight in found.items()
        )
        assert "model.layers.0.self_attn.q_proj.base_layer.weight" in found and "model.norm.weight" in found
        # the card's memory is another one
        for part in FullyShardedDataParallel.fsdp_modules(adapted_and_wrapped):
            handle: Any = part._handle
            handle.flat_param.data = handle.flat_param.data.clone()
            handle.flat_param._local_shard = handle.flat_param.data
        point_to_flat_parameters(adapted_and_wrapped)
        assert torch.equal(adapted_and_wrapped(input_ids=IDS).logits, before)
    assert places[0] == places[1]
    with torch.no_grad():
        next(iter(base_weights(adapted_and_wrapped)))[1].fill_(3.0)
    base_was_read(adapted_and_wrapped)  # as a checkpoint may have other weights
    offload(adapted_and_wrapped, empty_cache=False)
    assert (next(iter(base_weights(adapted_and_wrapped)))[1] == 3.0).all()
    assert places[0] == [weight.data_ptr() for _, weight in base_weights(adapted_and_wrapped)]


def test_adapters_on_one_device_are_trained_as_without_fsdp(adapted, adapted_and_wrapped):
    """A unit a layer and the root, all frozen; clipped gradients and an optimizer's steps are those without
    FSDP."""
    units = FullyShardedDataParallel.fsdp_modules(adapted_and_wrapped)
    assert len(units) == 3 and not any(part._handle.flat_param.requires_grad for part in units)  # type: ignore[union-attr]
    base = {
        name: weight.clone() for name, weight in named_weights(adapted_and_wrapped) if ".lora_" not in name
    }
    norms: list[list[float]] = []
    for model in (adapted, adapted_and_wrapped):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        norms.append([])
        for _ in range(3):
            for _ in range(2):
                model(input_ids=IDS, labels=IDS).loss.backward()
            clip = (
                model.clip_grad_norm_
                if model is adapted_and_wrapped
                else partial(torch.nn.utils.clip_grad_norm_, model.parameters())
            )
            norms[-1].append(float(clip(0.5)))
            optimizer.step()
            optimizer.zero_grad()
    assert norms[0] == pytest.approx(norms[1])
    trained = dict(named_weights(adapted_and_wrapped))
    expected = adapted.state_dict()
    assert set(trained) == set(expected)
    for name, weight in trained.items():
        torch.testing.assert_close(weight, expected[name])
        assert ".lora_" in name or torch.equal(weight, base[name])


def test_a_checkpoint_of_adapters_leaves_the_base_out_and_goes_on_alike(
    adapted, adapted_and_wrapped, tmp_path
):
    """Through verl's own checkpoint manager: what is saved, and that training goes on from it as if it had
    never stopped."""
    from omegaconf import OmegaConf
    from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager

    model = adapted_and_wrapped
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    contents = ["model", "optimizer", "extra"]
    manager = FSDPCheckpointManager(
        model,
        optimizer,
        scheduler,
        checkpoint_config=OmegaConf.create({"save_contents": contents, "load_contents": contents}),
    )  # type: ignore[arg-type]

    def steps(count: int) -> None:
        for _ in range(count):
            model(input_ids=IDS, labels=IDS).loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()

    steps(2)
    with state_dict_without_copies(model):
        manager.save_checkpoint(str(tmp_path))
    steps(3)
    expected = {name: weight.clone() for name, weight in named_weights(model)}
    saved = torch.load(tmp_path / "model_world_size_1_rank_0.pt", weights_only=True)
    assert len(saved) == 2 * 2 * 7 and set(saved) == {
        name for name in adapted.state_dict() if ".lora_" in name
    }
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.zero_()
    with tensors_left_in_files():
        manager.load_checkpoint(str(tmp_path))
    steps(3)
    assert all(torch.equal(weight, expected[name]) for name, weight in named_weights(model))


def test_a_checkpoint_with_its_base_as_earlier_versions_saved_it_is_read(
    adapted, adapted_and_wrapped, tmp_path
):
    expected = adapted.state_dict()
    torch.save(dict(named_weights(adapted_and_wrapped)), tmp_path / "model.pt")
    optimizer = torch.optim.SGD(adapted_and_wrapped.parameters(), lr=1.0)
    adapted_and_wrapped(input_ids=IDS, labels=IDS).loss.backward()
    optimizer.step()
    assert any(not torch.equal(weight, expected[name]) for name, weight in named_weights(adapted_and_wrapped))
    plain_load = torch.load
    with tensors_left_in_files():
        read = torch.load(str(tmp_path / "model.pt"), weights_only=False)  # as verl calls it
    assert torch.load is plain_load
    adapted_and_wrapped.load_state_dict(read)
    found = adapted_and_wrapped.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("devices", "expected"), [(1, ["read"]), (2, ["load", "read", "offload"])])
def test_only_shards_are_brought_to_the_card_for_reading_adapters(monkeypatch, devices, expected):
    """FSDP gathers shards on the card alone, where an offload has taken them away; there is no card here, so
    the calls are looked at."""
    from types import SimpleNamespace

    from azr.train.verl import no_shard
    from azr.train.verl.training_engine import SelfPlayEngine

    calls: list[str] = []
    monkeypatch.setattr(dist, "get_world_size", lambda: devices)
    monkeypatch.setattr(no_shard, "load_model", lambda module: calls.append("load"))
    monkeypatch.setattr(no_shard, "offload", lambda module: calls.append("offload"))
    monkeypatch.setattr(
        no_shard, "adapter_weights", lambda module: calls.append("read") or {"a": torch.ones(1)}
    )
    module = SimpleNamespace(peft_config={no_shard.ADAPTER: SimpleNamespace(to_dict=lambda: {"r": 4})})
    model_config = SimpleNamespace(lora={"merge": False})
    engine = SimpleNamespace(_is_lora=True, _is_offload_param=True, module=module, model_config=model_config)
    weights, adapter = SelfPlayEngine.get_per_tensor_param(engine, base_sync_done=True)  # type: ignore[arg-type]
    assert calls == expected
    assert dict(weights) == {"a": torch.ones(1)} and adapter == {"r": 4}


def test_adapters_begin_as_the_seed_says(plain):
    """verl draws them from a generator that nobody has seeded."""
    from types import SimpleNamespace

    from azr.train.verl.training_engine import SelfPlayEngine

    def adapters(seed: int) -> torch.Tensor:
        engine: Any = object.__new__(SelfPlayEngine)
        engine.engine_config = SimpleNamespace(seed=seed)
        engine.model_config = SimpleNamespace(
            lora_rank=4,
            lora_alpha=8,
            target_modules="all-linear",
            target_parameters=None,
            exclude_modules=None,
        )
        torch.seed()
        made = engine._build_lora_module(copy.deepcopy(plain)).state_dict()
        return torch.cat([weight.flatten() for name, weight in made.items() if ".lora_A." in name])

    assert torch.equal(adapters(1), adapters(1)) and not torch.equal(adapters(1), adapters(2))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_with_a_weight_that_is_no_number_is_named(value: float, dtype: torch.dtype) -> None:
    module = torch.nn.Linear(300, 300, dtype=dtype)
    require_sound_weights(module, "/m")
    with torch.no_grad():
        module.weight[7, 11] = value
    with pytest.raises(ModelError, match="/m: weight holds NaN or infinity"):
        require_sound_weights(module, "/m")


def test_a_matrix_of_zeros_is_named_and_a_bias_or_an_adapter_is_none() -> None:
    module = torch.nn.ModuleDict({"lora_B": torch.nn.Linear(4, 4), "inner": torch.nn.Linear(4, 4)})
    with torch.no_grad():
        for name in ("lora_B.weight", "inner.bias"):
            module.get_parameter(name).zero_()
        require_sound_weights(module, "/m")
        module.get_parameter("inner.weight").zero_()
    with pytest.raises(ModelError, match=r"/m: inner\.weight holds nothing but zeros"):
        require_sound_weights(module, "/m")
