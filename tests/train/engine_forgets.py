"""Run by test_engine_worker.py: an engine with adapters loses all weights, as in a sleep that keeps none, and
is sent them again.

python tests/train/engine_forgets.py MODEL RENDEZVOUS_FILE

Prints, a line of JSON each, what is answered greedily: by the trainer, and by the engine before the loss,
after it, and after base and adapters were sent.
"""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import MixedPrecision
from transformers import AutoModelForCausalLM

from azr.train.environment import set_environment

TOKENS = 12


def main(model: str) -> None:
    from verl.workers.rollout.vllm_rollout.utils import (
        VLLM_LORA_INT_ID,
        VLLM_LORA_NAME,
        VLLM_LORA_PATH,
        VLLMHijack,
        vLLMColocateWorkerExtension,
    )
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    from azr.train.patches import vllm_on_cpu
    from azr.train.verl.training_engine import SelfPlayEngine, fully_sharded

    vllm_on_cpu.apply()
    VLLMHijack.hijack()
    llm = LLM(
        model=model, dtype="float32", max_model_len=128, max_num_seqs=4, enforce_eager=True, skip_tokenizer_init=True,
        enable_prefix_caching=False, enable_lora=True, max_loras=1, max_lora_rank=8, disable_log_stats=True,
    )  # fmt: skip
    worker: Any = llm.llm_engine.model_executor.driver_worker.worker  # type: ignore[attr-defined]
    extension: Any = vLLMColocateWorkerExtension
    receiver = SimpleNamespace(
        model_runner=worker.model_runner, add_lora=worker.add_lora, _iter_all_models=lambda: [worker.model_runner.model],
        _apply_buffer_updates_all_models=lambda updates, named: 0,
    )  # fmt: skip

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    adapted = get_peft_model(
        base,
        LoraConfig(
            task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear", init_lora_weights=False
        ),
    )
    wrapped = fully_sharded(
        adapted, torch.device("cpu"), MixedPrecision(torch.float32, torch.float32, torch.float32)
    )
    trainer = SimpleNamespace(
        _is_lora=True, module=wrapped, _is_offload_param=True, engine_config=SimpleNamespace(dtype="float32"),
        model_config=SimpleNamespace(lora={"merge": False}, hf_config=None),
        _as_computed=lambda weights: SelfPlayEngine._as_computed(trainer, weights),  # type: ignore[arg-type]
        _for_engine=lambda weights, on_device: SelfPlayEngine._for_engine(trainer, weights, on_device=on_device),  # type: ignore[arg-type]
    )  # fmt: skip

    def send(base_sync_done: bool) -> None:
        weights, peft_config = SelfPlayEngine.get_per_tensor_param(trainer, base_sync_done=base_sync_done)  # type: ignore[arg-type]
        extension._update_weights(
            receiver, list(weights), peft_config=peft_config, base_sync_done=base_sync_done
        )

    prompts = [[3, 1 + n, 4, 1, 5, 9, 2, 6] for n in range(4)]

    def engine_answers() -> list[list[int]]:
        asked: Any = [{"prompt_token_ids": ids} for ids in prompts]
        greedy = SamplingParams(temperature=0.0, max_tokens=TOKENS, ignore_eos=True, detokenize=False)
        request = LoRARequest(VLLM_LORA_NAME, VLLM_LORA_INT_ID, VLLM_LORA_PATH)
        return [
            list(answer.outputs[0].token_ids)
            for answer in llm.generate(asked, greedy, use_tqdm=False, lora_request=request)
        ]

    @torch.no_grad()
    def trainer_answers() -> list[list[int]]:
        rows = torch.tensor(prompts)
        for _ in range(TOKENS):
            rows = torch.cat([rows, wrapped(input_ids=rows).logits[:, -1:].argmax(-1)], dim=1)
        return rows[:, len(prompts[0]) :].tolist()

    print(json.dumps({"trainer": trainer_answers()}))
    send(base_sync_done=True)  # the engine has read the base from the folder
    print(json.dumps({"before": engine_answers()}))
    lost = [weight for _, weight in worker.model_runner.model.named_parameters()]
    for layer in worker.model_runner.lora_manager._adapter_manager.modules.values():
        lost += [*layer.lora_a_stacked, *layer.lora_b_stacked]
    with torch.no_grad():
        for weight in lost:
            weight.fill_(0.25)
    print(json.dumps({"lost": engine_answers()}))
    send(base_sync_done=False)
    worker.remove_lora(VLLM_LORA_INT_ID)  # as verl does before adapters arrive
    send(base_sync_done=True)
    print(json.dumps({"sent": engine_answers()}))


if __name__ == "__main__":
    set_environment("cpu", 1)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = (
        "0"  # the engine's worker is in this process, where its weights can be lost
    )
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=0, world_size=1)
    main(sys.argv[1])
