import json

import pytest

from azr.errors import ConfigError
from azr.hardware import Gpu, Machine, choose_recipe, detect, parse_nvidia_smi, visible_indices


def machine(*total_gib, capability=(12, 0)):
    return Machine(tuple(Gpu("card", gib, gib, capability) for gib in total_gib), cpu_cores=8, ram_gib=32, ram_available_gib=30)


@pytest.mark.parametrize(
    ("cards", "recipe"),
    [((), "cpu_tiny"), ((4.0,), "cpu_tiny"), ((7.99,), "0_5b_8gb"), ((12.0,), "0_5b_8gb"), ((15.92,), "0_5b_16gb"), ((79.1,), "0_5b_16gb"),
     ((79.1, 79.1), "paper_multi_gpu"), ((15.9, 15.9), "0_5b_16gb")],
)  # fmt: skip
def test_recipe_by_memory(cards, recipe):
    name, reason = choose_recipe(machine(*cards))
    assert name == recipe
    assert reason


def test_card_without_bf16_is_not_chosen():
    name, reason = choose_recipe(machine(15.9, capability=(7, 5)))
    assert name == "cpu_tiny"
    assert "sm_75" in reason


def test_nvidia_smi_lines():
    cards = parse_nvidia_smi("NVIDIA GeForce RTX 5080, 16303, 15010, 12.0, 581.29\nbroken line\nX, [N/A], [N/A], 9.0, 580\n")
    assert cards == [Gpu("NVIDIA GeForce RTX 5080", 16303 / 1024, 15010 / 1024, (12, 0), "581.29")]
    assert cards[0].arch == "sm_120"


def test_detect_reads_this_machine(monkeypatch):
    monkeypatch.delenv("AZR_MACHINE", raising=False)
    here = detect()
    assert here.cpu_cores >= 1
    assert 0 < here.ram_available_gib <= here.ram_gib
    assert here.gpus or here.gpu_note


def test_hidden_cards_are_not_used(monkeypatch):
    monkeypatch.delenv("AZR_MACHINE", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    here = detect()
    assert not here.gpus
    assert "CUDA_VISIBLE_DEVICES" in here.gpu_note


@pytest.mark.parametrize(("visible", "expected"), [(None, [0, 1, 2]), ("1", [1]), ("2,0", [2, 0]), ("7", []), ("GPU-5a", [0, 1, 2])])
def test_only_visible_cards_count(monkeypatch, visible, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert visible_indices(3) == expected


def test_described_machine(monkeypatch, tmp_path):
    file = tmp_path / "machine.json"
    file.write_text(json.dumps({"gpus": [{"name": "RTX 5080", "total_gib": 15.92, "compute_capability": [12, 0]}], "ram_gib": 16}))
    monkeypatch.setenv("AZR_MACHINE", str(file))
    here = detect()
    assert here.gpus[0].free_gib == 15.92
    assert here.ram_available_gib == 16
    assert Machine.from_json(here.to_json()) == here


def test_damaged_description_is_a_sentence(monkeypatch, tmp_path):
    file = tmp_path / "machine.json"
    file.write_text(json.dumps({"gpus": [{"memory": 16}]}))
    monkeypatch.setenv("AZR_MACHINE", str(file))
    with pytest.raises(ConfigError, match="total_gib"):
        detect()
