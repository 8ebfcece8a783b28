"""Why the generation engine does not start, or does not wake from its sleep, in words that name what the user can set: vLLM's
own advice names vLLM's options."""

from __future__ import annotations

import re

FREED = r"Error in memory profiling"
NO_ROOM = (
    r"less than desired GPU memory utilization|No available memory for the cache blocks"
    r"|To serve at least one request with the model|less than requested memory for kv"
)


def why_no_engine(
    text: str,
    *,
    share: str = "rollout.gpu_memory_share",
    answers: str = "rollout.max_response_tokens",
    cache: str = "rollout.cpu_kv_cache_gib",
) -> str:
    """What an error of vLLM 0.24's start, or when it takes its memory again, means, and what to do; empty for any other text.

    Args:
        share: what sets the engine's share of the card.
        answers: what sets the longest answer.
        cache: what sets the engine's cache without a card; empty where nothing does.
    """
    told = {
        FREED: "another program gave memory of the card back while the engine measured it; harmless, the next start measures again",
        r"less than desired GPU": "less of the card is free than the engine's share; close what else uses it (`nvidia-smi`), or lower "
        f"{share} by 0.05",
        r"No available memory for": "the engine's share of the card is used up before any answer has room; close what else uses the card "
        f"(`nvidia-smi`), or raise {share} by 0.05",
        r"To serve at least one": "the engine's share of the card has no room for one prompt and its answer; raise "
        f"{share} by 0.05, or lower {answers}",
        r"CUDA Error: out of memory at \S*cumem": "the card has no room for the engine's share; close what else uses it (`nvidia-smi`), or "
        f"lower {share} by 0.05",
        r"less than requested memory for kv": "main memory has no room for the engine's cache; close programs (`free -h`)"
        + f", or lower {cache}" * bool(cache),
    }
    return next((words for pattern, words in told.items() if re.search(pattern, text)), "")
