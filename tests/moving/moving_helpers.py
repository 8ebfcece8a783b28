"""A small run with real tensors in its checkpoints, as the trainer leaves one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from azr.campaign.state import CampaignState, State, save_state
from azr.config.load import load_config, write_config
from azr.models.model_hash import hash_model
from azr.moving.archive import MANIFEST
from azr.run.checkpoint_store import publish_checkpoint, staging_dir
from azr.run.identity import RunIdentity, write_identity
from azr.run.protocol import MetricsRecord, append_metrics
from azr.run.rundir import RunDir
from azr.system.files import append_jsonl, write_json_atomic
from azr.system.hashes import json_hash


def make_model(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "hidden_size": 8}))
    (folder / "model.safetensors").write_bytes(bytes([seed]) * 1000)
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    return folder


def make_run(
    root: Path, model: Path, steps: tuple[int, ...] = (2, 4), *, lora_rank: int = 4, cards: int = 1
) -> RunDir:
    run = RunDir(root)
    config = load_config(
        [
            "recipe=cpu_tiny",
            f"model.path={model}",
            f"model.lora_rank={lora_rank}",
            f"train.n_gpus_per_node={cards}",
            "seed=7",
            f"name={root.name}",
        ]
    ).config
    write_config(run.config, config)
    write_identity(run, RunIdentity.of(config, model, hash_model(model)), model)
    for step in range(1, max(steps) + 1):
        append_metrics(run, MetricsRecord(step, 1, 1, float(step), {"train/entropy": 0.5}))
    save_state(
        run,
        CampaignState(state=State.TRAIN, cycle=1, first_step=1, last_step=10, step=max(steps), run_id="abc"),
    )
    write_json_atomic(run.first_probe_scores, {"scores": {"probe/a/1": 1.0}})
    write_json_atomic(run.pool_manifest, {"tasks": 1})
    for name in ("tasks.jsonl", "behaviour.jsonl", "rejected.jsonl"):
        append_jsonl(run.pool / name, [{"task_id": name}])
    append_jsonl(run.probes / "few.jsonl", [{"task_id": "p"}])
    write_json_atomic(run.probes / "hashes.json", {"probes": {}, "evaluation": {}})
    for path in (run.cycle_tasks(1), run.shard(1)):
        append_jsonl(path, [{"task_id": str(number)} for number in range(50)])
    write_json_atomic(run.request(1), {"cycle": 1})
    append_jsonl(
        run.transcripts(1),
        [{"number": number, "text": "x" * 200, "noise": hash((number, "t"))} for number in range(2000)],
    )
    log = run.trainer_log(1, 1)
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number} {hash((number, 'l'))}\n" for number in range(5000)))
    # what stays where it is
    write_json_atomic(run.heartbeat, {"pid": 1})
    run.report.write_text("<html></html>")
    append_jsonl(run.pool / "backups" / "001" / "tasks.jsonl", [{"task_id": "old"}])
    for step in steps:
        save_checkpoint(run, step)
    return run


def save_checkpoint(run: RunDir, step: int, *, model: Any = None, states: Any = None) -> None:
    torch.manual_seed(step)
    staging = staging_dir(run, step)
    actor = staging / "actor"
    (actor / "huggingface").mkdir(parents=True)
    weights = {
        f"base_model.model.q_proj.lora_{half}.default.weight": torch.randn(4, 64).bfloat16() for half in "AB"
    }
    torch.save(weights if model is None else model, actor / "model_world_size_1_rank_0.pt")
    states = states or {0: {"first": torch.zeros(256, dtype=torch.int8), "step": torch.tensor(float(step))}}
    torch.save(
        {"state": states, "param_groups": [{"lr": 1e-5, "params": [0]}]},
        actor / "optim_world_size_1_rank_0.pt",
    )
    torch.save({"rng": {"cpu": torch.get_rng_state()}}, actor / "extra_state_world_size_1_rank_0.pt")
    (actor / "huggingface" / "config.json").write_text("{}")
    write_json_atomic(staging / "trainer_state.json", {"step": step})
    publish_checkpoint(run, step, staging, info={"step": step})


def rewrite(archive: Path, target: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """A copy whose members and list ``change`` has edited, with a list that is sound by its own checksum
    again."""

    with zipfile.ZipFile(archive) as source:
        members = {name: source.read(name) for name in source.namelist()}
    record = json.loads(members.pop(MANIFEST))
    record.pop("checksum")
    change(members, record)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            out.writestr(name, data)
        out.writestr(MANIFEST, json.dumps(record | {"checksum": json_hash(record)}))
    return target
