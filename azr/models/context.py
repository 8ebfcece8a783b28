"""Does a model's context hold the longest prompt and the longest response?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from azr.config import Config
from azr.errors import ModelError

LENGTH_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length")


def require_context(folder: Path, values: dict[str, Any], config: Config) -> None:
    """
    Raises:
        ModelError: the longest sequence is longer than the model's context, or so long that the engine and
            the trainer would turn positions by different factors.
    """
    rollout = config.rollout
    needed = rollout.max_prompt_tokens + rollout.max_response_tokens
    limit, why = context_tokens(values)
    if limit is None or needed <= limit:
        return
    prompt = max(1, limit * rollout.max_prompt_tokens // needed)
    raise ModelError(
        f"{folder}: {why}, and rollout.max_prompt_tokens={rollout.max_prompt_tokens} plus "
        f"rollout.max_response_tokens={rollout.max_response_tokens} is {needed}; "
        f"for example: rollout.max_prompt_tokens={prompt} rollout.max_response_tokens={limit - prompt}"
    )


def context_tokens(values: dict[str, Any]) -> tuple[int | None, str]:
    """The longest sequence that engine and trainer treat alike, and why; None where config.json does not say.

    As vLLM derives it, except for rotations that depend on the length (``longrope``, ``dynamic``): beyond the
    original length the engine takes one factor for all sequences, transformers another one by the longest of
    a batch.
    """
    limit = next((values[key] for key in LENGTH_KEYS if isinstance(values.get(key), int)), None)
    if limit is None:
        return None, ""
    if str(values.get("model_type", "")).startswith("gemma3"):  # its limit is scaled already
        return limit, f"its context is {limit} tokens"
    for rope in _rotations(values):
        kind, factor = str(rope.get("rope_type") or rope.get("type") or "default"), rope.get("factor")
        key = "original_max_position_embeddings"
        original = rope.get(key) or values.get(key) or limit
        if kind in ("longrope", "su") and isinstance(original, int):
            return original, f"engine and trainer treat its {kind} positions alike up to {original} tokens"
        if kind == "dynamic":
            return limit, f"engine and trainer treat its dynamic positions alike up to {limit} tokens"
        if kind == "yarn" and isinstance(original, int) and isinstance(factor, int | float):
            limit = int(original * factor)
        elif kind == "linear" and isinstance(factor, int | float):
            limit = int(limit * factor)
    return limit, f"its context is {limit} tokens"


def engine_context_tokens(values: dict[str, Any]) -> int | None:
    """The longest sequence that the engine alone takes: longer where a rotation depends on the length, or where config.json
    allows more by another name. None where config.json does not say."""
    limit, _ = context_tokens(values)
    if limit is None:
        return None
    kinds = {rope.get("rope_type") or rope.get("type"): rope.get("factor") for rope in _rotations(values)}
    factor = kinds.get("dynamic")
    scaled = int(limit * factor) if isinstance(factor, int | float) else limit
    stated = (values.get(key) for key in ("max_position_embeddings", "model_max_length"))
    return max([scaled, *(each for each in stated if isinstance(each, int))])


def _rotations(values: dict[str, Any]) -> list[dict[str, Any]]:
    """``rope_parameters`` (transformers 5), or ``rope_scaling``, which it takes where there are both; some models have
    one for each kind of layer, all scaled alike."""
    rope = values.get("rope_scaling") or values.get("rope_parameters")
    if not isinstance(rope, dict):
        return []
    nested = [value for value in rope.values() if isinstance(value, dict)]
    return nested[:1] if nested and len(nested) == len(rope) else [rope]
