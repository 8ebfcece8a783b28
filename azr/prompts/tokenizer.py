"""Think tags of Qwen3 base models: their dedicated tokens were never trained, so they must tokenise as
ordinary text.

Qwen3's tokenizer has ``<think>`` and ``</think>`` as added tokens (ids 151667, 151668). In the base models
their embeddings are untrained, and a prompt that ends with one makes the model emit nonsense. The remedy is a
copy of the folder's tokenizer files without the two entries; weights are linked, not copied.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from azr.errors import ModelError
from azr.system.files import whole_folder

THINK_TAGS = ("<think>", "</think>")


def has_untrained_think_tokens(folder: Path, raw_frame: bool) -> bool:
    """Whether the model in ``folder`` needs the remedy: a Qwen3 under a raw (base-model) frame, with the tags
    as added tokens.

    Raises:
        ModelError: config.json or tokenizer.json is not valid JSON.
    """
    if not raw_frame or not (folder / "tokenizer.json").is_file():
        return False
    if not str(_read(folder / "config.json").get("model_type", "")).startswith("qwen3"):
        return False
    return any(
        entry.get("content") in THINK_TAGS
        for entry in _read(folder / "tokenizer.json").get("added_tokens", [])
    )


def write_plain_think_tokens(folder: Path, target: Path) -> None:
    """Makes ``target`` a model folder like ``folder`` whose tokenizer reads the think tags as ordinary text.

    ``target`` appears whole or not at all; one that exists is replaced.
    """
    with whole_folder(target, replace=True) as staging:
        for source in folder.iterdir():
            content = _without_think_tags(source)
            if content is None:
                (staging / source.name).symlink_to(source.resolve())
            else:
                (staging / source.name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _without_think_tags(source: Path) -> dict[str, Any] | None:
    """What a tokenizer's file says but for the tags; None for any other file."""
    if source.name == "added_tokens.json":
        return {token: number for token, number in _read(source).items() if token not in THINK_TAGS}
    if source.name not in ("tokenizer.json", "tokenizer_config.json"):
        return None
    content = _read(source)
    if source.name == "tokenizer.json":
        entries = content.get("added_tokens", [])
        content["added_tokens"] = [entry for entry in entries if entry.get("content") not in THINK_TAGS]
        return content
    content["added_tokens_decoder"] = {
        key: entry
        for key, entry in content.get("added_tokens_decoder", {}).items()
        if entry.get("content") not in THINK_TAGS
    }
    extra = content.get("additional_special_tokens")
    if isinstance(extra, list):
        content["additional_special_tokens"] = [token for token in extra if token not in THINK_TAGS]
    return content


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}); the model folder is incomplete") from error
