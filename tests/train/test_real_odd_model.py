"""The real trainer and engine with models as people bring them (minutes): a folder with blanks, a tokenizer
that begins every text, two end tokens, no generation settings; and the engine's probabilities of every family
beside the trainer's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from azr.models.families import CHECKED
from azr.models.tokenizer_files import named_end_tokens
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.files import read_jsonl

pytest.importorskip("vllm")

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_S = 1500
END, FENCE = "<|end|>", "```outputĊ"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT_S + 60)]


def odd_model(folder: Path) -> None:
    """The bundled model, with a second end token: the line that opens the answer of a deduction task."""
    shutil.copytree(PROJECT / "data" / "models" / "azr-tiny", folder)
    (folder / "generation_config.json").unlink()
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    ids = {entry["content"]: entry["id"] for entry in tokenizer["added_tokens"]} | tokenizer["model"]["vocab"]
    tokenizer["post_processor"]["single"].insert(0, {"SpecialToken": {"id": END, "type_id": 0}})
    tokenizer["post_processor"]["special_tokens"] = {END: {"id": END, "ids": [ids[END]], "tokens": [END]}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "eos_token_id": [ids[END], ids[FENCE]]}))


def test_a_run_from_a_folder_with_blanks_with_two_end_tokens(tmp_path: Path) -> None:
    folder = tmp_path / "my models" / "a model"
    odd_model(folder)
    probes = tmp_path / "few.jsonl"
    probes.write_text(
        "".join(
            (PROJECT / "data/probes/azr_tiny_train_families.jsonl").read_text().splitlines(keepends=True)[:6]
        )
    )
    settings = [
        "recipe=cpu_tiny",
        f"runs_dir={tmp_path}/runs",
        "name=odd",
        "campaign.cycles=1",
        "campaign.steps_per_cycle=1",
    ]
    settings += [
        "selfplay.batch_size=4",
        "selfplay.difficulty_samples=2",
        "train.probe_tasks=6",
        "report.html=false",
    ]
    settings += [f"model.path={folder}", f"data.probe_files=[{probes}]"]
    with tempfile.TemporaryDirectory(prefix="ci-") as temporary, (tmp_path / "log").open("wb") as log:
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": temporary, "RAY_TMPDIR": temporary}
        command = [sys.executable, "azr_single_gpu_pipeline.py", *settings]
        status = subprocess.run(
            command, cwd=PROJECT, env=environment, stdout=log, stderr=log, timeout=LIMIT_S, check=False
        ).returncode
    assert status == 0, (tmp_path / "log").read_text(errors="replace")[-4000:]
    run = RunDir(tmp_path / "runs" / "odd")
    [trained] = [record.values for record in read_metrics(run) if record.step == 1]
    assert trained["train/logprob_mismatch"] < 0.005, (
        "engine and trainer see the same tokens before and in every response"
    )
    ids = json.loads((folder / "config.json").read_text())["eos_token_id"]
    saved = list_checkpoints(run)[-1].path / "actor" / "huggingface"
    assert named_end_tokens(saved) == tuple(ids), (
        "an evaluation ends the checkpoint's answers where training did"
    )
    said = [
        (entry["stream"], entry["response"]) for entry in read_jsonl(run.transcripts(1)) if entry["step"] == 0
    ]
    assert {stream for stream, _ in said} > {"solve-deduction"}
    for stream, text in said:  # greedy answers
        assert text.endswith("```output\n" if stream == "solve-deduction" else "</answer>"), (stream, text)


def test_the_engine_gives_every_family_the_trainers_probabilities(tmp_path: Path) -> None:
    command = [sys.executable, "tests/train/engine_families.py", str(tmp_path), *sorted(CHECKED)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    answer = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    found: dict[str, float | str] = {}
    for line in answer.stdout.splitlines():
        if line.startswith("RESULT "):
            found |= json.loads(line.removeprefix("RESULT "))
    print(found)
    assert set(found) == set(CHECKED), answer.stderr[-3000:]
    assert {
        family: apart for family, apart in found.items() if not isinstance(apart, float) or apart > 1e-3
    } == {}
