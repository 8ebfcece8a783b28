"""Translates our configuration into verl's: its own defaults, composed by Hydra, with ``settings.yaml`` on top.

Everything verl would do otherwise (data loaders, critics, reward models, validation files) stays at its
default and unused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from azr.budget.shape import shape_from_config
from azr.config import Config, from_container, to_container
from azr.models.families import DROPOUT_KEYS
from azr.models.weight_files import read_json_file
from azr.train.ipc_check import SHARED_MEMORY_PLATFORM
from azr.train.kernels.attention import IMPLEMENTATION as PACKED_ATTENTION
from azr.train.kernels.optimizers import verl_optimizer

SETTINGS = Path(__file__).with_name("settings.yaml")
ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""Scheduler and model of vLLM's engine in one process. In two they wait for each other by spinning, on the cores that
the model needs (vLLM's CPU build makes two of them where the short name ``uni`` is asked for)."""


def build_verl_config(config: Config, model_folder: Path, run_dir: Path, device: str) -> DictConfig:
    """
    Args:
        device: ``cpu`` or ``cuda``.

    Returns:
        verl's configuration; our own lies under its key ``azr`` as plain values.
    """
    import verl.trainer.config as package

    GlobalHydra.instance().clear()
    folder = str(Path(next(iter(package.__path__))).resolve())
    with initialize_config_dir(config_dir=folder, version_base=None):
        verl_config = compose("ppo_trainer")
    OmegaConf.set_struct(verl_config, False)
    own = {"azr": to_container(config), "derived": _derived(config, model_folder, run_dir, device)}
    optimizer = verl_optimizer(config.train.optimizer, on_gpu=device == "cuda")
    merged = OmegaConf.merge(
        verl_config, OmegaConf.load(SETTINGS), own, {"actor_rollout_ref": {"actor": {"optim": optimizer}}}
    )
    assert isinstance(merged, DictConfig)
    return merged


def _derived(config: Config, model_folder: Path, run_dir: Path, device: str) -> dict[str, Any]:
    """What ``settings.yaml`` needs and our configuration does not hold as it is."""
    model, train, rollout = config.model, config.train, config.rollout
    on_gpu = device == "cuda"
    one_gpu = on_gpu and train.gpus == 1
    streams = len(config.selfplay.task_types) * (2 if config.selfplay.train_propose else 1)
    context_tokens = rollout.max_prompt_tokens + rollout.max_response_tokens
    merge = bool(model.lora_rank) and rollout.merge_adapters and train.gpus == 1
    eager = rollout.enforce_eager or not on_gpu
    extension = "EngineWorkerExtension"
    if one_gpu and model.base_format == "int4":
        extension = "Int4WorkerExtension"
    elif one_gpu and model.lora_rank and not merge and rollout.sleep:
        extension = "ForgettingWorkerExtension"

    return {
        "rows": config.selfplay.batch_size * streams,
        "context_tokens": context_tokens,
        "micro_batch_tokens": max(train.micro_batch_tokens, context_tokens),
        "engines_logprobs": not train.recompute_logprobs,
        "lr_scheduler": "cosine" if train.decay_steps else "constant",
        "master_dtype": "fp32" if train.master_dtype == "float32" else "bf16",
        "compute_dtype": train.compute_dtype if on_gpu else "float32",
        "param_dtype": "bf16" if train.compute_dtype == "bfloat16" else "fp32",
        "compile_layers": train.compile_layers and on_gpu,
        "liger": train.liger_kernels and on_gpu,
        "model_folder": str(model_folder),
        "model_overrides": _model_overrides(config, model_folder),
        "enforce_eager": eager,
        "cuda_graph_sizes": None if eager else list(rollout.cuda_graph_sizes),
        "sleep": rollout.sleep and on_gpu,
        "merge_adapters": merge,
        # dummy: the trainer sends all weights
        "load_format": "dummy" if one_gpu or (on_gpu and not model.lora_rank) else "auto",
        "engine_extension": extension if on_gpu else "OwnSocketExtension",
        "engine_executor": "mp" if on_gpu or rollout.tensor_parallel > 1 else ONE_PROCESS,
        # vLLM's own choice on Hopper is another kernel, with another layout than a consumer card's
        "linear_backend": "marlin" if on_gpu and model.base_format == "int4" else "auto",
        "device": device,
        "sync_bucket_mib": _bucket_mib(config, model_folder, on_gpu),
        "run_name": run_dir.name,
        "checkpoints": str(run_dir / "checkpoints"),
    }


def _bucket_mib(config: Config, model_folder: Path, on_gpu: bool) -> int:
    """Large enough for every tensor where nothing goes by CUDA IPC, whatever model the recipe was made for."""
    if on_gpu and os.environ.get("VERL_PLATFORM") != SHARED_MEMORY_PLATFORM:
        return config.rollout.sync_bucket_mib
    file = model_folder / "config.json"
    value_bytes = 2 if on_gpu and config.train.compute_dtype == "bfloat16" else 4
    return shape_from_config(read_json_file(file), str(file)).bucket_mib(
        config.rollout.sync_bucket_mib, value_bytes
    )


def _model_overrides(config: Config, model_folder: Path) -> dict[str, Any]:
    """What the trainer's copy of the model's configuration says otherwise: its attention, and no dropout,
    which the engine has not."""
    values = read_json_file(model_folder / "config.json")
    # sdpa silently leaves soft-capping out
    own = "eager" if values.get("attn_logit_softcapping") is not None else "sdpa"
    dropped = {key: 0.0 for key in DROPOUT_KEYS if values.get(key)}
    return {"attn_implementation": PACKED_ATTENTION if config.train.packed_sequences else own, **dropped}


def config_from_verl(verl_config: DictConfig) -> Config:
    """Our typed configuration, back from where ``build_verl_config`` put it."""
    plain = OmegaConf.to_container(verl_config.azr, resolve=True)
    assert isinstance(plain, dict)
    return from_container({str(key): value for key, value in plain.items()})
