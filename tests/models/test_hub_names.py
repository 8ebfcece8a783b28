"""``org/name@revision``, addresses that people paste, and where the hub's cache keeps a revision."""

from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub.errors import GatedRepoError
from hypothesis import given
from hypothesis import strategies as st
from model_folders import TINY

from azr.budget.shape import shape_of
from azr.cli import run_command
from azr.config.load import load_config
from azr.errors import ModelError
from azr.evaluate.models import resolve
from azr.models.hub import HubName, cached_folder, name_in_url, name_meant
from azr.train.model_source import local_folder, local_model_folder, require_usable_model

PROJECT = Path(__file__).resolve().parents[2]
OLD, NEW = "a" * 40, "b" * 40


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("Qwen/Qwen2.5-Coder-0.5B", "Qwen/Qwen2.5-Coder-0.5B", None),
        ("org/name@v1.0", "org/name", "v1.0"),
        ("org/name@refs/pr/3", "org/name", "refs/pr/3"),
    ],
)
def test_names(text: str, name: str, revision: str | None) -> None:
    assert HubName.parse(text) == HubName(name, revision)
    assert str(HubName.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("org/name/", "org/name"),
        ("org/name:main", "org/name"),
        ("org/name@", "org/name"),
        ("org/name@@v1", "org/name@v1"),
        ("org\\name", "org/name"),
        ("org / name", "org/name"),
        ("models--org--name", "org/name"),
        ("name", "org/name"),  # in the cache
        ("other", ""),
        ("@main", ""),
        ("org/name:Q4_K_M", ""),  # of Ollama
        ("org/name/folder", ""),
        ("/models/x/", ""),
        ("./x/y/", ""),
        ("org/name", ""),
    ],
)
def test_a_name_with_a_slip_is_told_as_it_is_written(tmp_path: Path, text: str, meant: str) -> None:
    (tmp_path / "models--org--name").mkdir()
    assert name_meant(text, tmp_path) == meant


@pytest.mark.parametrize(("path", "told"), [("azr-tiny", "data/models/azr-tiny"), ("org/name/", "org/name")])
def test_what_to_set_is_told_where_a_model_s_name_has_a_slip(
    path: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=f"Set model.path={told}$"):
        local_model_folder(path)
    assert run_command("preflight", ["recipe=cpu_tiny", f"model.path={path}"]) == 2
    assert capsys.readouterr().err.endswith(f"Set model.path={told}\n")


def test_a_revision_alone_is_no_model() -> None:
    """It ended in a traceback of pathlib's."""
    with pytest.raises(ModelError, match=r"^model\.path=@main: no such folder"):
        local_model_folder("@main")


@pytest.mark.parametrize(
    "text",
    [
        "gpt2",
        "./models/x",
        "/models/x",
        "~/x",
        "a/b/c",
        "org/name@",
        "org/na me",
        "../x",
        "org/na\nme",
        "ö/ü",
    ],
)
def test_what_is_no_name(text: str) -> None:
    assert HubName.parse(text) is None


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    HubName.parse(text)
    name_in_url(text)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://huggingface.co/Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B"),
        ("https://huggingface.co/Qwen/Qwen2.5-0.5B/tree/main", "Qwen/Qwen2.5-0.5B"),
        ("huggingface.co/org/name/tree/v2?x=1", "org/name@v2"),
        ("hf://org/name", "org/name"),
        ("hf://org/name@v2", "org/name@v2"),
        ("huggingface:org/name", "org/name"),
        ("HTTPS://HuggingFace.co/org/name", "org/name"),
        ("file:///models/my%20x", "/models/my x"),
        ("file://localhost/models/x", "/models/x"),
        ("file:models/x", "models/x"),
        ("https://example.org/org/name", None),
        ("https://huggingface.co/org", None),
    ],
)
def test_addresses(address: str, name: str | None) -> None:
    assert name_in_url(address) == name


def test_an_address_is_told_as_a_name() -> None:
    with pytest.raises(ModelError, match=r"Set model\.path=Qwen/Qwen2\.5-0\.5B$"):
        local_model_folder("https://huggingface.co/Qwen/Qwen2.5-0.5B/tree/main")


@pytest.mark.parametrize("name", ["./models/x", "models/x"])
def test_a_relative_folder_that_is_not_there_names_the_places(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nothing said that a folder had been looked for where the name could be one of the hub, nor where."""
    for started in (tmp_path, PROJECT):
        monkeypatch.chdir(started)
        places = " and in ".join(dict.fromkeys(map(str, (started, PROJECT))))
        with pytest.raises(ModelError, match=re.escape(f"no such folder (looked for in {places})")):
            local_model_folder(name)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cached model with two revisions, as the hub's library leaves it, and no network."""
    model = tmp_path / "hub" / "models--org--tiny"
    for commit in (OLD, NEW):
        shutil.copytree(TINY, model / "snapshots" / commit)
    for ref, commit in (("main", NEW), ("v1", OLD)):
        (model / "refs").mkdir(exist_ok=True)
        (model / "refs" / ref).write_text(commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return model


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), r"cache .*hub \(Permission denied\); .*HF_HOME"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            r"cache .*hub \(No space left on device\); make room",
        ),
        (httpx.ProxyError("407 Proxy Authentication Required"), "hub cannot be reached"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "hub cannot be reached"),
        (httpx.InvalidURL("Invalid port: 'port'"), "hub cannot be reached"),
        (ImportError("Using SOCKS proxy, but"), "hub cannot be reached"),
    ],
)
def test_a_hub_or_a_cache_that_fails(
    cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    """A cache that is not this user's, a full disk, a proxy, a network that answers with its login page."""

    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    assert local_model_folder("org/tiny") == cache / "snapshots" / NEW
    with pytest.raises(ModelError, match=told):
        local_model_folder("org/other")
    (cache / "snapshots" / NEW / "model.safetensors").unlink()  # a download that was broken off
    if isinstance(error, OSError):
        with pytest.raises(ModelError, match=told):
            local_model_folder("org/tiny")


def test_a_gated_model_is_not_called_missing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is logged in, and has not accepted the terms, was told that there is no such model."""

    def fail(*arguments: Any, **options: Any) -> None:
        request = httpx.Request("GET", "https://huggingface.co/org/gated")
        raise GatedRepoError("Access is restricted.", response=httpx.Response(403, request=request))

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    told = r"org/gated@main is gated: .*https://huggingface.co/org/gated,.*hf auth login"
    with pytest.raises(ModelError, match=told):
        local_model_folder("org/gated@main")


@pytest.mark.parametrize(
    ("path", "commit"), [("org/tiny", NEW), ("org/tiny@v1", OLD), (f"org/tiny@{OLD}", OLD)]
)
def test_a_revision_is_found_in_the_cache(cache: Path, path: str, commit: str) -> None:
    name = HubName.parse(path)
    assert name is not None and cached_folder(name) == cache / "snapshots" / commit
    assert local_model_folder(path) == cache / "snapshots" / commit
    assert shape_of(path) is not None
    require_usable_model(load_config(["recipe=cpu_tiny", f"model.path={path}"]).config)
    assert resolve(path).folder == cache / "snapshots" / commit


def test_a_revision_that_is_not_there(cache: Path) -> None:
    with pytest.raises(ModelError, match=r"hf download org/tiny --revision v9"):
        local_model_folder("org/tiny@v9")
    assert shape_of("org/tiny@v9") is None


def test_a_cached_model_whose_download_broke_off(cache: Path) -> None:
    (cache / "snapshots" / NEW / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        require_usable_model(load_config(["recipe=cpu_tiny", "model.path=org/tiny"]).config)


def test_folders_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    shutil.copytree(TINY, tmp_path / "outer" / "inner")
    for path, told in (
        ("adapter", "merge it into its base"),
        ("outer", "did you mean"),
        ("outer/inner/config.json", "is a file"),
    ):
        with pytest.raises(ModelError, match=told):
            local_folder(str(tmp_path / path))


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (
            "model-Q4_K_M.gguf",
            "GGUF files are for llama.cpp and Ollama; use the model's original safetensors",
        ),
        ("pytorch_model.bin", "pickles.*docs/howto/other_models.md#models-in-another-format"),
        ("model.ckpt", "pickles"),
        ("consolidated.00.pth", "pickles"),
        ("model.onnx", "ONNX files cannot be trained"),
        ("model.tar.gz", "an archive; unpack it, and give the folder"),
        ("tf_model.h5", "TensorFlow"),
        ("params.json", "Mistral's or Meta's own code"),
        ("adapter_model.safetensors", "holds an adapter, not a model"),
        ("model.safetensors", "has weights, but no config.json; copy config.json"),
    ],
)
def test_a_folder_with_a_model_in_another_format(tmp_path: Path, file: str, told: str) -> None:
    """Each was called "not a Hugging Face model folder"."""
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(ModelError, match=told):
        local_folder(str(tmp_path))
    if file.endswith((".gguf", ".bin", ".onnx", ".gz")):
        with pytest.raises(ModelError, match=f"is a file, not a model's folder.*{told}"):
            local_folder(str(tmp_path / file))


def test_the_base_of_an_adapter_and_the_folder_of_a_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    with pytest.raises(ModelError, match=r"merge it into its base \(org/base\)"):
        local_folder(str(tmp_path))
    with pytest.raises(ModelError, match=f"give the folder that holds it: model.path={TINY}"):
        local_folder(str(TINY / "model.safetensors"))


@pytest.mark.parametrize(
    "path",
    [
        "org/Model-4B-GGUF",
        "org/Model-4B-GGUF/model-Q4_K_M.gguf",
        "hf.co/org/Model-4B-GGUF:Q4_K_M",
        "https://huggingface.co/org/Model-4B-GGUF/resolve/main/model-Q4_K_M.gguf",
        "qwen2.5-coder:0.5b",
    ],
)
def test_names_of_gguf_models_and_of_ollama(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``hf download`` of a GGUF repository was advised, which then had no config.json."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"(?i)gguf files") as told:
        local_model_folder(path)
    assert "hf download" not in str(told.value)


def test_a_run_in_the_place_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``runs/first@best``, as other commands take it, is a name that the hub might have."""
    run = tmp_path / "runs" / "first"
    (run / "checkpoints" / "step_00000012" / "actor").mkdir(parents=True)
    (run / "config.yaml").write_text("")
    monkeypatch.setattr("azr.train.model_source.PROJECT", tmp_path)
    for path, step in (
        ("", "best"),
        ("@best", "best"),
        ("@12", "12"),
        ("@", "latest"),
        ("/checkpoints", "best"),
        ("/checkpoints/step_00000012", "12"),
    ):
        for start in (f"{run}", "runs/first"):
            with pytest.raises(
                ModelError, match=rf"is a run of this project.*azr export {run} --step {step} --out"
            ):
                local_folder(f"{start}{path}")
    with pytest.raises(ModelError, match=rf"azr export {run} --step 12 --out"):  # its name alone
        local_folder(f"{tmp_path}/first@12")
    shutil.copytree(TINY, tmp_path / "m@1")
    assert local_folder(str(tmp_path / "m@1")) == tmp_path / "m@1"


@pytest.mark.parametrize(
    ("path", "told"),
    [("/" + "long" * 100, "cannot be accessed"), ("~nobody-of-that-name/model", "no such folder")],
)
def test_places_that_cannot_be_looked_at(path: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        local_model_folder(path)


def test_a_folder_with_an_at_sign_and_a_blank_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my model@home"
    shutil.copytree(TINY, folder)
    assert local_model_folder(str(folder)) == folder
    assert resolve(str(folder)).folder == folder


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, "home/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "{0}/xdg"}, "xdg/huggingface/hub"),
        ({"XDG_CACHE_HOME": "{0}/xdg", "HF_HOME": "{0}/hf"}, "hf/hub"),
        ({"HF_HOME": "~/disk"}, "home/disk/hub"),
        ({"HF_HOME": "$DISK/hf", "DISK": "{0}"}, "hf/hub"),
        ({"HF_HOME": "{0}/hf", "HUGGINGFACE_HUB_CACHE": "{0}/old"}, "old"),
        ({"HUGGINGFACE_HUB_CACHE": "{0}/old", "HF_HUB_CACHE": "{0}/new"}, "new"),
    ],
)
def test_the_cache_is_where_the_hubs_library_has_it(
    tmp_path: Path, variables: dict[str, str], place: str
) -> None:
    environment = {
        "HOME": str(tmp_path / "home"),
        **{name: text.format(tmp_path) for name, text in variables.items()},
    }
    code = (
        "from huggingface_hub.constants import HF_HUB_CACHE; from azr.models.hub import hub_cache; import os; "
        "print(HF_HUB_CACHE); print(hub_cache(os.environ))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.split() == [str(tmp_path / place)] * 2
