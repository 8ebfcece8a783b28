"""Unsloth's GRPO: TRL's trainer rewritten, adapters on a base that trainer and vLLM share, KV cache freed while
it updates. Without a card (a rehearsal) it trains, and its own model generates.

Settings: ``micro``, ``share``, ``four_bit`` (an NF4 base), ``correct`` (as TRL's).
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

from peers.common import Order, say_settings
from peers.trl_hooks import grpo_settings, train, uses_engine


def main() -> None:
    order = Order.here()
    work, settings = order.work, order.settings
    if not work.lora_rank:
        raise SystemExit("Unsloth shares its weights with vLLM for adapters only; give a LoRA rank")
    os.environ.setdefault("UNSLOTH_VLLM_STANDBY", "1")  # before the import

    from unsloth import FastLanguageModel  # isort: skip  (it patches what is imported after it)
    from trl import GRPOConfig, GRPOTrainer

    engine = uses_engine(order)
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=order.model,
        max_seq_length=work.prompt_tokens + work.response_tokens,
        load_in_4bit=bool(settings.get("four_bit", False)),
        fast_inference=engine,
        max_lora_rank=work.lora_rank,
        gpu_memory_utilization=float(settings.get("share", 0.3)),
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=work.lora_rank,
        lora_alpha=2 * work.lora_rank,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        use_gradient_checkpointing="unsloth",
    )
    lengths: dict[str, Any] = {"generation_kwargs": {"min_new_tokens": work.response_tokens}}
    if engine:
        from vllm import SamplingParams

        forced: dict[str, Any] = {"min_tokens": work.response_tokens, "max_tokens": work.response_tokens}
        lengths = {"vllm_sampling_params": SamplingParams(**forced, ignore_eos=True, detokenize=False)}
    config = GRPOConfig(**grpo_settings(order), **lengths)
    say_settings(unsloth=version("unsloth"), trl=version("trl"), **settings)
    train(order, GRPOTrainer, config, model, tokenizer)


if __name__ == "__main__":
    main()
