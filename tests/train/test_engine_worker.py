"""The engine's memory limit: what share of the card it is, and that vLLM can take our extension of its
worker."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension

from azr.budget.estimate import ENGINE_CACHE_GIB, GRAPH_GIB_PER_SIZE
from azr.config.load import load_config
from azr.config.paths import PROJECT
from azr.errors import ConfigError
from azr.train.verl import engine_worker
from azr.train.verl.configuration import build_verl_config
from azr.train.verl.engine_worker import (
    START_LOGGERS,
    EngineWorkerExtension,
    ForgettingWorkerExtension,
    Int4WorkerExtension,
    OwnSocketExtension,
    memory_limit_share,
    tell_the_start,
)

TINY = PROJECT / "data" / "models" / "azr-tiny"


@pytest.mark.parametrize(("share", "total_gib"), [(0.38, 16.0), (0.0768, 79.2), (0.7, 79.2)])
def test_the_limit_is_the_share_and_the_counted_cache(share, total_gib):
    assert memory_limit_share(share, 0.2, total_gib) * total_gib == pytest.approx(
        share * total_gib + 0.2 + ENGINE_CACHE_GIB
    )


def test_the_limit_is_never_more_than_the_card():
    assert memory_limit_share(0.99, 0.1, 8.0) == 1.0


@pytest.mark.parametrize(
    "extension", [OwnSocketExtension, EngineWorkerExtension, ForgettingWorkerExtension, Int4WorkerExtension]
)
def test_an_extension_brings_no_name_that_vllms_worker_has(extension):
    """vLLM refuses such an extension."""
    from vllm.v1.worker.gpu_worker import Worker

    assert hasattr(extension, "update_weights_from_ipc")
    assert [name for name in dir(extension) if not name.startswith("__") and hasattr(Worker, name)] == []


def test_an_int4_base_and_its_adapters_arrive_without_the_limit_and_generation_begins_with_it(monkeypatch):
    """torch counts the cache of a sleeping engine, so that the limit would leave 0.75 GiB for what arrives. Seen at 7B
    on a card with 16 GiB left: out of memory over the base first, and over the adapters when only the base was exempt."""
    told: list[Any] = []
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: told.append(share)
    )
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=16 * 2**30)
    )
    monkeypatch.setattr(engine_worker, "receive_int4_base", lambda worker, use_shm: told.append("base"))
    monkeypatch.setattr(engine_worker, "released_gib", lambda: 0.5)
    monkeypatch.setattr(
        vLLMColocateWorkerExtension,
        "update_weights_from_ipc",
        lambda worker, peft_config, base_sync_done, use_shm: told.append("adapters"),
    )
    worker: Any = object.__new__(Int4WorkerExtension)
    worker.device = 0
    worker.vllm_config = SimpleNamespace(
        compilation_config=SimpleNamespace(cudagraph_capture_sizes=[1, 4]),
        model_config=SimpleNamespace(hf_text_config=SimpleNamespace(num_hidden_layers=24)),
        cache_config=SimpleNamespace(gpu_memory_utilization=0.5),
    )
    adapters = SimpleNamespace(_last_mapping="of the last step")
    worker.model_runner = SimpleNamespace(lora_manager=SimpleNamespace(_adapter_manager=adapters))

    worker.update_weights_from_ipc(peft_config={}, base_sync_done=False)
    worker.update_weights_from_ipc(peft_config={}, base_sync_done=True)

    limit = pytest.approx(memory_limit_share(0.5, 2 * GRAPH_GIB_PER_SIZE + 0.5, 16.0))
    assert told == [1.0, "base", limit, 1.0, "adapters", limit]
    assert adapters._last_mapping is None


class Pool:
    """vLLM's, after loading: three segments, of which it has unmapped the last."""

    def snapshot(self):
        return [
            {"address": 100, "total_size": 4 * 2**30, "allocated_size": 4 * 2**30},
            {"address": 200, "total_size": 2**30, "allocated_size": 2**20},
            {"address": 300, "total_size": 2**29, "allocated_size": 0},
        ]


def test_what_vllm_has_given_back_is_neither_in_its_cache_nor_in_the_limit(monkeypatch):
    """Seen at 7B: torch went on counting the words from before they were rearranged, the cache grew by them, and the
    engine ran out of memory under its limit with 2.6 GiB of the card free."""
    from vllm.device_allocator.cumem import CuMemAllocator
    from vllm.v1.worker.gpu_worker import Worker

    allocator = SimpleNamespace(
        allocator_and_pools={"weights": (Pool(), None)}, pointer_to_data={100: "mapped", 200: "mapped"}
    )
    assert engine_worker.released_gib() == 0.0
    monkeypatch.setattr(CuMemAllocator, "instance", allocator)
    monkeypatch.setattr(vLLMColocateWorkerExtension, "__new__", lambda cls, **options: object.__new__(cls))
    monkeypatch.setattr(Worker, "determine_available_memory", lambda worker: 2 * 2**30)
    assert engine_worker.released_gib() == 0.5

    class Extended(Worker, Int4WorkerExtension):
        def __init__(self, **options):
            pass

    worker: Any = Extended(vllm_config=None)
    assert worker.determine_available_memory() == 2**30 * 3 // 2


def test_a_sleep_that_keeps_no_weights(monkeypatch):
    """vLLM makes the extension a base of its worker's class, and verl asks for the sleep that keeps them."""
    from verl.workers.rollout.vllm_rollout import utils

    monkeypatch.setattr(utils, "set_death_signal", lambda: None)
    monkeypatch.setattr(utils.VLLMHijack, "hijack", staticmethod(lambda: None))
    asked = []

    class Worker:
        def __init__(self, vllm_config):
            self.vllm_config = vllm_config

        def sleep(self, level=1):
            asked.append(level)

    class Extended(Worker, ForgettingWorkerExtension):
        pass

    worker = Extended(vllm_config=None)
    worker.sleep(level=1)
    worker.sleep()
    assert asked == [2, 2]


@pytest.mark.parametrize(
    ("level", "shown"), [("WARNING", ["torch.compile took 17.42 s", "something is odd"]), ("ERROR", [])]
)
def test_of_what_vllm_would_tell_the_seconds_of_its_start_are_kept(level, shown, monkeypatch):
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setLevel(level)
    root = logging.getLogger("vllm")
    monkeypatch.setattr(root, "handlers", [handler])
    monkeypatch.setattr(root, "level", logging.getLevelName(level))
    for name in START_LOGGERS:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    logging.Logger.manager._clear_cache()  # pyright: ignore[reportAttributeAccessIssue]  (of the levels changed above)
    tell_the_start()
    logging.getLogger("vllm.compilation.monitor").info("torch.compile took 17.42 s")
    logging.getLogger("vllm.v1.core.block_pool").info("Successfully reset prefix cache")
    logging.getLogger("vllm.v1.core.block_pool").warning("something is odd")
    assert out.getvalue().splitlines() == shown


def test_which_token_has_which_adapter_is_forgotten_before_weights_arrive(monkeypatch):
    """vLLM writes it to the card only when it differs from the batch before, and what was on the card is lost
    in a sleep."""
    manager = SimpleNamespace(_last_mapping="of the last batch")
    seen = []
    monkeypatch.setattr(
        EngineWorkerExtension,
        "update_weights_from_ipc",
        lambda self, *a, **k: seen.append((manager._last_mapping, k)),
    )
    worker = object.__new__(ForgettingWorkerExtension)
    worker.model_runner = SimpleNamespace(lora_manager=SimpleNamespace(_adapter_manager=manager))
    worker.update_weights_from_ipc(base_sync_done=False)
    assert seen == [(None, {"base_sync_done": False})]


def test_the_highest_rank_of_adapters_is_the_engines():
    from vllm.config.lora import MaxLoRARanks

    highest = max(get_args(MaxLoRARanks))
    load_config(["recipe=cpu_tiny", f"model.lora_rank={highest}"])
    with pytest.raises(ConfigError, match=f"from 0 to {highest}"):
        load_config(["recipe=cpu_tiny", f"model.lora_rank={highest + 1}"])


MERGED = ("rollout.merge_adapters=true",)
TWO_CARDS = ("train.n_gpus_per_node=2", "train.compile_layers=false")


@pytest.mark.parametrize(
    ("settings", "extension", "weights", "merged"),
    [
        (["recipe=0_5b_16gb"], "EngineWorkerExtension", "dummy", False),
        (["recipe=3b_lora_16gb"], "ForgettingWorkerExtension", "dummy", False),
        (["recipe=7b_int4_16gb"], "Int4WorkerExtension", "dummy", False),
        (["recipe=3b_lora_16gb", *MERGED], "EngineWorkerExtension", "dummy", True),
        (["recipe=3b_lora_16gb", *MERGED, *TWO_CARDS], "EngineWorkerExtension", "auto", False),
    ],
)
def test_where_the_engine_has_its_weights_from(settings, extension, weights, merged, tmp_path):
    config = load_config(settings).config
    shutil.copy(TINY / "config.json", tmp_path)
    whole = build_verl_config(config, tmp_path, tmp_path, "cuda").actor_rollout_ref
    assert whole.model.lora.merge is merged and whole.model.lora.rank == 0  # the rank stands in lora_rank
    made = whole.rollout
    assert made.engine_kwargs.vllm.worker_extension_cls == f"azr.train.verl.engine_worker.{extension}"
    assert made.load_format == weights
    assert made.engine_kwargs.vllm.linear_backend == ("marlin" if extension.startswith("Int4") else "auto")


@pytest.mark.parametrize(
    ("settings", "device", "executor"),
    [
        (["recipe=cpu_tiny"], "cpu", "UniProcExecutor"),
        (["recipe=cpu_tiny", "train.n_gpus_per_node=2"], "cpu", "UniProcExecutor"),
        (
            ["recipe=cpu_tiny", "train.n_gpus_per_node=2", "rollout.tensor_parallel=2"],
            "cpu",
            "MultiprocExecutor",
        ),
        (["recipe=0_5b_16gb"], "cuda", "MultiprocExecutor"),
    ],
)
def test_scheduler_and_model_in_one_process_without_a_card(settings, device, executor, tmp_path):
    from vllm.v1.executor.abstract import Executor

    shutil.copy(TINY / "config.json", tmp_path)
    made = build_verl_config(
        load_config(settings).config, tmp_path, tmp_path, device
    ).actor_rollout_ref.rollout
    chosen = made.engine_kwargs.vllm.distributed_executor_backend
    asked: Any = SimpleNamespace(
        parallel_config=SimpleNamespace(distributed_executor_backend=chosen, nnodes=1)
    )
    assert Executor.get_class(asked).__name__ == executor


@pytest.mark.parametrize(("device", "platform"), [("cpu", "cpu"), ("cuda", "nvidia_shm")])
def test_weights_of_any_model_fit_the_buffer_in_shared_memory(device, platform, tmp_path, monkeypatch):
    """A model of Qwen's vocabulary with the recipe of the tiny one: verl refused its embeddings at the first sending,
    twice, and named a key of its own."""
    monkeypatch.setenv("VERL_PLATFORM", platform)
    tiny = json.loads((TINY / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**tiny, "vocab_size": 151936}))
    config = load_config(["recipe=cpu_tiny"]).config
    made = build_verl_config(config, tmp_path, tmp_path, device).actor_rollout_ref.rollout
    value_bytes = 4 if device == "cpu" else 2
    needed = 151936 * tiny["hidden_size"] * value_bytes / 2**20
    assert needed <= made.checkpoint_engine.update_weights_bucket_megabytes < needed + 1
    monkeypatch.delenv("VERL_PLATFORM")
    made = build_verl_config(config, tmp_path, tmp_path, "cuda").actor_rollout_ref.rollout
    assert made.checkpoint_engine.update_weights_bucket_megabytes == config.rollout.sync_bucket_mib


@pytest.mark.parametrize(
    ("settings", "values", "attention"),
    [
        ([], {}, "azr_packed"),
        (["train.packed_sequences=false"], {}, "sdpa"),
        # torch's own would leave the cap out
        (["train.packed_sequences=false"], {"attn_logit_softcapping": 50.0}, "eager"),
    ],
)
def test_the_trainers_attention_and_no_dropout(settings, values, attention, tmp_path):
    changed = {**json.loads((TINY / "config.json").read_text()), "attention_dropout": 0.1, "resid_pdrop": 0.0}
    (tmp_path / "config.json").write_text(json.dumps({**changed, **values}))
    made = build_verl_config(
        load_config(["recipe=cpu_tiny", *settings]).config, tmp_path, tmp_path, "cpu"
    ).actor_rollout_ref.model
    assert made.override_config == {"attn_implementation": attention, "attention_dropout": 0.0}


@pytest.mark.slow
def test_an_engine_that_lost_base_and_adapters_is_sent_both(tmp_path):
    """The real engine on a CPU, which has no sleep; the names and the way are those of training with adapters
    on one card."""
    config = Qwen2Config(
        vocab_size=1024, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        tie_word_embeddings=True, initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "model")
    script = Path(__file__).parent / "engine_forgets.py"
    command = [sys.executable, str(script), str(tmp_path / "model"), str(tmp_path / "rendezvous")]
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, list[list[int]]] = {}
    for line in done.stdout.splitlines():
        if line.startswith('{"'):
            told |= json.loads(line)
    assert told["before"] == told["trainer"]
    assert told["lost"] != told["trainer"]
    assert told["sent"] == told["trainer"]
    assert len({tuple(row) for row in told["trainer"]}) > 1
