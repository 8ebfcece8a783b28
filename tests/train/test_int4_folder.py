"""Folders with int4 weights: what other libraries read out of them, GPTQ's values taken over, and what
happens to a writer that is killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_int4 import KINDS, write_tiny
from transformers import AutoModelForCausalLM

from azr.budget.shape import shape_of
from azr.errors import BudgetError, ModelError
from azr.system.files import remove_leftovers
from azr.train.quantize import folder as module
from azr.train.quantize.files import Tensor, safetensors_file
from azr.train.quantize.folder import int4_folder
from azr.train.quantize.int4 import dequantise, pack_int4, quantise, unpack_int4

PROJECT = Path(__file__).resolve().parents[2]
LAYER = "model.layers.1.self_attn.v_proj"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AZR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "int4"


def silent(text: str) -> None: ...


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {
        name: tensor.clone()  # else it lies in the file
        for file in folder.glob("*.safetensors")
        for name, tensor in load_file(file).items()
    }


@pytest.mark.parametrize("model_type", KINDS)
def test_another_library_reads_the_same_weights(tmp_path: Path, model_type: str) -> None:
    """transformers with compressed-tensors, which knows nothing of this code."""
    plain = write_tiny(tmp_path / "plain", model_type)
    (tmp_path / "plain" / "tokenizer_config.json").write_text("{}")
    found = int4_folder(tmp_path / "plain", say=silent)
    answer: Any = AutoModelForCausalLM.from_pretrained(found, dtype=torch.bfloat16, output_loading_info=True)
    read, report = answer
    assert not any(report.values())
    read(input_ids=torch.arange(4)[None])  # it unpacks at its first use
    linears = 0
    for name, part in plain.named_modules():
        if isinstance(part, torch.nn.Linear) and name != "lm_head":
            expected = dequantise(*quantise(part.weight))
            assert torch.equal(read.get_submodule(name).weight, expected), name
            linears += 1
    assert linears == 14
    for name, parameter in plain.named_parameters():
        if "proj.weight" not in name:
            assert torch.equal(read.get_parameter(name), parameter), name
    assert (found / "tokenizer_config.json").read_text() == "{}"
    assert int4_folder(found, say=silent) == found, "and it is a int4 model itself"


def test_it_is_made_once_and_again_only_where_it_is_damaged(tmp_path: Path, cache: Path) -> None:
    write_tiny(tmp_path / "plain", "qwen2")
    said: list[str] = []
    found = int4_folder(tmp_path / "plain", say=said.append)
    before = tensors_of(found)
    assert said and found.parent == cache
    shutil.copytree(tmp_path / "plain", tmp_path / "moved")
    del said[:]
    assert int4_folder(tmp_path / "moved", say=said.append) == found and not said, "by content, not by place"

    [file] = found.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-10])
    assert int4_folder(tmp_path / "plain", say=said.append) == found and said
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(found).items())

    write_tiny(tmp_path / "plain", "qwen2", initializer_range=0.1)
    assert int4_folder(tmp_path / "plain", say=silent) != found, "other weights, another folder"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_other_types_become_bfloat16(tmp_path: Path, dtype: torch.dtype) -> None:
    plain = write_tiny(tmp_path / "plain", "llama", dtype)
    found = tensors_of(int4_folder(tmp_path / "plain", say=silent))
    assert {str(tensor.dtype) for tensor in found.values()} == {
        "torch.int32",
        "torch.bfloat16",
        "torch.int64",
    }
    assert torch.equal(found["lm_head.weight"], plain.lm_head.weight.bfloat16())
    weight = plain.get_submodule(LAYER).weight
    assert torch.equal(found[f"{LAYER}.weight_packed"], quantise(weight)[0]), "of the weight as it is stored"


def test_many_small_files_hold_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    write_tiny(tmp_path / "plain", "qwen3")
    whole = tensors_of(int4_folder(tmp_path / "plain", say=silent))
    shutil.rmtree(cache)
    monkeypatch.setattr(module, "PIECE_BYTES", 30_000)
    monkeypatch.setattr("azr.train.quantize.source.ROWS_BYTES", 10_000)
    found = int4_folder(tmp_path / "plain", say=silent)
    assert len(list(found.glob("*.safetensors"))) > 5
    parts = tensors_of(found)
    assert set(parts) == set(whole) and all(torch.equal(parts[name], whole[name]) for name in whole)


KILLED = """
import os, signal, sys
from pathlib import Path
from azr.train.quantize import files, folder
folder.PIECE_BYTES = 30_000
written = files.SafetensorsWriter.write
pieces = []
def say(text):
    pieces.append(text)
def write(self, *arguments):
    written(self, *arguments)
    if len(pieces) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
files.SafetensorsWriter.write = write
folder.int4_folder(Path(sys.argv[1]), say=say)
"""


def test_a_killed_writer_leaves_nothing_that_is_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    plain = write_tiny(tmp_path / "plain", "qwen2")
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "plain")], cwd=PROJECT, timeout=300, check=False
    )
    assert child.returncode == -signal.SIGKILL
    [staging] = [path for path in cache.iterdir() if path.is_dir()]
    assert staging.name.endswith(".partial")
    first = {path: path.stat().st_mtime_ns for path in staging.glob("model-*.safetensors")}
    assert len(first) == 2 and len(list(staging.glob(".*.tmp"))) == 1

    monkeypatch.setattr(module, "PIECE_BYTES", 30_000)
    said: list[str] = []
    found = int4_folder(tmp_path / "plain", say=said.append)
    assert "file 3 of" in said[0], "it goes on behind the last whole file"
    assert not staging.exists() and not list(found.glob(".*"))
    for path, written in first.items():
        assert (found / path.name).stat().st_mtime_ns == written
    tensors = tensors_of(found)
    for name, part in plain.named_modules():
        if isinstance(part, torch.nn.Linear) and name != "lm_head":
            assert torch.equal(tensors[f"{name}.weight_packed"], quantise(part.weight)[0])


MAKES = """
import sys
from pathlib import Path
from azr.train.quantize import folder
folder.PIECE_BYTES = 30_000
print(folder.int4_folder(Path(sys.argv[1])))
"""


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    write_tiny(tmp_path / "plain", "qwen2")
    command = [sys.executable, "-c", MAKES, str(tmp_path / "plain")]
    children = [subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [child.communicate(timeout=300)[0].splitlines() for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert said[0][-1] == said[1][-1] and len(list(Path(said[0][-1]).glob("*.safetensors"))) > 5
    assert sum("file 1 of" in line for lines in said for line in lines) == 1


def test_a_full_disk_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    write_tiny(tmp_path / "plain", "qwen2")
    monkeypatch.setattr(module, "MARGIN_BYTES", 1 << 60)
    with pytest.raises(BudgetError, match="GiB free"):
        int4_folder(tmp_path / "plain", say=silent)
    assert not list(cache.rglob("*.safetensors"))


def change(folder: Path, name: str, to: Any) -> None:
    file = folder / "model.safetensors"
    tensors = {key: value.clone() for key, value in load_file(file).items()}
    if to is None:
        del tensors[name]
    else:
        tensors[name] = to if isinstance(to, torch.Tensor) else to(tensors[name])
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("name", "to", "why"),
    [
        (f"{LAYER}.weight", None, "which its architecture needs"),
        (f"{LAYER}.weight", lambda weight: weight[:, :64].contiguous(), "has the shape"),
        (f"{LAYER}.weight", lambda weight: weight.index_fill(0, torch.tensor([3]), torch.nan), "NaN"),
        ("model.norm.weight", lambda weight: weight * torch.inf, "NaN or infinity"),
        (f"{LAYER}.weight", torch.zeros_like, "nothing but zeros"),
        ("model.layers.1.self_attn.o_proj.bias", torch.zeros(128), "no place"),
    ],
)
def test_damaged_weights_are_refused(tmp_path: Path, cache: Path, name: str, to: Any, why: str) -> None:
    write_tiny(tmp_path / "plain", "qwen2")
    change(tmp_path / "plain", name, to)
    with pytest.raises(ModelError, match=why) as raised:
        int4_folder(tmp_path / "plain", say=silent)
    assert name in str(raised.value)
    assert not cache.is_dir() or not [path for path in cache.iterdir() if not path.name.startswith(".")]


def test_architectures_and_widths_that_do_not_go(tmp_path: Path) -> None:
    write_tiny(tmp_path / "narrow", "qwen2", intermediate_size=160)
    with pytest.raises(ModelError, match="160 inputs"):
        int4_folder(tmp_path / "narrow", say=silent)
    config = json.loads((tmp_path / "narrow" / "config.json").read_text())
    (tmp_path / "narrow" / "config.json").write_text(json.dumps({**config, "model_type": "gemma2"}))
    with pytest.raises(ModelError, match="not for gemma2"):
        int4_folder(tmp_path / "narrow", say=silent)


def write_gptq(folder: Path, *, v2: bool = False, group: int = 32) -> tuple[Any, dict[str, torch.Tensor]]:
    """As GPTQ's writers have it: packed down the inputs, scales in float16, a bias for every layer."""
    plain = write_tiny(folder, "qwen2")
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    expected = {}
    for name, part in plain.named_modules():
        if not isinstance(part, torch.nn.Linear) or name == "lm_head":
            continue
        words, scales = quantise(tensors.pop(f"{name}.weight").float(), group)
        outputs, inputs = part.weight.shape
        half = (scales.float() * 1.01).half()  # no bfloat16 values
        expected[name] = dequantise(words, half.bfloat16())
        zero = torch.tensor([-0x77777778 if v2 else 0x77777777], dtype=torch.int32)
        columns = (unpack_int4(words).int() + 8).t().reshape(inputs // 8, 8, outputs)
        shifts = (4 * torch.arange(8, dtype=torch.int32)).view(1, 8, 1)
        tensors[f"{name}.qweight"] = (columns << shifts).sum(1, dtype=torch.int32)
        tensors[f"{name}.scales"] = half.t().contiguous()
        tensors[f"{name}.qzeros"] = zero.expand(inputs // group, outputs // 8).contiguous()
        tensors[f"{name}.g_idx"] = (torch.arange(inputs) // group).int()
        tensors.setdefault(f"{name}.bias", torch.zeros(outputs, dtype=torch.float16))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "gptq", "bits": 4, "group_size": group, "sym": True, "desc_act": False,
        "checkpoint_format": "gptq_v2" if v2 else "gptq",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return plain, expected


@pytest.mark.parametrize("v2", [False, True])
def test_the_values_of_gptq_are_taken_over(tmp_path: Path, v2: bool) -> None:
    _, expected = write_gptq(tmp_path / "gptq", v2=v2)
    found = int4_folder(tmp_path / "gptq", say=silent)
    tensors = tensors_of(found)
    for name, weight in expected.items():
        assert torch.equal(
            dequantise(tensors[f"{name}.weight_packed"], tensors[f"{name}.weight_scale"]), weight
        )
    assert "model.layers.0.self_attn.o_proj.bias" not in tensors
    read: Any = AutoModelForCausalLM.from_pretrained(found, dtype=torch.bfloat16)
    read(input_ids=torch.arange(4)[None])
    assert torch.equal(read.get_submodule(LAYER).weight, expected[LAYER])


@pytest.mark.parametrize(
    ("kind", "to", "why"),
    [
        ("qzeros", lambda zeros: zeros + 1, "not symmetric"),
        ("g_idx", lambda index: index.flip(0), "reorders"),
        ("scales", lambda scales: scales * torch.nan, "NaN"),
        ("qweight", None, "architecture needs"),
    ],
)
def test_a_gptq_checkpoint_that_says_otherwise_than_its_config(
    tmp_path: Path, kind: str, to: Any, why: str
) -> None:
    write_gptq(tmp_path / "gptq")
    change(tmp_path / "gptq", f"{LAYER}.{kind}", to)
    with pytest.raises(ModelError, match=why):
        int4_folder(tmp_path / "gptq", say=silent)


def test_a_gptq_bias_that_is_not_zero_is_not_dropped(tmp_path: Path) -> None:
    write_gptq(tmp_path / "gptq")
    name = "model.layers.1.self_attn.o_proj.bias"
    change(tmp_path / "gptq", name, lambda bias: bias + 1)
    with pytest.raises(ModelError, match=name):
        int4_folder(tmp_path / "gptq", say=silent)


def test_the_writer_keeps_nothing_half_written(tmp_path: Path) -> None:
    tensors = {"a": Tensor("BF16", (3, 5)), "b": Tensor("I64", (2,)), "c": Tensor("I32", (4, 2))}
    with safetensors_file(tmp_path / "x.safetensors", tensors) as writer:
        for row in (2, 0, 1):
            writer.write("a", torch.full((1, 5), row, dtype=torch.bfloat16), row)
        writer.write("c", torch.arange(8, dtype=torch.int32).view(2, 4).t())
        writer.write("b", torch.tensor([7, 8]))
    read = load_file(tmp_path / "x.safetensors")
    assert read["a"].tolist() == [[0] * 5, [1] * 5, [2] * 5]
    assert read["b"].tolist() == [7, 8] and read["c"].tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]

    with pytest.raises(AssertionError), safetensors_file(tmp_path / "y.safetensors", tensors) as writer:
        writer.write("b", torch.tensor([7, 8]))
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["x.safetensors"]
    assert torch.equal(pack_int4(unpack_int4(read["c"])), read["c"])


@pytest.mark.parametrize("model_type", KINDS)
def test_the_budget_knows_its_size(tmp_path: Path, model_type: str) -> None:
    write_tiny(tmp_path / "plain", model_type)
    found = int4_folder(tmp_path / "plain", say=silent)
    shape = shape_of(str(found))
    assert shape is not None and shape.int4_group == 64
    sizes = {name: tensor.nbytes for name, tensor in tensors_of(found).items() if "weight_shape" not in name}
    if model_type == "qwen3":  # the norms of queries and keys, which no budget counts
        sizes = {name: size for name, size in sizes.items() if "q_norm" not in name and "k_norm" not in name}
    assert shape.base_bytes(4) == sum(sizes.values())
