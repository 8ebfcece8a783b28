"""Which cards ``CUDA_VISIBLE_DEVICES`` means. NVML is a stand-in here that answers from records; parsing is
compared with torch's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.doctor.card import gpu_findings
from azr.system import cards
from azr.system.boards import GIB, boards_from_nvidia_smi, parse_nvidia_smi
from azr.system.cards import parse_visible_devices, used_vram_gib, visible_cards
from azr.system.hardware import Machine


class NVMLError(Exception):
    pass


class FakeNvml(SimpleNamespace):
    """As ``pynvml``, over records: ``name``, ``uuid``, ``gib``, ``bus``, ``capability``; ``gib=None`` and
    ``broken`` raise; ``slices``."""

    NVMLError = NVMLError

    def __init__(self, *boards: dict[str, Any]) -> None:
        super().__init__(boards=list(boards))

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlSystemGetDriverVersion(self) -> str:
        return "581.29"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        if self.boards[index].get("broken"):
            raise NVMLError("GPU is lost")
        return self.boards[index]

    def nvmlDeviceGetName(self, handle: dict[str, Any]) -> str:
        return handle["name"]

    def nvmlDeviceGetUUID(self, handle: dict[str, Any]) -> str:
        return handle["uuid"]

    def nvmlDeviceGetPciInfo(self, handle: dict[str, Any]) -> Any:
        return SimpleNamespace(busId=handle.get("bus", "").encode())

    def nvmlDeviceGetCudaComputeCapability(self, handle: dict[str, Any]) -> tuple[int, int]:
        return handle.get("capability", (8, 9))

    def nvmlDeviceGetMemoryInfo(self, handle: dict[str, Any]) -> Any:
        if handle["gib"] is None:
            raise NVMLError("Not Supported")
        return SimpleNamespace(total=handle["gib"] * GIB, free=(handle["gib"] - handle.get("used", 0)) * GIB)

    def nvmlDeviceGetComputeMode(self, handle: dict[str, Any]) -> int:
        if handle["gib"] is None:
            raise NVMLError("Not Supported")
        return handle.get("mode", 0)

    def nvmlDeviceGetMigMode(self, handle: dict[str, Any]) -> list[int]:
        if "slices" not in handle:
            raise NVMLError("Not Supported")
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: dict[str, Any]) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: dict[str, Any], index: int) -> dict[str, Any]:
        if index >= len(handle["slices"]):
            raise NVMLError("Not Found")
        return handle["slices"][index]


GTX_1650 = {
    "name": "NVIDIA GeForce GTX 1650",
    "uuid": "GPU-1650aaaa-1",
    "gib": 4,
    "bus": "00000000:01:00.0",
    "capability": (7, 5),
}
RTX_4090 = {
    "name": "NVIDIA GeForce RTX 4090",
    "uuid": "GPU-4090bbbb-2",
    "gib": 24,
    "bus": "00000000:41:00.0",
    "used": 3,
}
GB10 = {
    "name": "NVIDIA GB10",
    "uuid": "GPU-6b10cccc-3",
    "gib": None,
    "bus": "0000000F:01:00.0",
    "capability": (12, 1),
}
SLICES = [
    {"name": "NVIDIA A100 MIG 3g.20gb", "uuid": "MIG-aaaa-1", "gib": 20},
    {"name": "NVIDIA A100 MIG 2g.10gb", "uuid": "MIG-bbbb-2", "gib": 10},
]
A100 = {
    "name": "NVIDIA A100",
    "uuid": "GPU-a100dddd-4",
    "gib": 40,
    "bus": "00000000:61:00.0",
    "capability": (8, 0),
    "slices": SLICES,
}
IDLE_A100 = {**A100, "uuid": "GPU-a100eeee-5", "slices": []}
LOST = {"broken": True}


@pytest.fixture
def machine_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def use(*boards: dict[str, Any], order: list[str] | None = None, **environment: str) -> Any:
        monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*boards))  # type: ignore[arg-type]
        for name in (cards.VISIBLE, cards.ORDER):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(cards, "cuda_order", lambda _: (order, "") if order else ([], "no CUDA here"))
        return visible_cards()

    yield use


def names(found: cards.Cards) -> list[str]:
    return [gpu.name.rpartition(" ")[2] for gpu in found.gpus]


FASTEST_FIRST = [RTX_4090["uuid"], GTX_1650["uuid"]]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["1650", "4090"]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, ["4090"]),  # by CUDA's count, not by the bus
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["1650"]),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, ["1650", "4090"]),
        ({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, ["1650"]),
        ({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, ["4090"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-4090bbbb-2"}, ["4090"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-4090"}, ["4090"]),  # an unambiguous beginning
        ({"CUDA_VISIBLE_DEVICES": "GPU-4090,GPU-1650"}, ["4090", "1650"]),
        ({"CUDA_VISIBLE_DEVICES": "0,7,1"}, ["4090"]),  # the list ends at what is not there
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, ["4090"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-4090,GPU-none,GPU-1650"}, ["4090"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-"}, []),  # names both
        ({"CUDA_VISIBLE_DEVICES": "0,0"}, []),
        ({"CUDA_VISIBLE_DEVICES": "GPU-4090,GPU-4090b"}, []),  # the same card twice
        ({"CUDA_VISIBLE_DEVICES": "5"}, []),
    ],
)
def test_a_small_card_before_a_large_one(
    machine_of: Any, environment: dict[str, str], expected: list[str]
) -> None:
    found = machine_of(GTX_1650, RTX_4090, order=FASTEST_FIRST, **environment)
    assert names(found) == expected
    assert found.gpus or "CUDA_VISIBLE_DEVICES" in found.note


def test_the_bus_decides_not_the_order_of_the_driver(machine_of: Any) -> None:
    found = machine_of(RTX_4090, GTX_1650, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert names(found) == ["1650"]


def test_what_is_not_there_is_told_with_what_is(machine_of: Any) -> None:
    note = machine_of(GTX_1650, RTX_4090, order=FASTEST_FIRST, CUDA_VISIBLE_DEVICES="GPU-77").note
    assert "GPU-77 names no card" in note and "1: NVIDIA GeForce RTX 4090 (GPU-4090bbbb-2)" in note


def test_where_cuda_cannot_be_asked_that_is_said(machine_of: Any) -> None:
    found = machine_of(GTX_1650, RTX_4090, CUDA_VISIBLE_DEVICES="0")
    assert names(found) == ["4090"]
    assert "no CUDA here" in found.note and "PCI_BUS_ID" in found.note


def test_cards_of_one_kind_need_no_question(machine_of: Any) -> None:
    twin = {**RTX_4090, "uuid": "GPU-4090ffff-9", "bus": "00000000:42:00.0"}
    found = machine_of(twin, RTX_4090, CUDA_VISIBLE_DEVICES="1")
    assert [gpu.uuid for gpu in found.gpus] == ["GPU-4090ffff-9"] and not found.note


def test_memory_that_is_not_told_hides_no_other_card(machine_of: Any) -> None:
    found = machine_of(GB10, RTX_4090)
    assert sorted(names(found)) == ["4090", "GB10"]
    [unknown] = [gpu for gpu in found.gpus if gpu.unfit]
    assert "does not report its memory" in unknown.unfit


def test_a_lost_card_hides_no_other(machine_of: Any) -> None:
    found = machine_of(LOST, RTX_4090)
    assert names(found) == ["4090"] and "card 0 does not answer" in found.note and "GPU is lost" in found.note


@pytest.mark.parametrize(
    ("setting", "expected"),
    [(None, [20.0, 10.0]), ("MIG-bbbb-2", [10.0]), ("MIG-b", [10.0]), ("0", [20.0]), ("GPU-a100", [20.0]), ("MIG-cccc", [])],
)  # fmt: skip
def test_slices_have_their_own_memory(machine_of: Any, setting: str | None, expected: list[float]) -> None:
    found = machine_of(A100, **({"CUDA_VISIBLE_DEVICES": setting} if setting else {}))
    assert [gpu.total_gib for gpu in found.gpus] == expected
    assert all(gpu.is_slice and gpu.compute_capability == (8, 0) for gpu in found.gpus)


def test_a_card_in_mig_mode_without_slices(machine_of: Any) -> None:
    found = machine_of(IDLE_A100, RTX_4090)
    assert names(found) == ["4090"] and "GPU-a100eeee-5) is in MIG mode and has no slice" in found.note


def test_a_card_for_one_process(machine_of: Any, tmp_path: Path) -> None:
    """Trainer and engine are two: the second one was told that the card is busy."""
    pipes = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}
    for number, mode in ((2, "Prohibited"), (3, "Exclusive_Process")):
        found = machine_of({**RTX_4090, "mode": number}, A100, **pipes)
        machine = Machine(found.gpus, cpu_cores=8, ram_gib=64.0, ram_available_gib=60.0)
        assert [gpu.name for gpu in machine.cards] == [each["name"] for each in SLICES]
        said = f"its compute mode is {mode}"
        assert said in machine.why_no_card and "sudo nvidia-smi -c DEFAULT" in machine.why_no_card
        told = [finding for finding in gpu_findings(machine) if said in finding.seen]
        assert [finding.fix for finding in told] == ["change the mode; else use recipe=cpu_tiny"]
    (tmp_path / "control").touch()  # NVIDIA's MPS is running
    [shared] = machine_of({**RTX_4090, "mode": 3}, **pipes).gpus
    assert not shared.unfit


def test_watched_memory_is_that_of_the_runs_card(machine_of: Any) -> None:
    machine_of(GB10, {**GTX_1650, "used": 1}, RTX_4090, CUDA_VISIBLE_DEVICES="GPU-4090bbbb-2")
    assert used_vram_gib() == pytest.approx(3.0)
    machine_of(GB10)
    assert used_vram_gib() is None
    machine_of(RTX_4090, CUDA_VISIBLE_DEVICES="-1")
    assert used_vram_gib() is None


def test_nvidia_smi_lines() -> None:
    text = (
        "NVIDIA GeForce RTX 5080, 16303, 15010, 12.0, 581.29, GPU-5080\n"
        "broken line\n"
        "NVIDIA GB10, [N/A], [N/A], 12.1, 580, GPU-10\n"
    )  # fmt: skip
    known, unknown = parse_nvidia_smi(text)
    assert known == cards.Gpu(
        "NVIDIA GeForce RTX 5080", 16303 / 1024, 15010 / 1024, (12, 0), "581.29", "GPU-5080"
    )
    assert known.arch == "sm_120" and not known.unfit
    assert unknown.name == "NVIDIA GB10" and unknown.unfit


def test_words_of_nvidia_smi_that_are_not_utf_8_are_no_crash(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf 'Ger\\344t ist weg'\nexit 9\n")  # Latin-1
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert boards_from_nvidia_smi() == (None, "nvidia-smi: Ger\ufffdt ist weg")


ENTRIES = st.sampled_from(
    ["0", "1", "2", "-1", "+1", "1x", "", " 0", "GPU-a", "GPU-ab", "MIG-c", "gpu", "NoDevFiles", "0 ", "7"]
)


@settings(deadline=None)  # the first one imports torch
@given(st.lists(ENTRIES, max_size=5).map(",".join))
def test_the_variable_is_read_as_torch_reads_it(text: str) -> None:
    torch_cuda = pytest.importorskip("torch.cuda")
    before = os.environ.get(cards.VISIBLE)
    os.environ[cards.VISIBLE] = text
    try:
        expected = torch_cuda._parse_visible_devices() if text else []
    finally:
        if before is None:
            del os.environ[cards.VISIBLE]
        else:
            os.environ[cards.VISIBLE] = before
    assert parse_visible_devices(text) == expected


@pytest.mark.parametrize(
    ("setting", "seen", "told"),
    [
        ("cuda:0", [], "is malformed, so CUDA shows no card; write numbers"),
        ("GPU0", [], "is malformed, so CUDA shows no card"),
        ("gpu-4090bbbb", [], "is malformed, so CUDA shows no card"),
        ("all", [], "is malformed, so CUDA shows no card"),
        ("'0'", [], "is malformed, so CUDA shows no card"),
        (",0", [], "is malformed, so CUDA shows no card"),
        ("[0]", [], "is malformed, so CUDA shows no card"),
        ("0,,1", ["4090"], "ends the list before ''"),
        ("0,", ["4090"], "ends the list before ''"),
        ("0,cuda:1", ["4090"], "ends the list before 'cuda:1'"),
        ("GPU-4090, GPU-1650", ["4090"], "ends the list before ' GPU-1650'"),
        ("GPU-4090,1", ["4090"], "ends the list before '1'"),
        ("0;1", ["4090"], "CUDA reads '0;1' as 0"),
        ("0 1", ["4090"], "CUDA reads '0 1' as 0"),
        ("0-1", ["4090"], "CUDA reads '0-1' as 0"),
        ("1.0", ["1650"], "CUDA reads '1.0' as 1"),
        ("0,0", [], "names a card twice"),
        (" 0 ", ["4090"], ""),
        ("0, 1", ["4090", "1650"], ""),
        ("0,-1,1", ["4090"], ""),
        ("", [], "hides every card"),
        ("-1", [], "hides every card"),
        ("none", [], "hides every card"),
    ],
)
def test_a_malformed_variable_is_named_as_such(
    machine_of: Any, setting: str, seen: list[str], told: str
) -> None:
    """``cuda:0`` was called a way to hide every card."""
    found = machine_of(GTX_1650, RTX_4090, order=FASTEST_FIRST, CUDA_VISIBLE_DEVICES=setting)
    assert names(found) == seen
    assert (
        (told in found.note and f"CUDA_VISIBLE_DEVICES={setting!r}" in found.note) if told else not found.note
    )


@given(st.text(max_size=12))
def test_any_text_in_the_variable_is_judged(text: str) -> None:
    told = cards.malformed(text)
    assert not told or repr(text) in told


def test_cuda_is_asked_in_a_process_of_its_own() -> None:
    cards.cuda_order.cache_clear()
    order, why = cards.cuda_order(())
    assert bool(order) != bool(why), "UUIDs, or a reason"
    assert all(uuid.startswith("GPU-") for uuid in order)


def test_the_question_to_cuda_is_valid_python() -> None:
    subprocess.run(
        [sys.executable, "-c", f"compile({cards._CUDA_ORDER!r}, 'order', 'exec')"], check=True, timeout=30
    )


@pytest.mark.parametrize(
    ("said", "kernel_driver", "told"),
    [
        (
            "RM has detected an NVML/RM version mismatch.",
            True,
            "updated while the machine was running: reboot",
        ),
        ("Driver/library version mismatch", True, "updated while the machine was running: reboot"),
        ("Driver Not Loaded", False, "the running kernel has no NVIDIA driver"),
        ("Unknown Error", True, "start the container again"),
        ("Insufficient Permissions", True, "sudo usermod -aG GROUP"),
        ("GPU access blocked by the operating system", False, "wsl --shutdown"),
        ("NVML Shared Library Not Found", True, "NVIDIA_DRIVER_CAPABILITIES=compute,utility"),
        ("NVML Shared Library Not Found", False, "NVML Shared Library Not Found; no nvidia-smi"),
    ],
)
def test_a_driver_that_does_not_answer_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, kernel_driver: bool, told: str
) -> None:
    class Failing(FakeNvml):
        def nvmlInit(self) -> None:
            raise NVMLError(said)

    monkeypatch.setitem(sys.modules, "pynvml", Failing())  # type: ignore[arg-type]
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(cards.VISIBLE, raising=False)
    monkeypatch.setattr(cards, "KERNEL_DRIVER", tmp_path if kernel_driver else tmp_path / "none")
    found = visible_cards()
    assert not found.gpus and found.note.startswith(f"NVML: {said}") and told in found.note
    assert kernel_driver or "NVIDIA_DRIVER_CAPABILITIES" not in found.note


def test_a_card_without_nvidia_s_driver_is_told_from_one_of_another_maker(tmp_path: Path) -> None:
    """An NVIDIA card on nouveau was "no NVIDIA GPU", as an AMD card was."""
    for number, (kind, vendor) in enumerate(
        [("0x060000", "0x8086"), ("0x030000", "0x10de"), ("0x030200", "0x1002")]
    ):
        device = tmp_path / str(number)
        device.mkdir()
        (device / "class").write_text(f"{kind}\n")
        (device / "vendor").write_text(f"{vendor}\n")
    (tmp_path / "gone").mkdir()
    vendors = cards.display_vendors(tmp_path)
    assert vendors == {"0x10de", "0x1002"}
    note = "NVML: NVML Shared Library Not Found; no nvidia-smi"
    assert "install it, then reboot" in cards.remedy(note, kernel_driver=False, vendors=vendors)
    assert "not NVIDIA's" in cards.remedy(note, kernel_driver=False, vendors=vendors - {"0x10de"})
    assert cards.remedy(note, kernel_driver=False) == ""
