"""Whoever speaks of the model that a run began with speaks of that model, or says that it is not there any
more."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from run_fixture import PROJECT, make_run, random_model, save_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

from azr.campaign.identity_check import settle_identity
from azr.config.load import read_config, write_config
from azr.errors import ModelError, RunError
from azr.evaluate.export import ExportOptions, export_model
from azr.evaluate.models import resolve
from azr.evaluate.weights import write_model_folder
from azr.run.checkpoints import read_checkpoint
from azr.run.identity import read_identity
from azr.run.rundir import RunDir

UNCHECKED = ExportOptions(step="latest", check=False)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    random_model().save_pretrained(folder)
    AutoTokenizer.from_pretrained(PROJECT / "data/models/azr-tiny").save_pretrained(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path, base: Path) -> RunDir:
    run = make_run(tmp_path, model={"path": str(base)})
    settle_identity(run, read_config(run.config))
    return run


def replace_by_noise(folder: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
    model.save_pretrained(folder)


def point_to(run: RunDir, folder: Path) -> None:
    config = read_config(run.config)
    write_config(
        run.config, dataclasses.replace(config, model=dataclasses.replace(config.model, path=str(folder)))
    )


def test_evaluation_of_the_start_takes_the_model_of_the_start(
    run: RunDir, base: Path, tmp_path: Path
) -> None:
    source = resolve(f"{run.root}@0")
    assert source.folder == base and not source.note
    other = tmp_path / "other"
    shutil.copytree(base, other)
    replace_by_noise(other)
    point_to(run, other)  # what a configuration says later does not matter
    assert resolve(f"{run.root}@0").folder == base


def test_evaluation_of_the_start_refuses_another_model_in_its_place(run: RunDir, base: Path) -> None:
    replace_by_noise(base)
    with pytest.raises(ModelError, match=r"now holds another model \(content .*Put it back"):
        resolve(f"{run.root}@0")
    shutil.rmtree(base)
    with pytest.raises(ModelError, match=r"no longer there: .*no such folder"):
        resolve(f"{run.root}@0")


def test_a_run_without_a_record_is_told(tmp_path: Path) -> None:
    assert "no record of what the run began with" in resolve(f"{make_run(tmp_path).root}@0").note


def test_the_card_names_what_the_run_began_with(run: RunDir, base: Path, tmp_path: Path) -> None:
    model = random_model()
    save_checkpoint(run, 2, model.state_dict(), model.config)
    point_to(run, tmp_path / "elsewhere")
    identity = read_identity(run)
    assert identity is not None
    card = (export_model(run, tmp_path / "out", UNCHECKED, lambda _: None) / "README.md").read_text()
    assert f"`base` (content `{identity.model_hash[:16]}`)" in card and "elsewhere" not in card
    replace_by_noise(base)
    with pytest.raises(ModelError, match="the model card cannot name it"):
        export_model(run, tmp_path / "again", UNCHECKED, lambda _: None)
    assert not (tmp_path / "again").exists()


def test_adapters_are_merged_into_the_model_of_the_start_alone(tmp_path: Path, base: Path) -> None:
    run = make_run(tmp_path, model={"path": str(base), "lora_rank": 4, "lora_alpha": 12})
    settle_identity(run, read_config(run.config))
    name = "model.layers.0.self_attn.q_proj"
    state = {
        f"base_model.model.{name}.lora_A.default.weight": torch.zeros(4, 32),
        f"base_model.model.{name}.lora_B.default.weight": torch.zeros(32, 4),
    }
    checkpoint = read_checkpoint(save_checkpoint(run, 2, state, random_model().config, lora_alpha=12))
    write_model_folder(checkpoint, tmp_path / "merged")
    replace_by_noise(base)
    with pytest.raises(ModelError, match="now holds another model"):
        write_model_folder(checkpoint, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_a_run_by_its_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``evaluate`` said that there is no such model folder."""
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    for name in ("config.yaml", "state.json", "report.html"):
        (run / name).write_text("{}")
    monkeypatch.chdir(tmp_path)
    for given in ("mine", "mine@best", "mine@0", "runs/mine/report.html"):
        with pytest.raises(RunError, match=r"; give runs/mine$"):
            resolve(given)
    with pytest.raises(ModelError, match="no such folder"):
        resolve("other")
