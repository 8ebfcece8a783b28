import json

import pytest

from azr.budget.advice import judge_fit, require_fit
from azr.budget.shape import shape_of
from azr.config.load import load_config
from azr.errors import BudgetError, ConfigError
from azr.system.hardware import Gpu, Machine, choose_recipe, detect, device_for


def card(gib, name="card", capability=(12, 0), uuid=""):
    return Gpu(name, gib, gib, capability, "580", uuid)


def of(*cards, note=""):
    return Machine(tuple(cards), cpu_cores=8, ram_gib=32, ram_available_gib=30, gpu_note=note)


def machine(*total_gib, capability=(12, 0)):
    return of(*(card(gib, capability=capability) for gib in total_gib))


SMALL = card(4.0, "NVIDIA GeForce GTX 1650", (7, 5), "GPU-1650")
LAPTOP = card(7.99, "NVIDIA GeForce RTX 4060", (8, 9), "GPU-4060")
LARGE = card(23.99, "NVIDIA GeForce RTX 4090", (8, 9), "GPU-4090")
UNKNOWN = card(0.0, "NVIDIA GB10", (12, 1), "GPU-gb10")


@pytest.mark.parametrize(
    ("cards", "recipe"),
    [((), "cpu_tiny"), ((4.0,), "cpu_tiny"), ((7.99,), "0_5b_8gb"), ((12.0,), "0_5b_8gb"), ((15.92,), "0_5b_16gb"), ((79.1,), "0_5b_16gb"),
     ((14.9,), "0_5b_8gb"), ((14.996,), "0_5b_16gb"),  # "15.0 GiB: below 15 GiB", of an A2 of 16 GB with ECC
     ((79.1, 79.1), "paper_multi_gpu"), ((15.9, 15.9), "0_5b_16gb"), ((7.99, 15.92), "0_5b_16gb")],
)  # fmt: skip
def test_recipe_by_memory(cards, recipe):
    name, reason = choose_recipe(machine(*cards))
    assert name == recipe
    assert reason


def test_card_without_bf16_is_not_chosen():
    name, reason = choose_recipe(machine(15.9, capability=(7, 5)))
    assert name == "cpu_tiny"
    assert "sm_75" in reason


def test_a_large_old_card_is_no_reason_to_leave_a_good_one_alone():
    tesla = card(23.9, "Tesla P40", (6, 1), "GPU-p40")
    assert choose_recipe(of(tesla, LAPTOP))[0] == "0_5b_8gb"
    assert device_for(of(tesla, LAPTOP)).cards == (LAPTOP,)


def test_slices_are_no_cards_to_shard_over():
    slices = [card(39.5, "NVIDIA A100 MIG 3g.40gb", (8, 0), f"MIG-{index}") for index in (1, 2)]
    assert choose_recipe(of(*slices))[0] == "0_5b_16gb"
    assert device_for(of(*slices), count=2).missing == 2
    assert device_for(of(*slices)).environment()["CUDA_VISIBLE_DEVICES"] == "MIG-1"


@pytest.mark.parametrize(
    "cards",
    [(SMALL, LARGE), (LARGE, SMALL), (LAPTOP, LARGE), (UNKNOWN, LARGE), (UNKNOWN, SMALL, LAPTOP, LARGE)],
)
def test_a_run_takes_the_largest_card_that_it_can_use(cards):
    here = of(*cards)
    device = device_for(here)
    assert device.cards == (LARGE,)
    assert device.environment() == {"CUDA_VISIBLE_DEVICES": "GPU-4090", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert "GeForce RTX 4090 (GPU-4090)" in str(device) and "GPU-4090" in choose_recipe(here)[1]
    config = load_config(["recipe=0_5b_16gb"]).config
    shape = shape_of(config.model.path)
    assert shape is not None
    assert judge_fit(config, here, shape).available_gpu_gib == pytest.approx(
        23.99 - config.budget.gpu_reserve_gib
    )


@pytest.mark.parametrize(
    ("cards", "words"),
    [((SMALL,), ("GTX 1650", "sm_75")), ((UNKNOWN,), ("GB10", "does not report its memory"))],
)
def test_cards_that_no_run_can_use_are_told_by_name(cards, words):
    here = of(*cards)
    assert choose_recipe(here)[0] == "cpu_tiny"
    assert device_for(here).kind == "cpu"
    assert all(word in choose_recipe(here)[1] and word in here.why_no_card for word in words)


def test_the_recipe_decides_the_device():
    tiny = load_config(["recipe=cpu_tiny"]).config
    for cards in ((), (SMALL,), (LARGE,)):
        device = device_for(of(*cards), tiny.train.device, tiny.train.n_gpus_per_node)
        assert (device.kind, device.cards, device.environment()) == (
            "cpu",
            (),
            {"CUDA_VISIBLE_DEVICES": "-1"},
        )
    asked = load_config(["recipe=cpu_tiny", "train.device=cuda"]).config
    assert asked.needs_gpu and device_for(of(LARGE), asked.train.device).cards == (LARGE,)


def test_too_few_cards_are_refused_by_name():
    config = load_config(["recipe=paper_multi_gpu"]).config
    shape = shape_of(config.model.path)
    assert shape is not None
    [shortage] = judge_fit(config, of(SMALL, LARGE), shape).shortages
    assert "needs 2 (train.n_gpus_per_node), and 1 can be used: NVIDIA GeForce RTX 4090 (GPU-4090)" in str(
        shortage
    )


def test_a_card_that_is_not_there_is_not_overridden(tmp_path):
    config = load_config(["recipe=cpu_tiny", "train.device=cuda", "budget.override=[gpu]"]).config
    with pytest.raises(BudgetError, match="there is none") as error:
        require_fit(config, of(SMALL), tmp_path)
    assert "to start all the same" not in str(error.value)


def test_processes_on_a_cpu_are_counted_for_ray():
    assert device_for(of(), "cpu", 3).environment() == {"CUDA_VISIBLE_DEVICES": "-1,-1,-1"}


def test_detect_reads_this_machine(monkeypatch):
    monkeypatch.delenv("AZR_MACHINE", raising=False)
    here = detect()
    assert here.cpu_cores >= 1
    assert 0 < here.ram_available_gib <= here.ram_gib
    assert here.gpus or here.gpu_note


@pytest.mark.parametrize("setting", ["", "-1", " ", "NoDevFiles"])
def test_hidden_cards_are_not_used(monkeypatch, setting):
    monkeypatch.delenv("AZR_MACHINE", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    here = detect()
    assert not here.gpus
    assert "CUDA_VISIBLE_DEVICES" in here.gpu_note


def test_described_machine(monkeypatch, tmp_path):
    file = tmp_path / "machine.json"
    file.write_text(
        json.dumps(
            {"gpus": [{"name": "RTX 5080", "total_gib": 15.92, "compute_capability": [12, 0]}], "ram_gib": 16}
        )
    )
    monkeypatch.setenv("AZR_MACHINE", str(file))
    here = detect()
    assert here.gpus[0].free_gib == 15.92
    assert here.ram_available_gib == 16
    assert Machine.from_json(here.to_json()) == here
    assert device_for(here).environment() == {}, "a described card has no UUID, so nothing is hidden"


def test_damaged_description_is_a_sentence(monkeypatch, tmp_path):
    file = tmp_path / "machine.json"
    file.write_text(json.dumps({"gpus": [{"memory": 16}]}))
    monkeypatch.setenv("AZR_MACHINE", str(file))
    with pytest.raises(ConfigError, match="total_gib"):
        detect()
