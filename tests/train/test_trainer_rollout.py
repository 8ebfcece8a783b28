"""What the trainer puts into the queue for the agent loops, with a queue and an engine that only listen."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from azr.config.load import load_config
from azr.selfplay.game import SelfPlay
from azr.train.tokens import prompt_token_ids

pytest.importorskip("verl")
pytest.importorskip("vllm")

MODEL = Path(__file__).resolve().parents[2] / "data" / "models" / "azr-tiny"


def test_rows_travel_with_the_ids_of_their_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    from azr.train.verl import trainer as module

    config = load_config(["recipe=cpu_tiny"]).config
    queued: list[dict[str, Any]] = []
    sent: list[Any] = []
    monkeypatch.setattr(module, "tq", SimpleNamespace(kv_batch_put=lambda **named: queued.append(named)))
    trainer: Any = object.__new__(module.SelfPlayTrainer)
    trainer.azr_config, trainer.global_steps, trainer.tokenizer = (
        config,
        4,
        AutoTokenizer.from_pretrained(MODEL),
    )
    trainer.agent_loop_manager = SimpleNamespace(generate_sequences=sent.append)
    trainer.replay_buffer = SimpleNamespace(sample=lambda **named: (named, {}))
    game = SelfPlay(config.selfplay, config.seed)
    game.start([])
    rows = game.plan_step(4, trainer.fits)

    asked = trainer.roll_out(rows)

    assert asked == {"global_steps": 4, "partition_id": "train", "batch_size": len(rows)}
    assert len(queued[0]["keys"]) == len(set(queued[0]["keys"])) == len(rows)
    records = [json.loads(record) for record in sent[0]["row"]]
    assert [record["row_id"] for record in records] == [row.row_id for row in rows]
    assert [record["prompt_ids"] for record in records] == [
        prompt_token_ids(trainer.tokenizer, row.prompt) for row in rows
    ]


def test_a_save_leaves_no_lock_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """verl left two empty files in the temporary folder with every checkpoint."""
    from verl.utils.fs import local_mkdir_safe

    from azr.train.verl.policy_worker import PolicyTrainingWorker

    def save(path: str, *options: Any) -> None:
        for folder in (path, f"{path}/huggingface"):
            local_mkdir_safe(folder)
        assert len(list(temporary.glob("ckpt_*.lock"))) == 2

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    worker = object.__new__(PolicyTrainingWorker)
    worker.engine = SimpleNamespace(save_checkpoint=save)
    worker.save_checkpoint(str(tmp_path / "actor"))
    assert not list(temporary.iterdir()) and (tmp_path / "actor" / "huggingface").is_dir()
