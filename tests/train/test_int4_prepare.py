"""The int4 base of a run is made in another process, once, and what is wrong with it comes back as its own error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_int4 import write_tiny

from azr.doctor.card import Level, int4_findings
from azr.errors import ModelError, TrainingError
from azr.train.quantize import prepare
from azr.train.quantize.folder import ready_int4_folder
from azr.train.quantize.kernel_check import require_kernel
from azr.train.quantize.prepare import prepared_int4


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AZR_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    write_tiny(folder, "qwen2")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_it_is_made_once(model: Path) -> None:
    said: list[str] = []
    assert ready_int4_folder(model) is None
    made = prepared_int4(model, "cpu", said.append)
    assert any("quantising to int4" in line for line in said)
    assert ready_int4_folder(model) == made
    assert prepared_int4(model, "cpu", said.append) == made == prepared_int4(made, "cpu")
    assert sum("quantising to int4" in line for line in said) == 1


def test_one_that_takes_too_long_is_ended(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "LIMIT_S", 0.05)
    with pytest.raises(TrainingError, match="ended with status -9 and no result"):
        prepared_int4(model, "cpu")
    assert ready_int4_folder(model) is None


def test_its_errors_are_this_processs(model: Path) -> None:
    (model / "config.json").write_text((model / "config.json").read_text().replace('"qwen2"', '"gemma2"'))
    with pytest.raises(ModelError, match="not for gemma2"):
        prepared_int4(model, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_no_card_is_a_sentence_before_anything_is_quantised(model: Path) -> None:
    with pytest.raises(TrainingError, match="torch finds none here"):
        prepared_int4(model, "cuda")
    assert ready_int4_folder(model) is None


@pytest.mark.parametrize(
    ("capability", "why"),
    [((7, 5), "has compute capability 7.5, and int4 models need 8.0"), ((9, 0), "without marlin_gemm")],
)
def test_a_card_that_is_too_old_and_a_kernel_that_is_missing(
    capability: tuple[int, int], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU vLLM has neither of the kernels."""
    pytest.importorskip("vllm")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card")
    with pytest.raises(TrainingError, match=why):
        require_kernel()


def test_what_the_doctor_says() -> None:
    good = {"error": 0.0014, "torch_error": 0.0014, "different_weights": 0.0}
    [found] = int4_findings({"result": good})
    assert found.level is Level.OK and "0.14%" in found.seen and "otherwise" not in found.seen
    [found] = int4_findings({"result": {**good, "different_weights": 0.01}})
    assert found.level is Level.WARNING and "1.0% of the weights" in found.seen
    for report, why in (
        ({"wrong": "too old"}, "too old"),
        ({"error": "no answer within 180 s"}, "broke off: no answer"),
    ):
        [found] = int4_findings(report)
        assert found.level is Level.PROBLEM and why in found.seen and "recipe" in found.fix
