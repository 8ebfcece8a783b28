"""The names that other trainers give to settings, for the message about a key that there is not."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OURS = {
    "name": "run_name exp_name experiment experiment_name run_id",
    "runs_dir": "output_dir out_dir out output save_dir logging_dir default_local_dir",
    "seed": "random_seed data_seed",
    "model.path": "model model_name model_id model_name_or_path base_model pretrained pretrained_model hf_model",
    "model.lora_rank": "lora lora_r r rank use_lora use_peft peft",
    "model.base_format": "load_in_4bit load_in_8bit quantization quantize qlora bits",
    "selfplay.batch_size": "bs batch train_batch_size global_batch_size per_device_train_batch_size rollout_batch_size",
    "selfplay.difficulty_samples": "n num_generations group_size num_samples n_samples rollouts n_rollouts rollout_n",
    "selfplay.frame": "template prompt_template chat_template prompt system_prompt",
    "rollout.max_prompt_tokens": "max_prompt_length prompt_length",
    "rollout.max_response_tokens": "max_tokens max_new_tokens max_length max_response_length max_completion_length response_length "
    "max_seq_length max_model_len context_length",
    "rollout.max_sequences": "max_num_seqs",
    "rollout.max_batched_tokens": "max_num_batched_tokens",
    "rollout.gpu_memory_share": "gpu_memory_utilization vllm_gpu_memory_utilization",
    "budget.gpu_limit_gib": "gpu_memory vram",
    "rollout.tensor_parallel": "tp tensor_parallel_size tensor_model_parallel_size",
    "train.learning_rate": "lr actor_lr policy_lr max_lr",
    "train.warmup_steps": "warmup lr_warmup_steps num_warmup_steps warmup_ratio lr_warmup_steps_ratio",
    "train.decay_steps": "scheduler lr_scheduler lr_scheduler_type lr_decay_steps",
    "train.weight_decay": "wd",
    "train.grad_clip": "max_grad_norm gradient_clipping clip_grad clip_grad_norm",
    "train.clip_high": "clip_ratio cliprange epsilon clip_eps",
    "train.entropy_coefficient": "entropy_coeff entropy_coef ent_coef",
    "train.optimizer": "optim",
    "train.compute_dtype": "bf16 fp16 precision mixed_precision torch_dtype dtype",
    "train.micro_batch_tokens": "micro_batch_size gradient_accumulation_steps grad_accum accumulation ppo_micro_batch_size "
    "ppo_micro_batch_size_per_gpu ppo_max_token_len_per_gpu",
    "train.mini_batch_sequences": "mini_batch_size ppo_mini_batch_size",
    "train.save_every_steps": "save_steps save_freq save_every save_interval checkpoint_every",
    "train.probe_every_steps": "eval_steps test_freq eval_every eval_interval eval_freq val_freq",
    "train.n_gpus_per_node": "gpus n_gpus num_gpus ngpus ngpu world_size nproc_per_node num_processes",
    "train.n_nodes": "nodes num_nodes nnodes num_machines",
    "campaign.hours": "time time_limit max_hours max_time duration",
    "campaign.keep_last": "save_total_limit max_checkpoints max_actor_ckpt_to_keep",
    "data.extra_files": "data dataset datasets dataset_name data_path train_file train_files train_data",
    "data.probe_files": "val_files val_data eval_dataset eval_data test_file",
    "report.loggers": "report_to logger wandb tensorboard use_wandb",
    "report.wandb_project": "project project_name",
}
"""Our key -> what it is called elsewhere."""
_NONE_OF_OURS = {
    "temperature top_p top_k min_p repetition_penalty frequency_penalty presence_penalty": "a run samples at temperature 1 and "
    "cuts nothing off, because its advantages rest on that; azr evaluate has --temperature and --top-p",
    "epochs epoch num_epochs num_train_epochs total_epochs ppo_epochs": "there are no epochs, as each batch is new and used once; "
    "campaign.cycles times campaign.steps_per_cycle is the number of steps",
    "kl beta kl_coef kl_coeff kl_loss_coef use_kl_loss init_kl_coef ref_model gamma lam critic critic_lr value_lr": "the published "
    "algorithm has no KL term, reference model or critic",
    "steps max_steps num_steps total_steps total_training_steps train_steps iterations max_iterations": "campaign.cycles times "
    "campaign.steps_per_cycle is the number of steps",
    "resume resume_from resume_from_checkpoint resume_mode checkpoint": "the same command resumes a run, by its name=",
    "gpu gpu_id gpu_ids device device_id device_ids devices cuda cuda_device cuda_visible_devices local_rank": "which cards a run sees "
    "is said before the command, CUDA_VISIBLE_DEVICES=0; train.n_gpus_per_node is how many it uses, and train.device=cpu uses none",
    "dry_run dryrun check validate test": "azr preflight calculates whether a run fits, and azr run --cfg job prints its settings; "
    "neither begins one",
    "verbose verbosity quiet silent debug log_level": "the run's folder has the trainer's whole log; report.live=false prints plain lines",
    "force yes overwrite overwrite_output_dir restart": "a run asks nothing, and goes on where it stopped; name=OTHER begins another",
    "config config_file config_name config_path config_dir": "a file of settings is put into configs/recipe and chosen by recipe=NAME "
    "(docs/howto/recipes.md); a run that has begun goes on by its name=",
}  # fmt: skip


_VALUES = {"bfloat16": "bf16", "float32": "fp32 f32 full", "cuda": "gpu"}
"""Our word -> what it is called elsewhere."""


def usual_value(typed: object, words: Sequence[str]) -> str:
    """The one of ``words`` that differs in capitals and in what stands between its letters alone, or is called so elsewhere;
    empty for none."""

    def letters(text: str) -> str:
        return re.sub(r"[^a-z0-9]+", "", text.lower().removeprefix("torch."))

    card = re.fullmatch(r"(?:cuda|gpu):(\d+)", str(typed), re.IGNORECASE)
    if card and "cuda" in words:
        return f"cuda, and CUDA_VISIBLE_DEVICES={card[1]} before the command"
    named = letters(str(typed))
    return next((word for word in words if named in (letters(word), *_VALUES.get(word, "").split())), "")


def usual_name(key: str) -> str:
    """What there is in place of a key by another trainer's name, as an end of the message; empty where that is not
    known."""
    last = key.rpartition(".")[2].strip(" -").lower().replace("-", "_")
    ours = next((name for name, others in _OURS.items() if last in others.split()), "")
    if ours:
        return f"here it is {ours}"
    return next((told for others, told in _NONE_OF_OURS.items() if last in others.split()), "")
