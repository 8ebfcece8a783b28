"""Export from real checkpoints of a tiny random model; what comes out is loaded by plain transformers."""

from __future__ import annotations

import dataclasses
import errno
import json
import mmap
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_fixture import PROJECT, TINY, card_record, make_run, random_model, save_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

from azr.campaign.state import CampaignState, write_state_file
from azr.config import Config, load
from azr.config.load import read_config, write_config
from azr.config.yaml_files import load_yaml
from azr.errors import CheckpointError, ConfigError, DataError, ModelError, RunError
from azr.evaluate import evaluation, export, gguf, weights
from azr.evaluate.doubts import trained_programs
from azr.evaluate.engine_worker import HashedWeights
from azr.evaluate.evaluation import each_once, evaluate
from azr.evaluate.export import (
    ExportOptions,
    compare_with_record,
    earlier_runs,
    export_model,
    training_probes,
)
from azr.evaluate.export_cards import how_trained, model_card, shown_model
from azr.evaluate.models import find_checkpoint, resolve
from azr.evaluate.options import Options
from azr.evaluate.scoring import Scores
from azr.evaluate.statistics import wilson_estimate
from azr.evaluate.weights import (
    as_numbers,
    base_of,
    merged_state_dict,
    require_new_folder,
    write_model_folder,
)
from azr.models.exported import recorded_programs, trained_in_another_frame
from azr.models.model_hash import hash_weights
from azr.moving.pack import PackOptions, pack_run
from azr.prompts import load_frame
from azr.report.summary_reader import read_summary
from azr.run.checkpoints import damaged_checkpoints, read_checkpoint
from azr.run.protocol import MetricsRecord, append_metrics
from azr.run.rundir import RunDir
from azr.system.files import append_jsonl, read_jsonl, write_json_atomic

UNCHECKED = ExportOptions(step="latest", check=False)


def quiet(_: str) -> None:
    return


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path)


def test_the_exported_tokenizer_splits_as_the_checkpoint_s_file_does(run: RunDir, tmp_path: Path) -> None:
    """transformers would take Qwen2's own splitting rules for a tokenizer that the trainer saved under the
    generic class."""
    from tokenizers import Tokenizer

    model = random_model()
    path = save_checkpoint(run, 2, model.state_dict(), model.config)
    saved = path / "actor" / "huggingface"
    assert json.loads((saved / "tokenizer_config.json").read_text())["tokenizer_class"] == "TokenizersBackend"
    folder = export_model(run, tmp_path / "out", UNCHECKED, quiet)
    raw, loaded = Tokenizer.from_file(str(saved / "tokenizer.json")), AutoTokenizer.from_pretrained(folder)
    text = "# solve deduction\n```python\ndef f(a, acc):\n    return abs(a - 12)\n```\n<think>"
    assert loaded.encode(text, add_special_tokens=False) == raw.encode(text, add_special_tokens=False).ids
    assert loaded.eos_token == "<|end|>"


def test_two_exports_into_one_folder(run: RunDir, tmp_path: Path) -> None:
    """The second removed what the first was writing, or ended at "Directory not empty"."""
    model = random_model()
    save_checkpoint(run, 2, model.state_dict(), model.config)

    def second(_: str) -> None:
        with pytest.raises(RunError, match=r"another export into .*out is going on"):
            export_model(run, tmp_path / "out", UNCHECKED, quiet)

    folder = export_model(run, tmp_path / "out", dataclasses.replace(UNCHECKED, step="best"), second)
    assert (folder / "model.safetensors").is_file()
    assert json.loads((folder / "azr.json").read_text())["picked"] is True, "the best of three"


def test_an_export_that_is_broken_off_leaves_nothing(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole model stayed beside the place, under another name, while it said that nothing was exported."""
    model = random_model()
    save_checkpoint(run, 2, model.state_dict(), model.config)

    def broken_off(*_: object) -> None:
        assert (tmp_path / "out.unchecked" / "model.safetensors").is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "_ask_probes", broken_off)
    with pytest.raises(KeyboardInterrupt):
        export_model(run, tmp_path / "out", replace(UNCHECKED, check=True), quiet)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(run: RunDir, tmp_path: Path, value: float) -> None:
    """It was told that the exported weight differed from the checkpoint's: NaN is not equal to itself."""
    model = random_model()
    state = dict(model.state_dict())
    name = "model.layers.1.mlp.down_proj.weight"
    state[name] = state[name].clone()
    state[name][3, 4] = value
    path = save_checkpoint(run, 2, state, model.config)
    with pytest.raises(
        ModelError, match=rf"{path}: {name} holds NaN or infinity.*take an earlier checkpoint"
    ):
        export_model(run, tmp_path / "out", UNCHECKED, quiet)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match=rf"folder: {name} holds NaN or infinity"):
        dict(HashedWeights(state.items(), torch.float32, "folder"))


def test_weights_that_a_number_type_cannot_hold_are_named() -> None:
    large = torch.tensor([70000.0])
    assert torch.equal(as_numbers("folder", "w", large, torch.float32), large)
    with pytest.raises(ModelError, match=r"folder: w is too large for torch.float16; take bfloat16"):
        as_numbers("folder", "w", large, torch.float16)
    count = torch.tensor([3])
    assert as_numbers("folder", "n", count, torch.float16) is count


@pytest.mark.parametrize("tied", [True, False])
def test_plain_transformers_gives_the_checkpoint_s_logits(run: RunDir, tmp_path: Path, tied: bool) -> None:
    model = random_model(tied=tied)
    save_checkpoint(run, 2, model.state_dict(), model.config)
    folder = export_model(run, tmp_path / "out", UNCHECKED, quiet)
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16
    assert "attn_implementation" not in json.loads((folder / "config.json").read_text())
    ids = torch.tensor([AutoTokenizer.from_pretrained(folder).encode("def f(x):\n    return x")])
    exported: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
        assert torch.equal(exported(ids).logits, model(ids).logits)


def test_generation_settings_that_transformers_reads_and_does_not_write(run: RunDir, tmp_path: Path) -> None:
    model, settings = random_model(), {"temperature": 0.6, "do_sample": False, "eos_token_id": [1, 5]}
    save_checkpoint(run, 2, model.state_dict(), model.config, generation=settings)
    folder = export_model(run, tmp_path / "out", UNCHECKED, quiet)
    assert json.loads((folder / "generation_config.json").read_text()) == settings


def test_a_checkpoint_that_the_run_removes_meanwhile_is_not_called_damaged(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that goes on keeps its last checkpoints only."""
    model = random_model()
    save_checkpoint(run, 2, model.state_dict(), model.config)
    opened = weights.merged_state_dict

    def remove_first(*arguments: Any, **options: Any) -> Any:
        shutil.rmtree(run.checkpoint(2))
        return opened(*arguments, **options)

    monkeypatch.setattr(weights, "merged_state_dict", remove_first)
    with pytest.raises(CheckpointError, match="was removed while it was read: the run goes on"):
        export_model(run, tmp_path / "out", UNCHECKED, quiet)
    assert not list(tmp_path.glob("out*"))


def test_a_model_is_not_compared_with_itself(run: RunDir) -> None:
    for step in (1, 2):
        save_checkpoint(run, step, {"x": torch.zeros(1)}, random_model().config)
    said: list[str] = []
    named = [resolve(f"{run.root}@{which}") for which in ("best", "1", "latest", "0")]
    assert [source.label for source in each_once(named, said.append)] == ["tiny@1", "tiny@2", "tiny@0"]
    assert len(said) == 1 and said[0].startswith("tiny@1 is named twice")


def test_runs_and_folders_of_one_name_are_told_apart(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs called default, at the same step, the second was left out as named twice; a folder named by
    two paths waited for itself."""
    elsewhere = make_run(tmp_path / "elsewhere")
    for each, value in ((run, 0.0), (elsewhere, 1.0)):
        save_checkpoint(each, 1, {"x": torch.full((1,), value)}, random_model().config)
    said: list[str] = []
    found = each_once(
        [resolve(f"{each.root}@{step}") for each in (run, elsewhere) for step in "01"], said.append
    )
    above = (run.root.parent.parent.name, "elsewhere")
    assert [source.label for source in found] == [
        f"{name}/runs/tiny@{step}" for name in above for step in "01"
    ]
    found = each_once([resolve(f"{run.root}@1"), resolve(f"{elsewhere.root}@0")], said.append)
    assert [source.label for source in found] == [f"{above[0]}/runs/tiny@1", f"{above[1]}/runs/tiny@0"]
    assert not said

    monkeypatch.chdir(tmp_path)
    for name in ("a/final", "a-final"):
        shutil.copytree(TINY, name)
    (tmp_path / "a-final" / "generation_config.json").write_text("{}")
    found = each_once([resolve(name) for name in ("a/final", "a-final", f"{tmp_path}/a/final")], said.append)
    assert [source.label for source in found] == [
        f"{name} ({source.identity[:8]})" for name, source in zip(("a/final", "a-final"), found, strict=True)
    ]
    assert len(said) == 1 and said[0].startswith(f"{tmp_path}/a/final is named twice")


def test_more_answers_per_item_than_were_sampled_are_no_score() -> None:
    with pytest.raises(ConfigError, match=r"--k 5 is .* it needs --samples 10"):
        evaluate(["x"], Options(suites=["probes"], samples=2, ks=[1, 5, 10]), quiet)


def test_the_folder_says_how_to_ask_it_and_where_it_comes_from(run: RunDir, tmp_path: Path) -> None:
    model = random_model()
    save_checkpoint(run, 2, model.state_dict(), model.config)
    said: list[str] = []
    folder = export_model(run, tmp_path / "my-model", UNCHECKED, said.append)
    assert not any("scored more" in line for line in said), "30 %, and 10 % at first"
    card = (folder / "README.md").read_text()
    for text in (
        "library_name: transformers",
        "# my-model",
        "`azr-tiny` after 2 steps",
        "2505.03335",
        "10.0% (step 0)",
        "30.0%",
        "compact",
    ):
        assert text in card
    assert str(PROJECT) not in card, "a path of this machine is nobody's business"
    source = resolve(str(folder))
    assert (source.selfplay.frame, source.max_prompt_tokens, source.max_response_tokens, source.dtype) == (
        "compact",
        300,
        48,
        "float32",
    )


@pytest.mark.parametrize("is_there", [True, False])
def test_a_prompt_frame_of_the_users_own_goes_along_without_its_path(
    tmp_path: Path, *, is_there: bool
) -> None:
    """azr.json and the card named a folder of the user's home, and nobody could ask the model on another machine."""
    frame = tmp_path / "home" / "mine"
    shutil.copytree(PROJECT / "azr" / "prompts" / "compact", frame)
    (frame / "notes.txt").write_text("private")
    (frame / "parts" / "unused").mkdir(parents=True)
    (frame / "parts" / "unused" / "more.jinja").write_text("private")
    (frame / "parts" / "around.txt").write_text((frame / "frame.jinja").read_text())
    (frame / "frame.jinja").write_text('{% include "parts/around.txt" %}')
    run = make_run(tmp_path, selfplay={"frame": str(frame)})
    model = random_model()
    save_checkpoint(run, 2, model.state_dict(), model.config)
    if not is_there:
        frame.rename(tmp_path / "elsewhere")
    folder = export_model(run, tmp_path / "out", UNCHECKED, quiet)
    assert str(tmp_path) not in "".join(
        (folder / name).read_text() for name in ("azr.json", "README.md", "azr_trained.json")
    )
    if not is_there:
        assert json.loads((folder / "azr.json").read_text())["ask"]["frame"] == "mine"
        return
    shutil.rmtree(frame)
    moved = folder.rename(tmp_path / "another machine")
    source = resolve(str(moved))
    assert (
        source.selfplay.frame == str(moved / "azr_frame") and not (moved / "azr_frame" / "notes.txt").exists()
    )
    assert load_frame(source.selfplay.frame).wrap("x") == load_frame("compact").wrap("x")
    assert not (moved / "azr_frame" / "parts" / "unused").exists()
    assert trained_in_another_frame(moved, source.selfplay.frame) == "", "the same files"
    assert f"selfplay.frame={moved / 'azr_frame'}" in trained_in_another_frame(moved, "paper")
    assert (
        "It was trained with a prompt frame of its own (`azr_frame`), prompts"
        in (moved / "README.md").read_text()
    )


@pytest.mark.parametrize(("now", "is_told"), [(0.0, True), (0.295, False)])
def test_a_model_that_scores_less_than_the_start_is_exported_with_a_word(
    run: RunDir, tmp_path: Path, now: float, is_told: bool
) -> None:
    """Of a collapsed model it said that its 0.0 % agree with the trainer's, and nothing of the 30 % before; one task less
    of 200 is chance."""
    model, said = random_model(), list[str]()
    save_checkpoint(run, 2, model.state_dict(), model.config)
    run.metrics.unlink()
    for step, score in ((0, 0.3), (2, now)):
        values = {"probe/all/accuracy": score, "probe/tasks": 200.0}
        append_metrics(run, MetricsRecord(step=step, cycle=1, attempt=1, unix_s=9.0, values=values))
    by_an_earlier_version = {"run": "a", "step": 3, "base_model": "/home/me/models/x"}
    write_json_atomic(run.base_model / "azr.json", by_an_earlier_version)
    export_model(run, tmp_path / "out", dataclasses.replace(UNCHECKED, step="best"), said.append)
    told = "scored more on its probe tasks: 30.0%, and this one 0.0%"
    assert any(line.endswith(told) for line in said) is is_told
    record = json.loads((tmp_path / "out" / "azr.json").read_text())
    assert record["picked"] is False, "there was one"
    assert record["earlier_runs"][0]["base_model"] == "x", "no folder of the user's machine"


def test_the_card_of_a_model_from_an_exported_one_names_where_it_all_began(tmp_path: Path) -> None:
    (tmp_path / "azr.json").write_text(
        json.dumps(
            {
                "run": "b",
                "step": 40,
                "base_model": "first",
                "earlier_runs": [{"run": "a", "step": 20, "base_model": "Qwen/Qwen2.5-Coder-0.5B@main"}],
            }
        )
    )
    earlier = earlier_runs(tmp_path)
    record = card_record(tmp_path, Config(), 2, base_model="my-model", earlier_runs=earlier)
    card = model_card(record, Config(), [], "mine")
    assert "base_model: Qwen/Qwen2.5-Coder-0.5B\n" in card
    assert (
        "| The base model is | step 40 of a run from `first`, step 20 of a run from `Qwen/Qwen2.5-Coder-0.5B@main` |"
        in card
    )
    assert earlier_runs(tmp_path / "other") == []


@pytest.mark.parametrize(
    ("base", "named"),
    [
        ("org/name@v1.0", "org/name"),
        ("org/name", "org/name"),
        ("/m/x", None),
        ("/home/me/.cache/huggingface/hub/models--org--a-name/snapshots/0a1b/", "org/a-name"),
    ],
)
def test_the_card_names_a_base_model_as_the_hub_takes_it(
    tmp_path: Path, base: str, named: str | None
) -> None:
    card = model_card(card_record(tmp_path, Config(), 2, base_model=base), Config(), [], "mine")
    assert f"base_model: {named}\n" in card if named else "base_model:" not in card
    assert f"| `{shown_model(base)}`" in card


def test_a_checkpoint_on_a_share_that_maps_no_files(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VirtualBox's and some of FUSE: such a run trained, and could not be exported."""
    model, read = random_model(), torch.load
    path = save_checkpoint(run, 2, model.state_dict(), model.config)

    def load(file: Path, *, mmap: bool = False, **options: Any) -> Any:
        if mmap:
            raise RuntimeError(f"unable to mmap 123 bytes from file <{file}>: No such device (19)")
        return read(file, **options)

    monkeypatch.setattr(torch, "load", load)
    write_model_folder(read_checkpoint(path), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_target_on_a_share_that_maps_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The export said "No such device" when it had merged and written everything."""
    require_new_folder(tmp_path / "new" / "out")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(ModelError, match=r"memory \(No such device\).* --out on a disk of this machine"):
        require_new_folder(tmp_path / "new" / "out")
    with pytest.raises(ModelError, match=r"exists; give another --out, or remove it$"):
        require_new_folder(tmp_path)
    for named in (Path(), Path("/")):  # nobody is told to remove these
        with pytest.raises(ModelError, match=r"exists; give another --out, such as .*my-model$"):
            require_new_folder(named)
        with pytest.raises(ModelError, match="exists; give another"):  # it was a traceback
            export_model(RunDir(tmp_path / "run"), named, ExportOptions())
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_not_opened(run: RunDir, tmp_path: Path) -> None:
    model = random_model()
    path = save_checkpoint(run, 2, model.state_dict(), model.config)
    checkpoint = read_checkpoint(path)
    weights = path / "actor" / "model_world_size_1_rank_0.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="it was not opened"):
        write_model_folder(checkpoint, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"], "no half-written folder is left"


def test_what_only_a_resume_needs_is_no_obstacle(run: RunDir, tmp_path: Path) -> None:
    """The best model could not be exported where its optimizer's state was damaged, and gigabytes of that were read."""
    model = random_model()
    path = save_checkpoint(run, 2, model.state_dict(), model.config)
    state = path / "trainer_state.json"
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    write_model_folder(find_checkpoint(run, "2"), tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").is_file()


class Bomb:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("exploded"),)


def test_a_pickle_that_runs_something_is_refused_even_with_a_right_hash(
    run: RunDir, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = random_model()
    path = save_checkpoint(run, 2, {**model.state_dict(), "bomb": Bomb()}, model.config)
    with pytest.raises(CheckpointError, match="cannot be read as plain tensors"):
        write_model_folder(read_checkpoint(path), tmp_path / "out")
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps({"bomb": Bomb()}))
    shutil.rmtree(path)
    path = save_checkpoint(run, 3, plain, model.config)
    with pytest.raises(CheckpointError, match="cannot be read as plain tensors"):
        write_model_folder(read_checkpoint(path), tmp_path / "out")
    assert not Path("exploded").exists()


def test_weights_that_do_not_fit_the_configuration_are_refused(run: RunDir, tmp_path: Path) -> None:
    model = random_model(tied=False)
    state = dict(model.state_dict())
    del state["model.norm.weight"]
    path = save_checkpoint(run, 2, state, model.config)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight is missing"):
        write_model_folder(read_checkpoint(path), tmp_path / "out")


@pytest.mark.parametrize("whole", [True, False], ids=["with the base", "adapters alone"])
def test_lora_is_merged_as_peft_merges_it(tmp_path: Path, whole: bool) -> None:
    from peft import LoraConfig, get_peft_model

    base = random_model()
    base.save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(PROJECT / "data/models/azr-tiny").save_pretrained(tmp_path / "base")
    run = make_run(tmp_path, model={"path": str(tmp_path / "base"), "lora_rank": 4, "lora_alpha": 12})
    adapted: Any = get_peft_model(base, LoraConfig(r=4, lora_alpha=12, target_modules="all-linear"))
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    state = {
        name: tensor.clone() for name, tensor in adapted.state_dict().items() if whole or "lora_" in name
    }
    path = save_checkpoint(run, 2, state, base.config, lora_alpha=12)
    checkpoint = read_checkpoint(path)
    checkpoint = dataclasses.replace(checkpoint, info={**checkpoint.info, "model": str(tmp_path / "base")})
    write_model_folder(checkpoint, tmp_path / "out", dtype="float32")
    merged = adapted.merge_and_unload().state_dict()
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).state_dict()
    assert set(exported) == set(merged)
    for name, tensor in merged.items():
        torch.testing.assert_close(exported[name], tensor, atol=1e-6, rtol=1e-6)
    moved = (
        merged["model.layers.0.self_attn.q_proj.weight"]
        - random_model().state_dict()["model.layers.0.self_attn.q_proj.weight"]
    )
    assert moved.abs().max() > 0.01, "the adapters did something"


def test_a_small_adapter_survives_bfloat16(tmp_path: Path) -> None:
    """It moves each weight by a tenth of the distance to its neighbour: rounded to nearest, nothing was left."""
    run = make_run(tmp_path)
    name = "model.layers.0.mlp.up_proj"
    state = {f"base_model.model.{key}": value for key, value in random_model().state_dict().items()}
    weight = state.pop(f"base_model.model.{name}.weight")
    state[f"base_model.model.{name}.base_layer.weight"] = torch.full_like(weight, 0.5)
    state[f"base_model.model.{name}.lora_A.default.weight"] = torch.ones(4, weight.shape[1])
    state[f"base_model.model.{name}.lora_B.default.weight"] = torch.full((weight.shape[0], 4), 1e-4)
    checkpoint = read_checkpoint(save_checkpoint(run, 2, state, random_model().config, lora_alpha=4))
    added = 4e-4  # bfloat16's neighbour of 0.5 is 3.9e-3 away
    once, again = (merged_state_dict(checkpoint, dtype="bfloat16")[f"{name}.weight"] for _ in range(2))
    values = once.float() - 0.5
    error = (0.5 * 2**-7 * added / values.numel()) ** 0.5  # standard error of the mean of such roundings
    assert abs(values.mean() - added) < 4 * error and 4 * error < added
    assert torch.equal(once, again)


SHARDER = """
import sys, torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
source, target, rank, store = sys.argv[1:]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=2)
mesh = init_device_mesh("cpu", (2,), mesh_dim_names=("fsdp",))
state = torch.load(source)
torch.save({name: distribute_tensor(tensor, mesh, [Shard(0)]) for name, tensor in state.items()}, target)
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_shards_of_two_ranks_are_joined(run: RunDir, tmp_path: Path) -> None:
    """Without rounding: verl's own merger makes everything bfloat16."""
    model = random_model()
    whole = tmp_path / "whole.pt"
    torch.save(model.state_dict(), whole)
    targets = [tmp_path / f"rank{rank}.pt" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHARDER, str(whole), str(target), str(rank), str(tmp_path / "store")]
        )
        for rank, target in enumerate(targets)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    path = save_checkpoint(run, 2, targets, model.config, ranks=2)
    for dtype in ("float32", "bfloat16"):
        write_model_folder(read_checkpoint(path), tmp_path / dtype, dtype=dtype)
        exported = AutoModelForCausalLM.from_pretrained(tmp_path / dtype).state_dict()
        for name, tensor in model.state_dict().items():
            assert torch.equal(exported[name], tensor.to(getattr(torch, dtype)))


@pytest.mark.parametrize("name", ["plain", "a@b", "x@best", "y@0"])
def test_an_at_sign_in_the_run_s_name_or_above_it(tmp_path: Path, name: str) -> None:
    """Snapshots and subvolumes are called so (``/@home``); the path was cut at the first one."""
    made = make_run(tmp_path / "@home").root
    run = RunDir(made.rename(made.with_name(name)))
    for step in (2, 4):
        save_checkpoint(run, step, {"x": torch.zeros(1)}, random_model().config)
    assert [resolve(f"{run.root}{which}").label for which in ("", "@latest", "@2")] == [
        f"{run.root.name}@4",
        f"{run.root.name}@4",
        f"{run.root.name}@2",
    ]
    for spec, told in (
        (f"{run.root}@x", "names no checkpoint"),
        (f"{run.root}@", "names no checkpoint behind its @; is a variable of the shell not set"),
        (f"{run.root}no@2", "is not a run directory"),
    ):
        with pytest.raises(RunError, match=told):
            resolve(spec)


def test_a_run_whose_config_is_gone_is_asked_as_its_latest_attempt_says(run: RunDir, tmp_path: Path) -> None:
    """Its checkpoints were asked in the published frame and lengths, without a word; export and base model were refused."""
    save_checkpoint(run, 2, {"x": torch.zeros(1)}, random_model().config)
    run.attempt(1, 1).mkdir(parents=True)
    before = resolve(f"{run.root}@2"), resolve(f"{run.root}@0")
    run.config.rename(run.attempt(1, 1) / run.config.name)
    assert (resolve(f"{run.root}@2"), resolve(f"{run.root}@0")) == before
    assert before[0].selfplay.frame == "compact" and before[0].max_response_tokens == 48
    assert read_summary(run.root).config["selfplay"]["frame"] == "compact"
    run.state.write_text("{}")
    with pytest.raises(RunError, match=r"lacks config\.yaml, which travels with it; start the run once more"):
        pack_run(run.root, tmp_path / "a.zip", PackOptions())


def test_checkpoints_are_found_by_step_latest_and_best(run: RunDir) -> None:
    model = random_model()
    with pytest.raises(RunError, match="no checkpoint yet"):
        find_checkpoint(run, "latest")
    # copied without them, to look at on a laptop: it had "no checkpoint yet"
    write_state_file(run.state, CampaignState(run_id="x", step=3))
    with pytest.raises(RunError, match="has saved step 3: they were deleted, or left out"):
        find_checkpoint(run, "latest")
    for step in (1, 2, 3):
        save_checkpoint(run, step, {"x": torch.zeros(1)}, model.config)
    for step in (1, 2, 3):  # of a later version, say: it had "no checkpoint yet"
        manifest = run.checkpoint(step) / "manifest.json"
        manifest.rename(manifest.with_suffix(".away"))
    for which in ("latest", "best", "2"):
        with pytest.raises(CheckpointError, match=r"no checkpoint of .* can be used: step_00000003"):
            find_checkpoint(run, which)
    for step in (1, 2, 3):
        (run.checkpoint(step) / "manifest.away").rename(run.checkpoint(step) / "manifest.json")
    assert find_checkpoint(run, "latest").step == 3
    assert find_checkpoint(run, "best").step == 1  # 0.4, 0.3, 0.2
    assert find_checkpoint(run, "2").step == 2
    with pytest.raises(RunError, match="no checkpoint of step 7; there are 1, 2, 3"):
        find_checkpoint(run, "7")
    with pytest.raises(RunError, match="step 0 is the model that the run began with"):
        find_checkpoint(run, "0")
    run.checkpoint(3).rename(run.checkpoint(9))
    assert any(
        "holds the checkpoint of step 3; call it step_00000003" in told for told in damaged_checkpoints(run)
    )
    run.checkpoint(9).rename(run.checkpoint(3))
    with pytest.raises(RunError, match="'first' names no checkpoint"):
        find_checkpoint(run, "first")
    made = resolve(f"{run.root}@1").checkpoint
    assert made is not None and made.step == 1
    assert resolve(str(run.checkpoint(2))).label == "tiny@2"
    assert resolve(f"{run.root}@0").folder == PROJECT / "data/models/azr-tiny"


def test_a_damaged_checkpoint_is_not_passed_over_in_silence(
    run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a power cut leaves it: whoever asks for the newest or the best would get another one."""
    model = random_model()
    for step in (1, 2, 3):
        save_checkpoint(run, step, {"x": torch.zeros(1)}, model.config)
    (run.checkpoint(1) / "manifest.json").write_bytes(b"\0" * 100)
    assert find_checkpoint(run, "latest").step == 3
    assert not capsys.readouterr().err
    assert find_checkpoint(run, "best").step == 2
    assert "step_00000001 cannot be used and was passed over: " in capsys.readouterr().err
    (run.checkpoint(3) / "manifest.json").write_bytes(b"")
    assert find_checkpoint(run, "latest").step == 2
    assert "step_00000003 cannot be used and was passed over: " in capsys.readouterr().err


def test_the_probe_tasks_are_the_trainer_s_own(run: RunDir, tmp_path: Path) -> None:
    from azr.config.load import read_config
    from azr.train.probes import probe_rows

    config = read_config(run.config)
    suite = training_probes(run, config, PROJECT / "data/models/azr-tiny")
    rows = probe_rows(run.probes, 10, config.selfplay, lambda _: True)
    assert suite is not None
    assert [item.item_id for item in suite.items] == [row.row_id for row in rows]
    assert [suite.tasks[row.row_id] for row in rows] == [row.task for row in rows]
    shutil.rmtree(run.probes)
    assert training_probes(run, config, PROJECT / "data/models/azr-tiny") is None


def test_a_run_whose_probes_are_lost_is_not_exported_first(run: RunDir, tmp_path: Path) -> None:
    model = random_model()
    save_checkpoint(run, 2, model.state_dict(), model.config)
    write_json_atomic(run.first_probe_scores, {"scores": {"probe/probes/0": 1.0}})
    shutil.rmtree(run.probes)
    said: list[str] = []
    with pytest.raises(DataError, match="probes is gone, and nothing else says which tasks"):
        export_model(run, tmp_path / "out", ExportOptions(step="2"), said.append)
    assert not said


def scores_of(right: int, n: int) -> Scores:
    return Scores("probes", "m", 1, {"pass@1": wilson_estimate(right, n)}, {}, 1.0, 0.0, 1.0, {})


def test_another_probe_score_than_the_recorded_one_stops_the_export() -> None:
    recorded = {"probe/all/accuracy": 0.50, "probe/tasks": 100.0}
    said: list[str] = []
    assert compare_with_record(scores_of(52, 100), recorded, 5, Path("x"), 0.03, said.append) == {
        "accuracy": 0.52,
        "tasks": 100.0,
    }
    assert "they agree" in said[-1]
    with pytest.raises(ModelError, match=r"scores 45\.0%.*scored 50\.0%"):
        compare_with_record(scores_of(45, 100), recorded, 5, Path("x"), 0.03, said.append)
    # one task
    compare_with_record(
        scores_of(6, 10), {"probe/all/accuracy": 0.5, "probe/tasks": 10.0}, 5, Path("x"), 0.03, said.append
    )
    compare_with_record(scores_of(6, 10), {}, 5, Path("x"), 0.03, said.append)
    assert "recorded none" in said[-1]
    compare_with_record(scores_of(6, 10), recorded, 5, Path("x"), 0.03, said.append)
    assert "recorded one on 100 tasks" in said[-1]
    compare_with_record(
        scores_of(1, 1), {"probe/all/accuracy": 0.5, "probe/tasks": 2.0}, 5, Path("x"), 0.03, said.append
    )
    assert "on 1 task; the trainer recorded one on 2 tasks" in said[-1], 'it was "on 1 tasks"'


def test_gguf_without_a_converter_says_how_to_get_one(run: RunDir, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("LLAMA_CPP_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"convert_hf_to_gguf\.py EXPORTED_FOLDER"):
        export_model(run, tmp_path / "out", ExportOptions(gguf="bf16"), quiet)
    with pytest.raises(ConfigError, match="needs a checkout"):
        gguf.find_converter(tmp_path / "nowhere")


CONVERTER = """
import sys
from dataclasses import replace
from pathlib import Path
from gguf import GGUFWriter
import numpy
folder, target = Path(sys.argv[1]), sys.argv[sys.argv.index("--outfile") + 1]
if not (folder / "config.json").is_file() or "{mode}" == "fail":
    sys.exit("BPE pre-tokenizer was not recognized")
if "{mode}" == "no package":
    import sentencepiece_missing
if "{mode}" == "junk":
    Path(target).write_bytes(b"no such thing"); sys.exit(0)
writer = GGUFWriter(target, "qwen2")
writer.add_tensor("token_embd.weight", numpy.zeros((4, 4), dtype=numpy.float32))
writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file(); writer.close()
"""


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("ok", None),
        ("fail", "pre-tokenizer was not recognized"),
        ("junk", "not a readable GGUF"),
        ("no package", r"lacks a package of the converter: python -m venv gguf-env"),
    ],
)
def test_gguf_goes_through_the_converter_and_is_read_back(
    run: RunDir, tmp_path: Path, mode: str, message: str | None
) -> None:
    """Stands in for llama.cpp's script (same command line), which no package index has."""
    checkout = tmp_path / "llama.cpp"
    checkout.mkdir()
    (checkout / gguf.SCRIPT).write_text(CONVERTER.replace("{mode}", mode))
    model = random_model()
    save_checkpoint(run, 2, model.state_dict(), model.config)
    options = dataclasses.replace(UNCHECKED, gguf="bf16", llama_cpp=checkout)
    if message:
        with pytest.raises(ModelError, match=message):
            export_model(run, tmp_path / "out", options, quiet)
        # the model is whole, and not in the way of the next export under a name that is removed then
        assert (tmp_path / "out" / "model.safetensors").is_file()
        assert not list((tmp_path / "out").glob("*.gguf"))
    else:
        export_model(run, tmp_path / "out", options, quiet)
        assert (tmp_path / "out" / "out-bf16.gguf").is_file()


def test_the_command_line_answers_slips_with_a_sentence(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(PROJECT / "scripts" / "export.py"),
        str(tmp_path),
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "is not a run directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_s_configuration_is_read_once(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2):
        save_checkpoint(run, step, {"x": torch.zeros(1)}, random_model().config)
    read: list[Path] = []
    monkeypatch.setattr(load, "load_yaml", lambda path: [read.append(path), load_yaml(path)][1])
    source = resolve(f"{run.root}@best")
    assert source.picked and not resolve(f"{run.root}@latest").picked
    assert source.checkpoint is not None
    base_of(source.checkpoint)
    assert read == [run.config]
    write_config(run.config, read_config(run.config))
    read_config(run.config)
    assert read == [run.config] * 2  # a file that was replaced is another one


def test_a_score_from_before_a_change_of_limits_is_not_that_of_another_model(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported after the run had been continued with other lengths, a step from before was "not the same model"; the card of
    a step from after set its score beside one from before."""
    for attempt, step in ((1, 3), (2, 5)):
        scores = {"probe/all/accuracy": 0.1 * step, "probe/tasks": 10.0, "data/proposed": 0.0}
        append_metrics(run, MetricsRecord(step=step, cycle=1, attempt=attempt, unix_s=9.0, values=scores))
    told = "rollout.max_response_tokens 128 -> 24"
    incident = {
        "kind": "settings",
        "cause": "Changed since the latest start: data.extra_files ['a, b.jsonl', 'c.jsonl'] -> [], selfplay.task_types ['abduction', "
        "'error'] -> ['error'], train.learning_rate 1e-05 -> 1e-06, train.control format_only -> none.",
        "cycle": 1,
        "attempt": 1,
        "asked_otherwise": told,
    }
    append_jsonl(run.incidents, [incident, {"kind": "known probes", "cause": "2 of 9 known."}])
    append_jsonl(run.shard(1), read_jsonl(run.probes / "probes.jsonl"))
    model = random_model()
    save_checkpoint(run, 3, model.state_dict(), model.config)
    measured = Scores("probes", "m", 1, {"pass@1": wilson_estimate(0, 10)}, {}, 1.0, 0.0, 9.0, {})
    monkeypatch.setattr(export, "evaluate_suite", lambda *_: measured)
    said: list[str] = []
    export_model(run, tmp_path / "out", ExportOptions(step="3", dtype="float32"), said.append)
    assert any(f"recorded 30.0%, but asked otherwise ({told})" in line for line in said)
    assert any("A control experiment (train.control=format_only)" in line for line in said)
    record = json.loads((tmp_path / "out" / "azr.json").read_text())
    assert record["trained_under"] == {"format_only": 3} and record["solver_alone_steps"] == 3
    assert record["picked"] is False, "a step that somebody named"
    assert record["tensors_hash"] == hash_weights(tmp_path / "out")
    assert (
        record["base_model"] == shown_model(read_config(run.config).model.path)
        and "/" not in record["base_model"]
    )
    assert record["known_probes"] == "2 of 9 known." and "2 of 9 known." in said
    assert recorded_programs(tmp_path / "out") == (trained_programs([run]), []) != (frozenset(), [])
    after = dataclasses.replace(read_checkpoint(run.checkpoint(3)), info={"cycle": 1, "attempt": 2})
    records, since = export._asked_alike(run, after)
    assert [record.step for record in records] == [5] and not since

    found = how_trained(run, 5, read_config(run.config))
    assert found["changed"] == {
        "train.learning_rate": {"1e-05": 3, str(Config().train.learning_rate): 1},
        "selfplay.task_types": {"['abduction', 'error']": 3, "['abduction', 'deduction', 'induction']": 1},
    }
    assert found["trained_under"] == {"format_only": 3, "none": 1} and found["solver_alone_steps"] == 5
    card = model_card(record | found, Config(), [], "mine")
    assert (
        "| Changed on the way | `train.learning_rate` 1e-05 (3 steps), 1e-06 (1 step); `selfplay.task_types` "
        in card
    )
    assert "and the tasks of 2 user files; all else" in card and "c.jsonl" not in card + json.dumps(found)


def test_a_checkpoint_that_the_run_removes_during_an_evaluation_is_not_called_damaged(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model()
    path = save_checkpoint(run, 2, model.state_dict(), model.config)

    def prunes(*_: Any, **__: Any) -> None:
        shutil.rmtree(path)
        raise CheckpointError(f"{path} is damaged: manifest.json does not exist")

    monkeypatch.setattr(evaluation, "answer_all", prunes)
    with pytest.raises(CheckpointError, match=r"was removed while it was read: .* Run the command again"):
        evaluate([f"{run.root}@2"], Options(suites=["probes"], out=tmp_path / "ev"), quiet)
