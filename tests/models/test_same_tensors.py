"""The same tensors are the same model however they are cut into files; any other byte in them is another one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from model_folders import TINY, change, rewrite, split, tiny_copy

from azr.campaign.identity_check import settle_identity
from azr.config.load import load_config
from azr.errors import RunError
from azr.evaluate.answers import AnswerStore
from azr.evaluate.models import earlier_identity, of_folder
from azr.models import tensor_hashes
from azr.models.exported import written_for_others
from azr.models.model_hash import hash_model, hash_weights
from azr.run.identity import RunIdentity, read_identity, write_identity
from azr.run.rundir import RunDir


def test_weights_in_other_pieces_are_the_same_model(tmp_path: Path) -> None:
    """They were refused as another model, by run, evaluation and export."""
    pieces, whole = tiny_copy(tmp_path / "pieces"), hash_model(TINY)
    split(pieces)
    assert whole.is_of(hash_model(pieces)) and hash_model(pieces).files != whole.files
    assert (
        hash_weights(pieces) == hash_weights(TINY) and of_folder(pieces).identity == of_folder(TINY).identity
    )
    (pieces / "azr.json").write_text(json.dumps({"tensors_hash": hash_weights(TINY)}))
    assert not written_for_others(pieces)

    path = next(pieces.glob("model-*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert not whole.is_of(hash_model(pieces)) and of_folder(pieces).identity != of_folder(TINY).identity
    assert "holds another model" in whole.changed_to(hash_model(pieces)) and written_for_others(pieces)


def test_embeddings_that_are_saved_twice_are_one_matrix(tmp_path: Path) -> None:
    twice, head = tiny_copy(tmp_path / "twice"), "lm_head.weight"
    rewrite(twice, lambda tensors: {**tensors, head: tensors["model.embed_tokens.weight"].clone()})
    assert hash_model(twice).model == hash_model(TINY).model
    rewrite(twice, lambda tensors: {**tensors, head: tensors[head] * 2})
    assert hash_model(twice).model != hash_model(TINY).model


def test_a_script_beside_the_weights_is_part_of_a_model_that_loads_code_alone(tmp_path: Path) -> None:
    """A user's convert.py, saved there between two starts, made another model of it."""
    model = tiny_copy(tmp_path / "model")
    (model / "convert.py").write_text("x = 1")
    assert hash_model(TINY).is_of(hash_model(model)) and of_folder(model).identity == of_folder(TINY).identity
    change(model, "config.json", auto_map={"AutoModelForCausalLM": "convert.Model"})
    before = hash_model(model)
    (model / "convert.py").write_text("x = 2")
    assert not before.is_of(hash_model(model))


def test_a_large_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    digest = tensor_hashes._digest

    def counted(*span: int) -> str:
        read.append(1)
        return digest(*span)

    monkeypatch.setattr(tensor_hashes, "_digest", counted)
    monkeypatch.setattr(tensor_hashes, "KEPT_FROM_BYTES", 1000)
    monkeypatch.setenv("AZR_CACHE", str(tmp_path / "cache"))
    model = tiny_copy(tmp_path / "model")
    weights = model / "model.safetensors"
    written_ns = weights.stat().st_mtime_ns

    def reads() -> bool:
        read.clear()
        assert hash_model(model).model
        return bool(read)

    assert reads() and reads(), "it was written a moment ago, and may be again"
    monkeypatch.setattr(tensor_hashes, "SETTLED_S", -1.0)
    before = hash_model(model)
    assert not reads() and hash_model(model) == before
    [kept] = (tmp_path / "cache" / "hashes").iterdir()
    for damaged in ("", "[]", '{"file": 1}', '{"file": [0], "tensors": []}'):
        kept.write_text(damaged)
        assert reads() and hash_model(model) == before
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(written_ns, written_ns))
    assert hash_model(model) != before, "of the same size and date"
    (tmp_path / "file").touch()
    monkeypatch.setenv("AZR_CACHE", str(tmp_path / "file"))
    assert reads() and reads(), "nothing can be kept"

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)  # a user id without an entry, and no HOME
    assert reads()


def test_a_run_of_an_earlier_version_is_known_by_its_tensors_from_its_next_start_on(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs" / "mine")
    model = tiny_copy(tmp_path / "model")
    config = load_config(
        [f"runs_dir={run.root.parent}", "name=mine", "recipe=cpu_tiny", f"model.path={model}"]
    ).config
    run.root.mkdir(parents=True)
    settle_identity(run, config)
    run.first_probe_scores.write_text("{}")
    recorded = read_identity(run)
    assert recorded is not None and recorded.tensors_hash == hash_model(TINY).model

    without = {**vars(recorded), "tensors_hash": ""}
    write_identity(run, RunIdentity(**without), model)
    assert settle_identity(run, config) == "" and read_identity(run) == recorded
    shutil.rmtree(model)
    split(tiny_copy(model))
    assert settle_identity(run, config) == "" and read_identity(run) == recorded
    write_identity(run, RunIdentity(**without), model)
    with pytest.raises(RunError, match=f"content {recorded.model_hash[:8]}"):
        settle_identity(run, config)  # its record tells no more


def test_recorded_answers_stay_those_of_a_model_that_was_saved_again(tmp_path: Path) -> None:
    """They were told to be of another model, for another order of config.json."""
    again, store = tiny_copy(tmp_path / "again"), AnswerStore(tmp_path / "answers")
    change(again, "config.json", transformers_version="9.0")

    def claim(folder: Path, model: str = "") -> dict[str, Any]:
        request = {"model": model or of_folder(folder).identity}
        with store.opened(request, earlier_model=lambda: earlier_identity(folder)):
            store.path.touch()
        return json.loads(store.request_path.read_text())

    assert claim(TINY) == claim(again) and earlier_identity(TINY) != earlier_identity(again)
    store.request_path.write_text(json.dumps({"model": earlier_identity(TINY)}))  # by an earlier version
    with pytest.raises(RunError, match="another model"):
        claim(again)
    assert claim(TINY) == claim(again), "known by its tensors from then on"
