"""A run directory with one real checkpoint of a tiny random model, saved as the trainer saves it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

from azr.config import Config, from_container
from azr.config.load import write_config
from azr.evaluate.export_cards import how_trained
from azr.evaluate.models import ask_record
from azr.run.checkpoint_store import publish_checkpoint, staging_dir
from azr.run.protocol import MetricsRecord, append_metrics
from azr.run.rundir import RunDir
from azr.system.files import write_json_atomic

PROJECT = Path(__file__).resolve().parents[2]
TINY = PROJECT / "data" / "models" / "azr-tiny"
PROBE_FILE = PROJECT / "data" / "probes" / "azr_tiny_heldout.jsonl"


def tiny_config(*, tied: bool = True) -> Qwen2Config:
    vocabulary = len(AutoTokenizer.from_pretrained(TINY))
    return Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        pad_token_id=0,
        eos_token_id=1,
    )


def random_model(*, tied: bool = True) -> Any:
    torch.manual_seed(0)
    config = tiny_config(tied=tied)
    config.architectures = ["Qwen2ForCausalLM"]
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def make_run(root: Path, **changes: Any) -> RunDir:
    """A run directory of the tiny recipe: configuration, probes, metrics of steps 0 to 3."""
    run = RunDir(root / "runs" / "tiny")
    run.cycle(1).mkdir(parents=True)
    values: dict[str, Any] = {
        "model": {"path": str(TINY)},
        "selfplay": {"frame": "compact"},
        "rollout": {"max_prompt_tokens": 300, "max_response_tokens": 48, "dtype": "float32"},
        "train": {"probe_tasks": 10},
    }
    for section, entries in changes.items():
        values.setdefault(section, {}).update(entries)
    config: Config = from_container(values)
    write_config(run.config, config)
    run.probes.mkdir()
    shutil.copyfile(PROBE_FILE, run.probes / "probes.jsonl")
    for step, accuracy in enumerate((0.1, 0.4, 0.3, 0.2)):
        scores = {"probe/all/accuracy": accuracy, "probe/deduction/accuracy": accuracy, "probe/tasks": 10.0}
        append_metrics(run, MetricsRecord(step=step, cycle=1, attempt=1, unix_s=float(step), values=scores))
    return run


def save_checkpoint(
    run: RunDir,
    step: int,
    state: Any,
    config: Any,
    *,
    lora_alpha: int | None = None,
    ranks: int = 1,
    generation: dict[str, Any] | None = None,
) -> Path:
    """Publishes a checkpoint with the layout of verl's checkpoint manager.

    Args:
        state: a state dict; with several ranks, a list of them.
        generation: content of generation_config.json.
    """
    staging = staging_dir(run, step)
    actor = staging / "actor"
    folder = actor / "huggingface"
    config.save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    written["attn_implementation"] = "azr_packed"  # as the trainer leaves it
    write_json_atomic(folder / "config.json", written)
    AutoTokenizer.from_pretrained(TINY).save_pretrained(folder)
    if generation is not None:
        write_json_atomic(folder / "generation_config.json", generation)
    write_json_atomic(actor / "fsdp_config.json", {"FSDP_version": 1, "world_size": ranks})
    for rank, part in enumerate([state] if ranks == 1 else state):
        if isinstance(part, Path):
            shutil.copyfile(part, actor / f"model_world_size_{ranks}_rank_{rank}.pt")
        else:
            torch.save(part, actor / f"model_world_size_{ranks}_rank_{rank}.pt")
    if lora_alpha is not None:
        write_json_atomic(
            actor / "lora_train_meta.json", {"r": 4, "lora_alpha": lora_alpha, "task_type": "CAUSAL_LM"}
        )
    info = {"step": step, "cycle": 1, "attempt": 1, "model": str(TINY)}
    write_json_atomic(staging / "trainer_state.json", info)
    publish_checkpoint(run, step, staging, info=info)
    return run.checkpoint(step)


def card_record(folder: Path, settings: Config, step: int, **values: Any) -> dict[str, Any]:
    """What azr.json says of a run in ``folder``, of which nothing but its settings is known."""
    return {
        "base_model": "m",
        "base_model_hash": None,
        "earlier_runs": [],
        "cycle": 1,
        "step": step,
        "weights": "float32",
        "ask": ask_record(settings),
        "recorded": {},
        **how_trained(RunDir(folder), step, settings),
        **values,
    }
