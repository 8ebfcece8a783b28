"""TRL's GRPO trainer with vLLM in its own process, asleep while it updates; with ``liger`` its layers run
Liger's kernels.

Settings: ``micro``, ``share``, ``liger``, ``correct`` (recompute the log-probs to correct for the engine's:
TRL's default; without it a step is shorter), ``sleep``, ``checkpoint`` (recompute activations: less memory),
``compile`` (torch.compile of the model).
"""

from __future__ import annotations

from importlib.metadata import version

from peers.common import Order, say_settings
from peers.trl_hooks import grpo_settings, train, uses_engine


def main() -> None:
    order = Order.here()
    work, settings, rehearse = order.work, order.settings, order.rehearse

    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    engine = uses_engine(order)
    if rehearse and engine:  # vLLM packs its weights on a CPU, and could not be sent others
        from azr.train.patches.vllm_on_cpu import keep_plain_linear_weights

        keep_plain_linear_weights()
    forced = {"min_tokens": work.response_tokens, "ignore_eos": True, "detokenize": False}
    config = GRPOConfig(
        **grpo_settings(order),
        model_init_kwargs={
            "dtype": "float32" if rehearse else "bfloat16",
            "attn_implementation": str(settings.get("attention", "sdpa")),
        },
        gradient_checkpointing=bool(settings.get("checkpoint", True)),
        gradient_checkpointing_kwargs={"use_reentrant": False},
        use_liger_kernel=bool(settings.get("liger", False)),
        torch_compile=bool(settings.get("compile", False)),
        vllm_mode="colocate",
        vllm_enable_sleep_mode=bool(settings.get("sleep", not rehearse)),
        vllm_gpu_memory_utilization=float(settings.get("share", 0.3)),
        vllm_max_model_length=work.prompt_tokens + work.response_tokens,
        generation_kwargs=forced if engine else {"min_new_tokens": work.response_tokens},
    )
    adapters = LoraConfig(
        r=max(1, work.lora_rank),
        lora_alpha=2 * work.lora_rank,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    say_settings(trl=version("trl"), transformers=version("transformers"), **settings)
    train(
        order,
        GRPOTrainer,
        config,
        order.model,
        AutoTokenizer.from_pretrained(order.model),
        peft_config=adapters if work.lora_rank else None,
    )


if __name__ == "__main__":
    main()
