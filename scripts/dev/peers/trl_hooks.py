"""What TRL's GRPO trainer and Unsloth's, which is made of it, are asked in common, and where their time is read.

Hooks alone: what is trained, and how, is theirs. Prompts come as token ids, rewards from ``common.reward``.
"""

from __future__ import annotations

from typing import Any

from peers.common import Mismatch, Order, Phases, cuda_synchronize, reward

SAMPLED = "sampling_per_token_logps"
THEIR_MISMATCH = "sampling/sampling_logp_difference/mean"


def grpo_settings(order: Order) -> dict[str, Any]:
    """The arguments of ``GRPOConfig`` that are the same work, or the same for both."""
    work, settings, rehearse = order.work, order.settings, order.rehearse
    micro = int(settings["micro"])
    return {
        "output_dir": str(settings["scratch"]),
        "max_steps": work.steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": work.sequences // micro,
        "num_generations": work.group,
        "max_completion_length": work.response_tokens,
        "num_iterations": 1,
        "beta": 0.0,
        "loss_type": "dapo",
        "learning_rate": 1e-6,
        "lr_scheduler_type": "constant",
        "optim": "adamw_torch" if rehearse else "adamw_8bit",
        "bf16": not rehearse,
        "use_cpu": rehearse,
        "shuffle_dataset": False,
        "save_strategy": "no",
        "report_to": [],
        "logging_steps": 1,
        "disable_tqdm": True,
        "temperature": 1.0,
        "use_vllm": uses_engine(order),
        "vllm_importance_sampling_correction": bool(settings.get("correct", False)),
    }


def uses_engine(order: Order) -> bool:
    """Only a rehearsal may go without: then the trainer's own model generates."""
    return bool(order.settings.get("engine", True)) or not order.rehearse


def train(order: Order, base: Any, config: Any, model: Any, tokenizer: Any, **arguments: Any) -> None:
    """Trains ``order.work.steps`` steps and prints them.

    Args:
        base: the trainer's class.
    """
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback

    work = order.work
    flat = [ids for step in order.step_prompts() for ids in step]
    phases, mismatch = Phases(cuda_synchronize), Mismatch()

    class Trainer(base):
        compared: Any = None
        """Inputs of the pass that runs, in the first step."""

        def _tokenize_prompts(self, prompts: list[str]) -> Any:
            return [flat[int(place)] for place in prompts], None, {}

        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            self.compared = inputs if self.state.global_step == 0 and SAMPLED in inputs else None
            return super()._compute_loss(model, inputs)

        def _get_per_token_logps_and_entropies(self, *positional: Any, **named: Any) -> Any:
            if not torch.is_grad_enabled():
                with phases.timed("log_probs"):
                    return super()._get_per_token_logps_and_entropies(*positional, **named)
            found = super()._get_per_token_logps_and_entropies(*positional, **named)
            if self.compared is not None:
                mismatch.add(self.compared[SAMPLED], found[0], self.compared["completion_mask"])
            return found

    class Steps(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            phases.restart()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            found = mismatch.value()
            if found is None:  # the library's own, where its loss does not pass through the hook
                theirs = trainer._metrics["train"].get(THEIR_MISMATCH)
                found = theirs[-1] if theirs else None
            phases.end_step(
                state.global_step,
                rest="update",  # the optimizer's own step
                mismatch=found if state.global_step == 1 else None,
                sequences=work.sequences,
            )

    drawn = {"next": 0}

    def rewards(completions: list[Any], **_: Any) -> list[float]:
        first = drawn["next"]
        drawn["next"] += len(completions)
        return [reward(place // work.sequences, place) for place in range(first, first + len(completions))]

    trainer = Trainer(
        model=model,
        reward_funcs=rewards,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": [str(place) for place in range(len(flat))]}),
        processing_class=tokenizer,
        callbacks=[Steps()],
        **arguments,
    )
    phases.wrap(trainer, "_generate_and_score_completions", "other")
    phases.wrap(trainer, "training_step", "update")
    if uses_engine(order):
        generation = trainer.vllm_generation
        phases.wrap(generation, "generate", "generate")
        phases.wrap(generation, "sync_weights", "sync")
        phases.wrap(generation.llm, "sleep", "sync")
        phases.wrap(generation.llm, "wake_up", "sync")
    else:
        phases.wrap(trainer, "_generate_single_turn", "generate")
    trainer.train()
