"""The game's state on disk: a JSONL file for each buffer that holds tasks, and one JSON file, which holds their hashes and is
written last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azr.errors import CheckpointError, ConfigError, DataError
from azr.selfplay.buffer import TaskBuffer
from azr.system.files import json_line, read_json, read_jsonl, write_json_atomic, write_text_atomic
from azr.system.hashes import json_hash, text_hash
from azr.tasks import TaskType

STATE_FILE = "selfplay.json"


def save_buffers(directory: Path, state: Mapping[str, Any], buffers: Mapping[TaskType, TaskBuffer]) -> str:
    """Writes each file atomically; returns the content hash.

    Args:
        state: what is saved beside the buffers, with the run's ``seed``.
    """
    hashes: dict[str, str] = {}
    for kind, buffer in buffers.items():
        text = "".join(json_line(record) for record in buffer.to_json())
        if text:  # programs that copy or upload folders leave empty files out
            write_text_atomic(directory / f"{kind.value}.jsonl", text)
        hashes[kind.value] = text_hash(text, 32)
    evicted = {kind.value: [buffer.evicted_mastered, buffer.evicted_old] for kind, buffer in buffers.items()}
    whole = {"schema": 1, **state, "evicted": evicted, "hashes": hashes}
    content = json_hash(whole)
    write_json_atomic(directory / STATE_FILE, {**whole, "content_hash": content})
    return content


def load_buffers(
    directory: Path, seed: int, buffers: Mapping[TaskType, TaskBuffer]
) -> tuple[dict[str, Any], str]:
    """Restores the buffers in place; returns the rest of the state, and its content hash.

    Raises:
        CheckpointError: a file is missing, or differs from what was saved.
        ConfigError: it was saved with another seed.
    """
    try:
        state = read_json(directory / STATE_FILE)
        content = state.pop("content_hash")
        if json_hash(state) != content:
            raise CheckpointError(
                f"{directory / STATE_FILE} is damaged: it does not match its own hash; use an earlier checkpoint"
            )
        if state["seed"] != seed:
            raise ConfigError(
                f"{directory} was saved with seed {state['seed']}, this run has seed {seed}; set the same seed"
            )
        for kind, buffer in buffers.items():
            path = directory / f"{kind.value}.jsonl"
            text = path.read_bytes().decode("utf-8", "surrogatepass") if path.exists() else ""
            if text_hash(text, 32) != state["hashes"][kind.value]:
                raise CheckpointError(
                    f"{path} is damaged: its content does not match {STATE_FILE}; use an earlier checkpoint"
                )
            buffer.restore(read_jsonl(path, strict=True))
            buffer.evicted_mastered, buffer.evicted_old = state["evicted"][kind.value]
    except (DataError, KeyError, OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{directory} holds no complete self-play state: {error}; use an earlier checkpoint"
        ) from error
    return state, content
