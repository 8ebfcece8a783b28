"""The rollout engine alone: a published step's prompts and lengths through vLLM with a recipe's settings,
nothing else on the card.

    python scripts/dev/bench_engine.py 0_5b_16gb --model build/random-0.5b [--fraction 0.25] [--json FILE]
    python scripts/dev/bench_engine.py 3b_lora_16gb --model build/random-3b --lora-rank 32     with adapters beside the products

Two waves, as in a step: every row's prompt once, then the difficulty samples (8 that share a prompt). What
generation inside a step is compared with. The first pass is not timed. ``--explain-time`` prints the
costliest kernels and host operations of a short wave of full size.
"""

from __future__ import annotations

import _project

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from azr.config import Config
from azr.config.load import load_config
from azr.system.files import write_text_atomic
from azr.system.terminal import outlive_the_terminal


def waves(
    config: Config, fraction: float, prompt: int, response: int, seed: int = 0
) -> list[list[tuple[list[int], int]]]:
    """[(prompt ids, response length)] of the rows, then of the difficulty samples."""
    draw = random.Random(seed)

    def length(mean: int) -> int:
        return draw.randint(mean - mean // 2, mean + mean // 2)

    def ids() -> list[int]:
        return [draw.randrange(1, 256) for _ in range(length(prompt))]

    batch = max(1, round(config.selfplay.batch_size * fraction))
    rows = [(ids(), length(response)) for _ in range(6 * batch)]
    samples = []
    for _ in range(3 * batch):
        shared = ids()
        samples += [(shared, length(response)) for _ in range(config.selfplay.difficulty_samples)]
    return [rows, samples]


def write_adapter(folder: Path, model: Path, rank: int) -> None:
    """Adapters of small random weights over all linear layers of a Qwen2-shaped model, in the files that vLLM
    reads."""
    import torch
    from safetensors.torch import save_file

    shape = json.loads((model / "config.json").read_text(encoding="utf-8"))
    hidden, wide = shape["hidden_size"], shape["intermediate_size"]
    narrow = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    sizes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden, narrow),
        "self_attn.v_proj": (hidden, narrow),
    }
    sizes |= {
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (hidden, wide),
        "mlp.up_proj": (hidden, wide),
    }
    sizes |= {"mlp.down_proj": (wide, hidden)}
    weights = {}
    for layer in range(shape["num_hidden_layers"]):
        for name, (taken, given) in sizes.items():
            place = f"base_model.model.model.layers.{layer}.{name}"
            weights[f"{place}.lora_A.weight"] = torch.randn(rank, taken, dtype=torch.bfloat16) / taken**0.5
            weights[f"{place}.lora_B.weight"] = torch.randn(given, rank, dtype=torch.bfloat16) * 1e-4
    save_file(weights, folder / "adapter_model.safetensors")
    modules = [name.rpartition(".")[2] for name in sizes]
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": modules,
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--prompt", type=int, default=600)
    parser.add_argument("--response", type=int, default=300)
    parser.add_argument(
        "--card-gib", type=float, default=0.0, help="scale the engine's share as if the card had this much"
    )
    parser.add_argument("--lora-rank", type=int, help="adapters beside the products; 0 none")
    parser.add_argument("--explain-time", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = load_config([f"recipe={options.recipe}", "selfplay=code"]).config
    rank = options.lora_rank
    if rank is None:  # merged into the base they cost nothing here
        rank = 0 if config.rollout.merge_adapters else config.model.lora_rank
    model = options.model or Path(config.model.path)
    if rank and not (model / "config.json").is_file():
        parser.error(
            f"adapters are made for the shape in {model / 'config.json'}, which is not there; name a model's folder with --model"
        )
    if options.explain_time:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the profiler looks into its own process

    import torch
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    rollout, share = config.rollout, config.rollout.gpu_memory_share
    if options.card_gib and torch.cuda.is_available():
        share *= options.card_gib * 2**30 / torch.cuda.get_device_properties(0).total_memory
    settings: dict[str, Any] = {
        "model": str(model),
        "dtype": rollout.dtype,
        "max_model_len": rollout.max_prompt_tokens + rollout.max_response_tokens,
        "max_num_seqs": rollout.max_sequences,
        "max_num_batched_tokens": rollout.max_batched_tokens,
        "gpu_memory_utilization": share,
        "enforce_eager": rollout.enforce_eager,
        "enable_prefix_caching": rollout.prefix_caching,
        "skip_tokenizer_init": True,
    }
    if not rollout.enforce_eager:
        settings["compilation_config"] = {"cudagraph_capture_sizes": list(rollout.cuda_graph_sizes)}
    adapter = None
    if rank:
        folder = tempfile.TemporaryDirectory(prefix="azr-adapter-")
        write_adapter(Path(folder.name), model, rank)
        settings |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
        adapter = LoRARequest("bench", 1, folder.name)
    engine = LLM(**settings)
    figures: dict[str, Any] = {"recipe": options.recipe, "share": round(share, 4), "lora_rank": rank}
    for timed, seed in ((False, 1), (True, 2)):
        tokens, started = 0, time.perf_counter()
        for wave in waves(
            config, options.fraction if timed else 0.05, options.prompt, options.response, seed
        ):
            prompts: Any = [{"prompt_token_ids": ids} for ids, _ in wave]
            params = [
                SamplingParams(
                    temperature=1.0, ignore_eos=True, max_tokens=n, min_tokens=n, logprobs=0, detokenize=False
                )
                for _, n in wave
            ]
            tokens += sum(
                len(answer.outputs[0].token_ids)
                for answer in engine.generate(prompts, params, use_tqdm=False, lora_request=adapter)
            )
        seconds = time.perf_counter() - started
        if timed:
            figures |= {
                "tokens": tokens,
                "seconds": round(seconds, 2),
                "tokens_per_s": round(tokens / seconds),
            }
    if options.explain_time:
        from bench_update import explain_time

        draw = random.Random(3)
        short: Any = [
            {"prompt_token_ids": [draw.randrange(1, 256) for _ in range(100)]}
            for _ in range(rollout.max_sequences)
        ]
        fifty = SamplingParams(
            temperature=1.0, ignore_eos=True, max_tokens=50, min_tokens=50, logprobs=0, detokenize=False
        )
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        _, lines = explain_time(
            lambda: engine.generate(short, fifty, use_tqdm=False, lora_request=adapter), device
        )
        print("\n".join(lines))
    print(json.dumps(figures))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(options.json, json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
