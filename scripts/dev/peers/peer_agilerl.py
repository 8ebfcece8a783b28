"""AgileRL's GRPO with its colocated vLLM; it trains adapters only, so ``lora_rank`` must be set.

Settings: ``micro``, ``share``, ``sequences`` (at once in the engine), ``four_bit`` (an NF4 base on both sides),
``packed`` (one row for several sequences in the update; needs FlashAttention), ``liger`` (its loss).
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from peers.common import Mismatch, Order, Phases, cuda_synchronize, reward, say_settings


def main() -> None:
    order = Order.here()
    work, settings, rehearse = order.work, order.settings, order.rehearse
    if not work.lora_rank:
        raise SystemExit("AgileRL trains adapters only; give a LoRA rank")

    import torch
    import transformers

    if rehearse:  # Liger's kernels are Triton's
        import agilerl

        agilerl.HAS_LIGER_KERNEL = False
    from agilerl.algorithms.grpo import GRPO
    from agilerl.utils.algo_utils import VLLMConfig
    from peft import LoraConfig
    from transformers import AutoTokenizer

    phases, mismatch = Phases(cuda_synchronize), Mismatch()
    tokenizer = AutoTokenizer.from_pretrained(order.model)
    four_bit, colocated = bool(settings.get("four_bit")), bool(settings.get("engine", True))
    quantization = None
    if four_bit:
        from agilerl.utils.llm_utils import build_bnb_quantization_config

        quantization = build_bnb_quantization_config("nf4")
    engine = VLLMConfig(
        gpu_memory_utilization=float(settings.get("share", 0.3)),
        max_num_seqs=int(settings.get("sequences", work.sequences)),
        max_num_batched_tokens=4096,
        sleep_mode=not rehearse,
        dtype="float32" if rehearse else "bfloat16",
        max_lora_rank=max(8, work.lora_rank),
        quantization="bitsandbytes" if four_bit else None,
    )
    agent = GRPO(
        pad_token_id=tokenizer.pad_token_id,
        pad_token=tokenizer.pad_token,
        model_name=order.model,
        model_config={
            "dtype": torch.float32 if rehearse else torch.bfloat16,
            "attn_implementation": "sdpa",
        },
        batch_size=work.groups,
        group_size=work.group,
        micro_batch_size_per_gpu=int(settings["micro"]),
        beta=0.0,
        lr=1e-6,
        update_epochs=1,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        max_output_tokens=work.response_tokens,
        min_output_tokens=work.response_tokens,
        max_model_len=work.prompt_tokens + work.response_tokens,
        lora_config=LoraConfig(
            r=work.lora_rank,
            lora_alpha=2 * work.lora_rank,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            task_type="CAUSAL_LM",
        ),
        use_separate_reference_adapter=False,
        use_liger_loss=bool(settings.get("liger", False)),
        use_sequence_packing=bool(settings.get("packed", False)),
        quantization_config=quantization,
        vllm_config=engine if colocated else None,
        gradient_checkpointing=True,
        device="cpu" if rehearse else "cuda",
    )
    phases.wrap(agent, "_prepare_vllm_for_generation", "sync")
    phases.wrap(agent, "_prepare_vllm_for_training", "sync")
    phases.wrap(agent, "_fused_forward_no_grad", "log_probs")
    align = agent._align_sampling_logprobs

    def align_and_compare(sampled: Any, masks: torch.Tensor, trainer: torch.Tensor) -> Any:
        aligned, skipped = align(sampled, masks, trainer)
        if aligned is not None and step == 1:
            mismatch.add(aligned, trainer, masks)
        return aligned, skipped

    agent._align_sampling_logprobs = align_and_compare
    say_settings(agilerl=version("agilerl"), transformers=transformers.__version__, **settings)

    phases.restart()
    for step, prompts in enumerate(order.step_prompts(), start=1):
        asked = [
            {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
            for ids in prompts
        ]
        with phases.timed("generate"):
            action = agent.get_action(asked, training=True)
        ids, masks, sampled = action.token_ids, action.action_masks, action.sampling_logps
        drawn = [reward(step - 1, place) for place in range(work.sequences)]
        with phases.timed("update"):
            rewards = torch.tensor(drawn).reshape(work.groups, work.group)
            agent.learn((ids, masks, rewards), sampling_logps=sampled)
        phases.end_step(step, mismatch=mismatch.value() if step == 1 else None, sequences=work.sequences)


if __name__ == "__main__":
    main()
