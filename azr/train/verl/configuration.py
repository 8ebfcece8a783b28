"""Translates our configuration into verl's: its own defaults, composed by Hydra, with the values below on top.

Everything verl would do otherwise (data loaders, critics, reward models, validation files) stays at its default and unused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from azr.config import Config, to_container
from azr.models.families import DROPOUT_KEYS
from azr.models.weight_files import read_json_file
from azr.train.kernels.attention import IMPLEMENTATION as PACKED_ATTENTION
from azr.train.kernels.optimizers import verl_optimizer


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
    settings = _settings(config, model_folder, run_dir, device)
    OmegaConf.set_struct(verl_config, False)
    for key, value in settings.items():
        OmegaConf.update(verl_config, key, value, force_add=True)
    with open_dict(verl_config):
        verl_config.azr = to_container(config)
    return verl_config


def rows_per_step(config: Config) -> int:
    """Prompts of one full step: a propose and a solve stream for each task type."""
    roles = 2 if config.selfplay.train_propose else 1
    return config.selfplay.batch_size * roles * len(config.selfplay.task_types)


def _settings(config: Config, model_folder: Path, run_dir: Path, device: str) -> dict[str, Any]:
    model, train, rollout = config.model, config.train, config.rollout
    on_gpu = device == "cuda"
    rows = rows_per_step(config)
    context_tokens = rollout.max_prompt_tokens + rollout.max_response_tokens
    micro_batch_tokens = max(train.micro_batch_tokens, context_tokens)
    one_gpu = on_gpu and train.gpus == 1
    extension = "ForgettingWorkerExtension" if one_gpu and model.lora_rank and rollout.sleep else "EngineWorkerExtension"
    extension = extension if on_gpu else "OwnSocketExtension"
    actor, engine, ref = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.model"
    settings: dict[str, Any] = {
        # the algorithm: advantages are ours (trainer.py); one update a step on the whole batch, no KL, no critic
        "algorithm.adv_estimator": "reinforce_plus_plus",
        "algorithm.use_kl_in_reward": False,
        "algorithm.rollout_correction.bypass_mode": not train.recompute_logprobs,
        "data.train_batch_size": rows,
        "data.max_prompt_length": rollout.max_prompt_tokens,
        "data.max_response_length": rollout.max_response_tokens,
        f"{actor}.ppo_mini_batch_size": rows,
        f"{actor}.use_dynamic_bsz": True,
        f"{actor}.ppo_max_token_len_per_gpu": micro_batch_tokens,
        f"{actor}.ppo_epochs": 1,
        f"{actor}.clip_ratio_low": train.clip_low,
        f"{actor}.clip_ratio_high": train.clip_high,
        f"{actor}.clip_ratio": train.clip_low,
        f"{actor}.entropy_coeff": train.entropy_coefficient,
        f"{actor}.calculate_entropy": True,
        f"{actor}.use_kl_loss": False,
        f"{actor}.loss_agg_mode": "token-mean",
        f"{actor}.grad_clip": train.grad_clip,
        f"{actor}.use_torch_compile": False,
        f"{actor}.optim.lr": train.learning_rate,
        f"{actor}.optim.lr_warmup_steps": train.warmup_steps,
        f"{actor}.optim.weight_decay": train.weight_decay,
        f"{actor}.optim.clip_grad": train.grad_clip,
        f"{actor}.optim.lr_scheduler_type": "cosine" if train.decay_steps else "constant",
        **{f"{actor}.optim.{key}": value for key, value in verl_optimizer(train.optimizer, on_gpu=on_gpu).items()},
        f"{actor}.strategy": "fsdp",
        f"{actor}.fsdp_config.strategy": "fsdp",
        f"{actor}.fsdp_config.use_torch_compile": False,
        f"{actor}.fsdp_config.model_dtype": "fp32" if train.master_dtype == "float32" else "bf16",
        f"{actor}.fsdp_config.dtype": train.compute_dtype if on_gpu else "float32",
        # gradients of float32 weights add up in float32 over the micro-batches (verl's default adds them in bfloat16);
        # those of bfloat16 weights are never copied to float32, which would cost as much as the output head
        f"{actor}.fsdp_config.use_no_sync_for_gradient_accumulation": False,
        f"{actor}.fsdp_config.mixed_precision": {
            "param_dtype": "bf16" if train.compute_dtype == "bfloat16" else "fp32",
            "reduce_dtype": "fp32" if train.master_dtype == "float32" else "bf16",
            "buffer_dtype": "fp32",
        },
        f"{actor}.fsdp_config.param_offload": train.param_offload,
        f"{actor}.fsdp_config.optimizer_offload": train.optimizer_offload,
        f"{actor}.checkpoint.save_contents": ["model", "optimizer", "extra"],
        # the model
        f"{ref}.path": str(model_folder),
        f"{ref}.trust_remote_code": model.trust_remote_code,
        f"{ref}.enable_gradient_checkpointing": train.gradient_checkpointing,
        f"{ref}.use_remove_padding": train.packed_sequences,
        f"{ref}.use_fused_kernels": train.chunked_logprobs,  # azr.train.verl.packed gives the model the forward that this asks for
        f"{ref}.fused_kernel_options": {
            "impl_backend": None,
            "chunk_tokens": train.logprob_chunk_tokens,
            "compile_layers": train.compile_layers and on_gpu,
        },
        f"{ref}.use_liger": train.liger_kernels and on_gpu,
        f"{ref}.lora_rank": model.lora_rank,
        f"{ref}.lora_alpha": model.lora_alpha,
        **{f"{ref}.override_config.{key}": value for key, value in _model_overrides(config, model_folder).items()},
        # the engine
        f"{engine}.name": "vllm",
        f"{engine}.mode": "async",
        f"{engine}.n": 1,
        f"{engine}.temperature": 1.0,
        f"{engine}.top_p": 1.0,
        f"{engine}.top_k": -1,
        f"{engine}.calculate_log_probs": True,
        f"{engine}.dtype": rollout.dtype,
        f"{engine}.max_model_len": context_tokens,
        f"{engine}.max_num_seqs": rollout.max_sequences,
        f"{engine}.max_num_batched_tokens": rollout.max_batched_tokens,
        f"{engine}.gpu_memory_utilization": rollout.gpu_memory_share,
        f"{engine}.enforce_eager": rollout.enforce_eager or not on_gpu,
        f"{engine}.cudagraph_capture_sizes": list(rollout.cuda_graph_sizes) if on_gpu and not rollout.enforce_eager else None,
        f"{engine}.enable_prefix_caching": rollout.prefix_caching,
        f"{engine}.free_cache_engine": rollout.sleep and on_gpu,
        f"{engine}.enable_sleep_mode": rollout.sleep and on_gpu,
        f"{engine}.tensor_model_parallel_size": rollout.tensor_parallel,
        f"{engine}.load_format": "dummy" if one_gpu or (on_gpu and not model.lora_rank) else "auto",  # dummy: the trainer sends all weights
        f"{engine}.checkpoint_engine.update_weights_bucket_megabytes": rollout.sync_bucket_mib,
        f"{engine}.log_prob_use_dynamic_bsz": True,
        f"{engine}.log_prob_max_token_len_per_gpu": micro_batch_tokens,
        f"{engine}.agent.num_workers": rollout.agent_workers,
        f"{engine}.agent.agent_loop_manager_class": "azr.train.verl.agent_worker.SelfPlayAgentLoopManager",
        f"{engine}.seed": config.seed,
        f"{engine}.disable_log_stats": True,
        f"{engine}.engine_kwargs.vllm.worker_extension_cls": f"azr.train.verl.engine_worker.{extension}",
        # the trainer
        "trainer.use_v1": True,
        "trainer.v1.trainer_mode": "sync",  # verl compares this very string; ours derives from the sync trainer
        "trainer.device": device,
        "trainer.n_gpus_per_node": train.n_gpus_per_node,
        "trainer.nnodes": train.n_nodes,
        "trainer.project_name": "azr",
        "trainer.experiment_name": run_dir.name,
        "trainer.logger": [],
        "trainer.default_local_dir": str(run_dir / "checkpoints"),
        "trainer.resume_mode": "disable",  # checkpoints are restored by our trainer, after their hashes are checked
        "trainer.critic_warmup": 0,
        "reward.num_workers": 0,  # rewards come from the agent loops
        "transfer_queue.enable": True,
        "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
    }
    return settings


def _model_overrides(config: Config, model_folder: Path) -> dict[str, Any]:
    """What the trainer's copy of the model's configuration says otherwise: its attention, and no dropout, which the engine has not."""
    values = read_json_file(model_folder / "config.json")
    own = "eager" if values.get("attn_logit_softcapping") is not None else "sdpa"  # sdpa leaves soft-capping out without a word
    dropped = {key: 0.0 for key in DROPOUT_KEYS if values.get(key)}
    return {"attn_implementation": PACKED_ATTENTION if config.train.packed_sequences else own, **dropped}


def config_from_verl(verl_config: DictConfig) -> Config:
    """Our typed configuration, back from where ``build_verl_config`` put it."""
    from azr.config import from_container

    plain = OmegaConf.to_container(verl_config.azr, resolve=True)
    assert isinstance(plain, dict)
    return from_container({str(key): value for key, value in plain.items()})
