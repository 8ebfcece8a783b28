"""A run keeps the model, recipe and adapters that it began with; a start that differs changes nothing of
it."""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_campaign import Driver, command_trainer, fast_config

from azr.campaign.changed_settings import changed_settings
from azr.campaign.identity_check import Difference, identity_refusal, require_same_run, settle_identity
from azr.campaign.start_check import require_startable
from azr.cli import run_command
from azr.config import Config
from azr.config.load import load_config, read_config, write_config
from azr.errors import BudgetError, ConfigError, ModelError, RunError
from azr.models import model_hash
from azr.models.exported import earlier_runs, trained_in_another_frame
from azr.models.model_hash import hash_model
from azr.report.versions import collect_versions, write_versions
from azr.run.checkpoint_store import publish_checkpoint, repair_checkpoints, staging_dir
from azr.run.checkpoints import damaged_checkpoints, list_checkpoints
from azr.run.identity import base_records, copy_identity, read_identity, write_identity
from azr.run.rundir import RunDir
from azr.system.hardware import Gpu, Machine
from azr.train.base_model import base_folder, require_base_unchanged

PROJECT = Path(__file__).resolve().parents[2]
TINY = PROJECT / "data" / "models" / "azr-tiny"
NO_CARD = Machine(
    (), cpu_cores=8, ram_gib=64.0, ram_available_gib=60.0, gpu_note="CUDA_VISIBLE_DEVICES='' hides every card"
)
CARD = Machine((Gpu("a card", 15.92, 15.9, (12, 0)),), cpu_cores=8, ram_gib=64.0, ram_available_gib=60.0)


def copy_of_tiny(folder: Path, *, noise: bool = False) -> Path:
    shutil.copytree(TINY, folder)
    if noise:
        weights = bytearray((folder / "model.safetensors").read_bytes())
        header = 8 + int.from_bytes(weights[:8], "little")
        weights[header:] = random.Random(0).randbytes(len(weights) - header)
        (folder / "model.safetensors").write_bytes(weights)
    return folder


def begin(run: RunDir, *settings: str, used: bool = True) -> Config:
    """A run with state, configuration and an attempt, begun with these settings.

    Args:
        used: its model has answered the probes.
    """
    config = load_config(
        [f"runs_dir={run.root.parent}", f"name={run.root.name}", "recipe=cpu_tiny", *settings]
    ).config
    run.root.mkdir(parents=True)
    settle_identity(run, config)
    write_config(run.config, config)
    run.state.write_text("{}")
    run.attempt(1, 1).mkdir(parents=True)
    if used:
        run.first_probe_scores.write_text("{}")
    return config


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "runs" / "mine")


# The hash


def test_the_hash_is_of_the_model_not_of_its_place(tmp_path: Path) -> None:
    moved = copy_of_tiny(tmp_path / "moved")
    (moved / "README.md").write_text("another text")
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_bytes(
        json.dumps(config | {"transformers_version": "9"}, indent=7).replace("\n", "\r\n").encode()
    )
    assert hash_model(moved) == hash_model(TINY)
    assert hash_model(copy_of_tiny(tmp_path / "noise", noise=True)).model != hash_model(TINY).model
    (moved / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert (
        hash_model(moved).model != hash_model(TINY).model
        and hash_model(moved).tokenizer == hash_model(TINY).tokenizer
    )


def test_a_tokenizer_saved_offline_is_the_same(tmp_path: Path) -> None:
    """transformers writes into tokenizer_config.json whether the hub could be reached when it was saved."""
    saved = copy_of_tiny(tmp_path / "saved")
    values = json.loads((saved / "tokenizer_config.json").read_text())
    for key in ("local_files_only", "is_local"):
        (saved / "tokenizer_config.json").write_text(json.dumps(values | {key: not values.get(key, False)}))
        assert hash_model(saved) == hash_model(TINY)
    (saved / "tokenizer_config.json").write_text(json.dumps(values | {"eos_token": "<another>"}))
    changed = hash_model(saved)
    assert changed.model == hash_model(TINY).model and changed.tokenizer != hash_model(TINY).tokenizer
    assert "holds the same weights with another tokenizer" in hash_model(TINY).changed_to(changed)


def test_a_large_file_is_sampled_in_each_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_hash, "WHOLE_BYTES", 1000)
    path = copy_of_tiny(tmp_path / "model") / "model.safetensors"
    whole = path.read_bytes()
    before = hash_model(path.parent)
    length = int.from_bytes(whole[:8], "little")
    tensors = {
        name: entry for name, entry in json.loads(whole[8 : 8 + length]).items() if name != "__metadata__"
    }
    assert len(tensors) > 10
    for entry in tensors.values():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        changed = bytearray(whole)
        changed[begin:end] = bytes(byte ^ 1 for byte in whole[begin:end])
        path.write_bytes(changed)
        assert hash_model(path.parent).model != before.model
    path.write_bytes(whole)
    assert hash_model(path.parent) == before
    other = path.with_name("weights.bin")  # no safetensors header: spread over the file
    path.rename(other)
    as_bin = hash_model(path.parent).model
    other.write_bytes(bytes(len(whole)))
    assert hash_model(path.parent).model != as_bin


def test_a_checkpoint_of_another_run_is_not_used(run: RunDir) -> None:
    """Copied beside the run's own as the newest, it was gone on from and measured as this run's, without a word."""
    other, copy = RunDir(run.root.parent / "other"), RunDir(run.root.parent / "copy")
    for one in (run, other):
        begin(one)
        for step in (2, 4) if one == other else (2,):
            staging = staging_dir(one, step)
            (staging / "weights").write_text(f"{one.root.name} {step}")
            publish_checkpoint(one, step, staging, {"cycle": 1})
    shutil.copytree(other.checkpoint(4), run.checkpoint(4))
    assert [checkpoint.step for checkpoint in list_checkpoints(run)] == [2]
    [told] = damaged_checkpoints(run)
    assert re.search(
        r"step_00000004 cannot be used .* saved by another run \(other\).* azr export \S+/other --step 4 --out FOLDER, then",
        told,
    )
    assert (
        "Set step_00000004 aside" in " ".join(repair_checkpoints(run))
        and (run.checkpoints / "damaged-step_00000004").is_dir()
    )

    shutil.copytree(other.root, copy.root)
    assert [checkpoint.step for checkpoint in list_checkpoints(copy)] == [2, 4], (
        "a copy goes on from what it holds"
    )
    copy.identity.unlink()
    identity = read_identity(other)
    assert identity is not None
    write_identity(copy, replace(identity, origin=""), TINY)
    assert read_identity(copy) == identity, "a record that is made anew takes the word of its checkpoints"


# Starts that differ


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["model.lora_rank=8"], ("model.lora_rank: 0 at its start, 8 now", "model.lora_rank=0")),
        (
            ["train.optimizer=adamw_8bit"],
            ("train.optimizer: adamw at its start, adamw_8bit now", "train.optimizer=adamw"),
        ),
        (
            ["selfplay.frame=short"],
            ("selfplay.frame: compact at its start, short now", "selfplay.frame=compact"),
        ),
        (["model.path=Qwen/Qwen2.5-Coder-0.5B"], ("now", "name=OTHER")),
        (["seed=7"], ("seed: 1 at its start, 7 now", "To continue this one: seed=1")),
        (
            ["recipe=0_5b_16gb", f"model.path={TINY}"],
            ("recipe: cpu_tiny at its start, 0_5b_16gb now", "recipe=cpu_tiny"),
        ),
    ],
)
def test_a_start_that_differs_is_refused_with_both_values_and_changes_nothing(
    run: RunDir, capsys: pytest.CaptureFixture[str], settings: list[str], expected: tuple[str, ...]
) -> None:
    begin(run)
    before = contents(run.root)
    assert run_command("run", [f"runs_dir={run.root.parent}", f"name={run.root.name}", *settings]) == 2
    said = capsys.readouterr().err
    assert (
        all(text in said for text in (*expected, "began with other settings", "name=OTHER"))
        and "Traceback" not in said
    )
    assert contents(run.root) == before


def test_noise_of_the_same_shape_is_another_model(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(run)
    noise = copy_of_tiny(tmp_path / "noise", noise=True)
    before = contents(run.root)
    assert (
        run_command("run", [f"runs_dir={run.root.parent}", f"name={run.root.name}", f"model.path={noise}"])
        == 2
    )
    said = capsys.readouterr().err
    assert f"data/models/azr-tiny (content {hash_model(TINY).model[:8]}) at its start" in said
    assert (
        f"{noise} (content {hash_model(noise).model[:8]}) now" in said
        and "model.path=data/models/azr-tiny" in said
    )
    assert contents(run.root) == before


def test_a_model_that_was_replaced_in_its_folder_is_told(run: RunDir, tmp_path: Path) -> None:
    model = copy_of_tiny(tmp_path / "model")
    config = begin(run, f"model.path={model}")
    shutil.rmtree(model)
    copy_of_tiny(model, noise=True)
    with pytest.raises(RunError, match=f"the model put back into {model}"):
        require_same_run(run, config)
    with pytest.raises(ModelError, match="now holds another model"):
        base_folder(run, config)
    with pytest.raises(ModelError, match="the model card cannot name it"):
        require_base_unchanged(run)


def test_a_model_that_nothing_came_from_may_be_repaired_or_replaced(run: RunDir, tmp_path: Path) -> None:
    """Its weights were NaN, the run said so and ended, and then refused the folder that had been repaired."""
    model = copy_of_tiny(tmp_path / "model", noise=True)
    config = begin(run, f"model.path={model}", used=False)
    copy_identity(run, run.attempt(1, 1))
    shutil.rmtree(model)
    copy_of_tiny(model)
    require_same_run(run, config)
    assert f"begins with the model that is in {model} now" in settle_identity(run, config)
    assert base_folder(run, config) == model and not settle_identity(run, config)

    place = [f"runs_dir={run.root.parent}", f"name={run.root.name}"]
    elsewhere = copy_of_tiny(tmp_path / "elsewhere", noise=True)
    other = load_config([*place, f"model.path={elsewhere}"]).config
    settle_identity(run, other)
    assert base_folder(run, other) == elsewhere
    with pytest.raises(RunError, match="seed: 1 at its start, 7 now"):
        require_same_run(run, load_config([*place, "seed=7"]).config)
    run.shard(1).write_text("{}\n")
    with pytest.raises(RunError, match="at its start"):
        require_same_run(run, config)


def test_a_link_that_leads_to_the_next_model_leaves_the_runs_own(run: RunDir, tmp_path: Path) -> None:
    """Neither its model nor its tasks could be exported while ``current`` was the next model."""
    model, link = copy_of_tiny(tmp_path / "model"), tmp_path / "current"
    link.symlink_to(model)
    config = begin(run, f"model.path={link}")
    link.unlink()
    link.symlink_to(copy_of_tiny(tmp_path / "next", noise=True))
    with pytest.raises(RunError, match="at its start"):
        require_same_run(run, config)
    assert base_folder(run, config) == model
    identity = require_base_unchanged(run)
    assert identity is not None and identity.model == str(model), "what the card names"


def test_another_tokenizer_is_named_as_the_tokenizer(run: RunDir, tmp_path: Path) -> None:
    model = copy_of_tiny(tmp_path / "model")
    begun = begin(run, f"model.path={model}")
    values = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(values | {"add_bos_token": True}))
    contents = hash_model(TINY).tokenizer[:8], hash_model(model).tokenizer[:8]
    with pytest.raises(RunError) as told:
        require_same_run(run, begun)
    assert (
        f"tokenizer: {model} (content {contents[0]}) at its start, {model} (content {contents[1]}) now"
        in str(told.value)
    )
    assert f"the tokenizer's files (tokenizer*.json, vocabulary, chat template) put back into {model}" in str(
        told.value
    )
    assert "name=OTHER" in str(told.value) and "model.path" not in str(told.value)

    copied = shutil.copytree(model, tmp_path / "copied")
    place = [f"runs_dir={run.root.parent}", f"name={run.root.name}"]
    with pytest.raises(RunError) as told:
        require_same_run(run, load_config([*place, f"model.path={copied}", "model.lora_rank=8"]).config)
    assert f"To continue this one: model.path={model} model.lora_rank=0" in str(told.value)


def test_a_model_that_was_moved_is_the_same(run: RunDir, tmp_path: Path) -> None:
    model, moved = copy_of_tiny(tmp_path / "model"), tmp_path / "moved"
    config = begin(run, f"model.path={model}")
    model.rename(moved)
    with pytest.raises(ModelError, match="no longer there"):
        base_folder(run, config)
    assert require_base_unchanged(run) is not None, "a model that is gone may still be named"
    with pytest.raises(ModelError, match="no such folder"):
        require_startable(config, CARD, run)
    again = load_config(
        [f"runs_dir={run.root.parent}", f"name={run.root.name}", f"model.path={moved}"]
    ).config
    require_startable(again, CARD, run)
    assert f"{moved} holds the model that mine began with" in settle_identity(run, again)
    assert base_folder(run, again) == moved
    recorded = read_identity(run)
    assert recorded is not None and recorded.model == str(model), "the record stays"


def test_a_prompt_frame_that_was_moved_is_the_same(run: RunDir, tmp_path: Path) -> None:
    """A run with a frame of its own could not go on once that folder was renamed, or lay elsewhere on another machine."""
    frame, moved = tmp_path / "frame", tmp_path / "moved"
    shutil.copytree(PROJECT / "azr" / "prompts" / "compact", frame)
    begin(run, f"selfplay.frame={frame}")
    write_versions(run.attempt(1, 1), collect_versions(str(frame)))
    frame.rename(moved)
    settings = [f"runs_dir={run.root.parent}", f"name={run.root.name}", f"selfplay.frame={moved}"]
    again = load_config(settings).config
    require_startable(again, CARD, run)
    assert f"{moved} holds the prompt frame that mine began with" in settle_identity(run, again)
    assert "selfplay.frame" not in " ".join(
        changed_settings(run, again, collect_versions(str(moved))).figures
    )
    assert not settle_identity(run, again), "said once"
    (moved / "solve_deduction.jinja").write_text("{{ task.program }} {{ task.input }} otherwise")
    moved.rename(frame)
    with pytest.raises(RunError, match=r"selfplay\.frame: .*moved at its start, .*frame now"):
        settle_identity(run, load_config([*settings[:2], f"selfplay.frame={frame}"]).config)


def test_the_driver_refuses_too_before_it_changes_anything(run: RunDir, tmp_path: Path) -> None:
    config = fast_config()
    command_trainer(run)
    assert Driver(run, config).wait() == 0
    before = contents(run.root)
    noise = copy_of_tiny(tmp_path / "noise", noise=True)

    assert Driver(run, replace(config, model=replace(config.model, path=str(noise)))).wait() == 71
    after = contents(run.root)
    assert {path for path in after if before.get(path) != after[path]} == {str(run.root / "driver.log")}
    assert "began with other settings" in (run.root / "driver.log").read_text()


# Names of the hub, with and without a revision

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache without a network: ``org/tiny`` and its branch v1, both at the commit OLD; NEW is
    another model."""
    model = tmp_path / "hub" / "models--org--tiny"
    copy_of_tiny(model / "snapshots" / OLD)
    copy_of_tiny(model / "snapshots" / NEW, noise=True)
    (model / "refs").mkdir()
    for ref in ("main", "v1"):
        (model / "refs" / ref).write_text(OLD)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return model


@pytest.mark.parametrize("name", ["org/tiny", "org/tiny@v1"])
def test_a_run_keeps_the_commit_it_began_with_when_its_branch_moves(
    run: RunDir, hub: Path, name: str
) -> None:
    config = begin(run, f"model.path={name}")
    recorded = read_identity(run)
    assert recorded is not None and (recorded.model, recorded.folder) == (name, str(hub / "snapshots" / OLD))
    for ref in ("main", "v1"):
        (hub / "refs" / ref).write_text(NEW)
    require_same_run(run, config)
    assert settle_identity(run, config) == "" and base_folder(run, config) == hub / "snapshots" / OLD
    shutil.rmtree(hub / "snapshots" / OLD)
    # the cache was cleared: the branch, which holds another model now, is no help, nor is the advice to fetch it
    told = (
        rf"model\.path=org/tiny@{OLD}: .*not in the local cache.* \(`hf download org/tiny --revision {OLD}`\)"
    )
    with pytest.raises(ModelError, match=told):
        settle_identity(run, config)
    with pytest.raises(ModelError, match=told):
        require_startable(config, NO_CARD, run)
    with pytest.raises(ModelError, match=rf"that model is no longer there: .*--revision {OLD}"):
        base_folder(run, config)
    copy_of_tiny(hub / "snapshots" / OLD)
    require_startable(config, NO_CARD, run)
    assert settle_identity(run, config) == ""


def test_the_same_model_under_another_name_of_the_hub_goes_on(run: RunDir, hub: Path) -> None:
    begin(run, "model.path=org/tiny")
    for name in ("org/tiny@v1", f"org/tiny@{OLD}", str(hub / "snapshots" / OLD)):
        config = load_config(
            [f"runs_dir={run.root.parent}", f"name={run.root.name}", f"model.path={name}"]
        ).config
        require_same_run(run, config)
        settle_identity(run, config)
        assert base_folder(run, config) == hub / "snapshots" / OLD
    for name in (f"org/tiny@{NEW}", "org/tiny@gone", "org/other"):
        config = load_config(
            [f"runs_dir={run.root.parent}", f"name={run.root.name}", f"model.path={name}"]
        ).config
        with pytest.raises(RunError, match=f"model.path: org/tiny at its start, {name} now"):
            require_same_run(run, config)


def test_a_folder_that_is_the_hub_s_model_goes_on_under_its_name(
    run: RunDir, hub: Path, tmp_path: Path
) -> None:
    begin(run, f"model.path={copy_of_tiny(tmp_path / 'mine')}")
    shutil.rmtree(tmp_path / "mine")
    config = load_config(
        [f"runs_dir={run.root.parent}", f"name={run.root.name}", "model.path=org/tiny@v1"]
    ).config
    require_startable(config, CARD, run)
    assert "holds the model that mine began with" in settle_identity(run, config)


# Damaged records, and records that are gone


def test_a_run_without_a_record_is_compared_with_its_configuration_and_recorded(
    run: RunDir, tmp_path: Path
) -> None:
    config = begin(run)
    run.identity.unlink()
    other = load_config(
        [f"runs_dir={run.root.parent}", f"name={run.root.name}", f"model.path={copy_of_tiny(tmp_path / 'x')}"]
    ).config
    with pytest.raises(RunError, match=r"model\.path: data/models/azr-tiny at its start"):
        require_same_run(run, other)
    absolute = load_config(
        [f"runs_dir={run.root.parent}", f"name={run.root.name}", f"model.path={TINY}"]
    ).config
    require_same_run(run, absolute)
    assert "uses only this one from now on" in settle_identity(run, config)
    assert settle_identity(run, config) == ""


def test_a_record_that_is_gone_comes_back_from_an_attempts_copy(run: RunDir, tmp_path: Path) -> None:
    """Shared disks clear what is old, and ``identity.json`` is a run's oldest file."""
    config = begin(run)
    copy_identity(run, run.attempt(1, 1))
    before = read_identity(run)
    run.identity.unlink()
    run.config.unlink()
    place = [f"runs_dir={run.root.parent}", f"name={run.root.name}"]
    with pytest.raises(RunError, match=r"model\.path: data/models/azr-tiny \(content"):
        require_same_run(
            run, load_config([*place, f"model.path={copy_of_tiny(tmp_path / 'x', noise=True)}"]).config
        )
    assert "identity.json was gone; it is restored" in settle_identity(run, config)
    assert settle_identity(run, config) == "" and read_identity(run) == before


def test_without_any_record_an_attempts_configuration_counts_and_then_nothing_is_guessed(
    run: RunDir, tmp_path: Path
) -> None:
    config = begin(run)
    run.identity.unlink()
    run.config.rename(run.attempt(1, 1) / "config.yaml")
    place = [f"runs_dir={run.root.parent}", f"name={run.root.name}"]
    other = load_config([*place, f"model.path={copy_of_tiny(tmp_path / 'x')}"]).config
    with pytest.raises(RunError, match=r"model\.path: data/models/azr-tiny at its start"):
        settle_identity(run, other)
    (run.attempt(1, 1) / "config.yaml").unlink()
    staging = staging_dir(run, 4)
    (staging / "model.pt").write_bytes(b"weights")
    publish_checkpoint(run, 4, staging, {})
    for started in (config, other):
        with pytest.raises(RunError, match="nothing says which model they were made from"):
            settle_identity(run, started)


def test_a_damaged_record_is_a_sentence(run: RunDir) -> None:
    config = begin(run)
    good = run.identity.read_text()
    for bad in (
        '{"format": 1}',
        "[]",
        "",
        good.replace('"lora_rank": 0', '"lora_rank": "none"'),
        good.replace('"recipe": "', '"recipe": ["') + "]",
    ):
        assert bad != good
        run.identity.write_text(bad)
        with pytest.raises(RunError, match=r"identity\.json is damaged"):
            require_same_run(run, config)


# Recipes


def test_a_run_keeps_its_recipe_when_none_is_named(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begin(run)
    machine = tmp_path / "machine.json"
    machine.write_text(json.dumps({"gpus": [{"total_gib": 24, "compute_capability": [8, 9]}]}))
    monkeypatch.setenv("AZR_MACHINE", str(machine))
    place = [f"runs_dir={run.root.parent}", f"name={run.root.name}"]
    loaded = load_config(place)
    assert loaded.config.recipe == "cpu_tiny"
    assert (
        "mine began with it; this machine would take 0_5b_16gb, which needs another name="
        in loaded.recipe_reason
    )
    assert load_config([place[0], "name=other"]).config.recipe == "0_5b_16gb"
    run.identity.unlink()
    assert load_config(place).config.recipe == "cpu_tiny"


def test_a_recipe_that_is_gone_is_a_sentence(run: RunDir) -> None:
    begin(run)
    record: dict[str, Any] = json.loads(run.identity.read_text())
    run.identity.write_text(json.dumps(record | {"recipe": "my_own"}))
    place = [f"runs_dir={run.root.parent}", f"name={run.root.name}"]
    with pytest.raises(
        ConfigError, match=r"began with recipe=my_own, which is not in .* give its new name with recipe="
    ):
        load_config(place)
    config = load_config(
        [*place, "recipe=cpu_tiny"]
    ).config  # it was refused, with the advice to write recipe=my_own
    assert "continues with recipe=cpu_tiny" in settle_identity(run, config) and not settle_identity(
        run, config
    )
    with pytest.raises(RunError, match=r"model\.lora_rank: 0 at its start, 8 now"):
        require_same_run(run, replace(config, model=replace(config.model, lora_rank=8)))


def test_a_run_of_a_card_waits_for_the_card(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(run, "recipe=0_5b_16gb", f"model.path={TINY}")
    machine = tmp_path / "machine.json"
    machine.write_text(json.dumps({"gpus": [], "gpu_note": "no driver"}))
    monkeypatch.setenv("AZR_MACHINE", str(machine))
    before = contents(run.root)
    assert (
        run_command("run", [f"runs_dir={run.root.parent}", f"name={run.root.name}", f"model.path={TINY}"])
        == 2
    )
    said = capsys.readouterr()
    assert (
        "began with recipe=0_5b_16gb, which needs an NVIDIA GPU, and none is visible (no driver)" in said.err
    )
    assert "recipe=cpu_tiny" not in said.out + said.err
    assert contents(run.root) == before and read_config(run.config).recipe == "0_5b_16gb"
    with pytest.raises(BudgetError, match="hides every card"):
        require_startable(read_config(run.config), NO_CARD, run)


def test_a_run_with_checkpoints_that_cannot_be_read_is_not_called_free_to_remove(run: RunDir) -> None:
    """They may be of a later version, or damaged; the advice was to remove the run's folder."""
    changed = [Difference("seed", "1", "2", "seed=1")]
    assert "remove" in identity_refusal(run, changed)
    run.checkpoint(2).mkdir(parents=True)
    assert "remove" not in identity_refusal(run, changed)


@pytest.mark.parametrize(
    ("ask", "told"), [({"frame": "short"}, True), ({"frame": "compact"}, False), (None, False)]
)
def test_a_run_from_an_exported_model_that_is_asked_in_another_frame_says_so(
    run: RunDir, tmp_path: Path, ask: dict[str, str] | None, *, told: bool
) -> None:
    model = copy_of_tiny(tmp_path / "exported")
    record = {"run": "a", "step": 3, "base_model": "b", "ask": ask}
    (model / "azr.json").write_text(json.dumps(record))
    config = load_config(
        [f"runs_dir={run.root.parent}", f"name={run.root.name}", f"model.path={model}"]
    ).config
    run.root.mkdir(parents=True)
    sentence = settle_identity(run, replace(config, selfplay=replace(config.selfplay, frame="compact")))
    assert ("with selfplay.frame=short" in sentence) is told and bool(sentence) is told


@pytest.mark.parametrize("by", ["a frame that moved", "a lost record", "an earlier version"])
def test_the_record_of_another_export_in_the_place_of_a_moved_model_is_not_the_runs(
    run: RunDir, tmp_path: Path, by: str
) -> None:
    """It was copied into the run with the next change, or read there: the card of its export named the other model's runs."""

    def export(folder: Path, name: str, *, noise: bool) -> None:
        copy_of_tiny(folder, noise=noise)
        (folder / "azr.json").write_text(json.dumps({"run": name, "step": 3, "base_model": "b"}))

    model, moved, frame = tmp_path / "exported", tmp_path / "moved", tmp_path / "frame"
    export(model, "own", noise=False)
    shutil.copytree(PROJECT / "azr" / "prompts" / "compact", frame)
    begin(run, f"model.path={model}", f"selfplay.frame={frame}")
    write_versions(run.attempt(1, 1), collect_versions(str(frame)))
    copy_identity(run, run.attempt(1, 1))
    model.rename(moved)
    export(model, "other", noise=True)
    if by == "an earlier version":
        shutil.rmtree(run.base_model)
        assert earlier_runs(base_records(run)) == []
    elif by == "a lost record":
        run.identity.unlink()
    else:
        frame = frame.rename(tmp_path / "elsewhere")
    place = [f"runs_dir={run.root.parent}", f"name={run.root.name}"]
    settle_identity(run, load_config([*place, f"model.path={moved}", f"selfplay.frame={frame}"]).config)
    assert [made["run"] for made in earlier_runs(base_records(run))] == ["own"]


@pytest.mark.parametrize(
    "record", ["[]", "3", '{"run": "a"', '{"run": "a", "step": 3, "base_model": "b", "earlier_runs": 3}']
)
def test_a_file_that_is_no_record_of_an_export_says_nothing(tmp_path: Path, record: str) -> None:
    (tmp_path / "azr.json").write_text(record)
    assert trained_in_another_frame(tmp_path, "compact") == ""
