"""Weights of an FSDP NO_SHARD model, read without copies and moved without leaving any behind."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecision, ShardingStrategy
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from azr.train.no_shard import adapter_weights, named_weights, point_to_flat_parameters, state_dict_without_copies


@pytest.fixture
def plain() -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    return Qwen2ForCausalLM(config)


@pytest.fixture
def wrapped(plain: Qwen2ForCausalLM, tmp_path) -> Iterator[FullyShardedDataParallel]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/{os.getpid()}", rank=0, world_size=1)
    try:
        yield FullyShardedDataParallel(
            copy.deepcopy(plain),
            auto_wrap_policy=partial(transformer_auto_wrap_policy, transformer_layer_cls={Qwen2DecoderLayer}),
            device_id=torch.device("cpu"),
            sharding_strategy=ShardingStrategy.NO_SHARD,
            mixed_precision=MixedPrecision(param_dtype=torch.float32, reduce_dtype=torch.float32, buffer_dtype=torch.float32),
        )
    finally:
        dist.destroy_process_group()


def storages(model: FullyShardedDataParallel) -> set[int]:
    return {part._handle.flat_param.untyped_storage().data_ptr() for part in FullyShardedDataParallel.fsdp_modules(model)}


IDS = torch.arange(10)[None]


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
    assert not torch.equal(after["model.layers.0.mlp.up_proj.weight"], plain.state_dict()["model.layers.0.mlp.up_proj.weight"])
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
    assert all(torch.equal(weight, expected[name]) for name, weight in wrapped.state_dict().items())  # FSDP's own again, and restored


def test_moved_weights_leave_nothing_behind(plain, wrapped):
    before = wrapped(input_ids=IDS).logits
    handles: Any = wrapped._all_handles
    for handle in handles:  # what an offload does, within one device: the flat parameter gets other memory
        handle.flat_param.data = handle.flat_param.data.clone()
        handle.flat_param._local_shard = handle.flat_param.data

    def left_behind() -> int:
        weights = [value for part in wrapped.modules() for value in vars(part).values() if isinstance(value, torch.Tensor)]
        return sum(weight.untyped_storage().data_ptr() not in storages(wrapped) for weight in weights)

    assert left_behind() > 0  # as verl leaves it
    point_to_flat_parameters(wrapped)
    assert left_behind() == 0
    assert torch.equal(wrapped(input_ids=IDS).logits, before)


def test_adapters_are_read_without_the_base(plain, tmp_path):
    """Names and values as peft writes them for the model that is not wrapped."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from verl.utils.fsdp_utils import get_fsdp_wrap_policy

    adapted = get_peft_model(plain, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False))
    expected = {name: weight.clone() for name, weight in get_peft_model_state_dict(adapted).items()}
    assert len(expected) == 2 * 2 * 7  # A and B of seven matrices in two layers
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/{os.getpid()}", rank=0, world_size=1)
    try:
        wrapped = FullyShardedDataParallel(
            adapted,
            auto_wrap_policy=get_fsdp_wrap_policy(adapted, config=None, is_lora=True),
            device_id=torch.device("cpu"),
            sharding_strategy=ShardingStrategy.NO_SHARD,
        )
        found = adapter_weights(wrapped)
        assert set(found) == set(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        wrapped(input_ids=IDS, labels=IDS).loss.backward()
        for part in FullyShardedDataParallel.fsdp_modules(wrapped):  # as an offload leaves them
            handle: Any = part._handle
            handle.flat_param.data = handle.flat_param.data.clone()
            handle.flat_param.data[:] += 1
        moved = adapter_weights(wrapped)
        assert all(torch.equal(moved[name], expected[name] + 1) for name in expected)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(("whole", "expected"), [(True, ["read"]), (False, ["load", "read", "offload"])])
def test_only_shards_are_brought_to_the_card_for_reading_adapters(monkeypatch, whole, expected):
    """FSDP gathers shards on the card alone, where an offload has taken them away; there is no card here, so the calls are looked at."""
    from types import SimpleNamespace

    from azr.train import no_shard
    from azr.train.engine import SelfPlayEngine

    calls: list[str] = []
    monkeypatch.setattr(no_shard, "is_whole", lambda module: whole)
    monkeypatch.setattr(no_shard, "load", lambda module: calls.append("load"))
    monkeypatch.setattr(no_shard, "offload", lambda module: calls.append("offload"))
    monkeypatch.setattr(no_shard, "adapter_weights", lambda module: calls.append("read") or {"a": torch.ones(1)})
    module = SimpleNamespace(peft_config={no_shard.ADAPTER: SimpleNamespace(to_dict=lambda: {"r": 4})})
    engine = SimpleNamespace(_is_lora=True, _is_offload_param=True, module=module)
    weights, adapter = SelfPlayEngine.get_per_tensor_param(engine, base_sync_done=True)  # type: ignore[arg-type]
    assert calls == expected
    assert dict(weights) == {"a": torch.ones(1)} and adapter == {"r": 4}
