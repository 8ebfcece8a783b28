"""The rollout engine alone: the step's prompts and lengths through vLLM with a recipe's settings, nothing else on the card.

    python scripts/bench_engine.py 0_5b_16gb --model build/random-0.5b [--fraction 0.25] [--json FILE]

Two waves, as in a step: every row's prompt once, then the difficulty samples (8 that share a prompt). What generation inside
a step is compared with. The first pass is not timed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from azr.config import Config
from azr.config.load import load


def waves(config: Config, fraction: float, prompt: int, response: int, seed: int = 0) -> list[list[tuple[list[int], int]]]:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--prompt", type=int, default=600)
    parser.add_argument("--response", type=int, default=300)
    parser.add_argument("--card-gib", type=float, default=0.0, help="scale the engine's share as if the card had this much")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    config = load([f"recipe={options.recipe}"]).config

    import torch
    from vllm import LLM, SamplingParams

    rollout, share = config.rollout, config.rollout.gpu_memory_share
    if options.card_gib and torch.cuda.is_available():
        share *= options.card_gib * 2**30 / torch.cuda.get_device_properties(0).total_memory
    settings: dict[str, Any] = {
        "model": str(options.model or config.model.path),
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
    engine = LLM(**settings)
    figures: dict[str, Any] = {"recipe": options.recipe, "share": round(share, 4)}
    for timed, seed in ((False, 1), (True, 2)):
        tokens, started = 0, time.perf_counter()
        for wave in waves(config, options.fraction if timed else 0.05, options.prompt, options.response, seed):
            prompts: Any = [{"prompt_token_ids": ids} for ids, _ in wave]
            params = [
                SamplingParams(temperature=1.0, ignore_eos=True, max_tokens=n, min_tokens=n, logprobs=0, detokenize=False) for _, n in wave
            ]
            tokens += sum(len(answer.outputs[0].token_ids) for answer in engine.generate(prompts, params, use_tqdm=False))
        seconds = time.perf_counter() - started
        if timed:
            figures |= {"tokens": tokens, "seconds": round(seconds, 2), "tokens_per_s": round(tokens / seconds)}
    print(json.dumps(figures))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(figures) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
