"""Which NVIDIA cards there are, and which of them ``CUDA_VISIBLE_DEVICES`` leaves: by UUID, without creating
a CUDA context.

NVML numbers cards by their place on the bus; CUDA puts the fastest first unless
``CUDA_DEVICE_ORDER=PCI_BUS_ID`` says otherwise. So a number in ``CUDA_VISIBLE_DEVICES`` is CUDA's, and where
cards differ CUDA is asked for its order, once, by a short child process.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from azr.system.boards import Board, Gpu, boards_from_nvidia_smi, boards_from_nvml
from azr.system.children import last_words, run_captured

CUDA_ORDER_TIMEOUT_S = 30.0
VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
KERNEL_DRIVER = Path("/proc/driver/nvidia/version")
PCI_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA = "0x10de"
_NO_MODULE = (
    "the running kernel has no NVIDIA driver, as after an update of the kernel: reboot; "
    "if that does not help, reinstall the driver"
)
_REMEDIES = {
    "version mismatch": "the driver was updated while the machine was running: reboot",
    "driver not loaded": _NO_MODULE,
    "communicate with the nvidia driver": _NO_MODULE,
    "insufficient permissions": "this user may not open /dev/nvidia*: `ls -l /dev/nvidia*` names the group that may "
    "(video, render); sudo usermod -aG GROUP $USER, then log in again",
    "blocked by the operating system": "WSL2 takes the driver of Windows, and one that was installed inside WSL hides it: remove "
    "the packages nvidia-driver-* and libnvidia-compute-* there, then in Windows: wsl --shutdown",
    "unknown error": "a container loses its cards when systemd is reloaded on the host: start the container again",
}
"""Part of the driver's own words, in lower case -> what it means, and what to do."""
AFTER_SUSPEND = "after a laptop's suspend: sudo rmmod nvidia_uvm; sudo modprobe nvidia_uvm"
"""What helps where the driver lists the card and CUDA answers "unknown error"."""


@dataclass(frozen=True)
class Cards:
    """The cards that this process may use, in CUDA's order."""

    gpus: tuple[Gpu, ...]
    note: str = ""
    """Why there is none, or a warning about how they were found."""


def visible_cards() -> Cards:
    """Asks the driver, and leaves out what ``CUDA_VISIBLE_DEVICES`` hides."""
    setting = os.environ.get(VISIBLE)
    if setting is not None and not parse_visible_devices(setting):
        return Cards((), malformed(setting) or f"{VISIBLE}={setting!r} hides every card")
    boards, note = boards_from_nvml()
    if boards is None:
        boards, smi_note = boards_from_nvidia_smi()
        note = "" if boards else f"{note}; {smi_note}"
    if not boards:
        return Cards((), note + remedy(note, kernel_driver=KERNEL_DRIVER.exists(), vendors=display_vendors()))
    gpus, visible_note = _selected(boards)
    return Cards(tuple(gpus), "; ".join(filter(None, (note, visible_note))))


def used_vram_gib() -> float | None:
    """Memory in use on the cards of this run (the driver hides all others from itself), everybody's; None
    where no card says."""
    used = [gpu.used_gib for gpu in visible_cards().gpus if gpu.total_gib > 0]
    return sum(used) if used else None


def display_vendors(devices: Path = PCI_DEVICES) -> frozenset[str]:
    """The PCI vendors of this machine's graphics and compute cards, with a driver or without; none where it does not say."""
    with suppress(OSError):
        kinds = [
            file for file in devices.glob("*/class") if file.read_text(encoding="ascii").startswith("0x03")
        ]
        return frozenset(file.with_name("vendor").read_text(encoding="ascii").strip() for file in kinds)
    return frozenset()


def remedy(note: str, *, kernel_driver: bool, vendors: Collection[str] = ()) -> str:
    """What to append to the reason for which the driver names no card; empty where that says it all.

    Args:
        kernel_driver: the kernel has loaded the driver.
        vendors: PCI vendors of the machine's cards.
    """
    for words, told in _REMEDIES.items():
        if words in note.lower():
            return f": {told}"
    if kernel_driver and "no nvidia-smi" in note:
        return (
            ": the kernel has the driver, but its tools are not here; start a container with "
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility (docker run --gpus all -e ...)"
        )
    if not kernel_driver and _NVIDIA in vendors:
        return ": there is an NVIDIA card, but not NVIDIA's driver (nouveau does not compute); install it, then reboot"
    if vendors and _NVIDIA not in vendors:
        return "; the graphics here are not NVIDIA's, and no others can train"
    return ""


def parse_visible_devices(text: str) -> list[int] | list[str]:
    """Numbers, or (prefixes of) UUIDs, as CUDA reads the variable.

    The list ends at the first entry that is none of its kind; one that names anything twice is empty. torch
    reads it in the same way, and a test compares the two.
    """
    for prefix in ("GPU-", "MIG-"):
        if text.startswith(prefix):
            names: list[str] = []
            for entry in text.split(","):
                if entry in names:
                    return []
                if not entry.startswith(prefix):
                    break
                names.append(entry)
            return names
    numbers: list[int] = []
    for entry in text.split(","):
        match = re.match(r"[+-]?[0-9]+", entry.strip())
        number = int(match.group()) if match else -1
        if number in numbers:
            return []
        if number < 0:
            break
        numbers.append(number)
    return numbers


_ON_PURPOSE = ("", "nodevfiles", "none", "void")
"""What hides all cards without being a number."""


def malformed(setting: str) -> str:
    """What CUDA cannot read in ``CUDA_VISIBLE_DEVICES``, what it makes of it, and how it is written; empty for nothing.

    A number below 0 ends the list on purpose.
    """
    if setting.strip().lower() in _ON_PURPOSE:
        return ""
    valid = "write numbers (0, or 0,1) or UUIDs (GPU-..., which nvidia-smi -L lists), with a comma between and nothing else"
    entries, read = setting.split(","), parse_visible_devices(setting)
    for index, entry in enumerate(entries):
        whole = re.fullmatch(r"\s*([+-]?[0-9]+)\s*", entry)
        if index < len(read):
            if isinstance(read[index], int) and not whole:
                return f"{VISIBLE}={setting!r} is malformed: CUDA reads {entry!r} as {read[index]}; {valid}"
            continue
        if not read and len({item.strip() for item in entries}) < len(entries):
            return f"{VISIBLE}={setting!r} names a card twice, and CUDA then shows none; name each once"
        if whole and int(whole[1]) < 0 and (not read or isinstance(read[0], int)):
            return ""
        shows = "CUDA shows no card" if not read else f"CUDA ends the list before {entry!r}"
        return f"{VISIBLE}={setting!r} is malformed, so {shows}; {valid}"
    return ""


def _selected(boards: Sequence[Board]) -> tuple[list[Gpu], str]:
    """The cards that ``CUDA_VISIBLE_DEVICES`` leaves, in its order, and a note about an entry that names none.

    Args:
        boards: all physical cards in bus order.
    """
    setting = os.environ.get(VISIBLE)
    if setting is None:
        return [part for board in boards for part in board.parts], ""
    entries, notes = parse_visible_devices(setting), [malformed(setting)]
    if entries and isinstance(entries[0], int) and _order_matters(boards):
        boards, doubt = _in_cuda_order(boards)
        notes.append(doubt)
    chosen: list[Gpu] = []
    for entry in entries:
        found = _named(boards, entry)
        if len(found) == 1 and found[0] in chosen:
            return [], f"{VISIBLE}={setting!r} names {found[0]} twice, and CUDA then shows no card"
        if len(found) != 1:
            what = "names no card" if not found else f"names {len(found)} cards"
            parts = [f"{index}: {part}" for index, board in enumerate(boards) for part in board.parts]
            there = ", ".join(parts) or "none"
            notes.append(f"{VISIBLE}={setting!r}: {entry} {what} of this machine (there is {there})")
            break
        chosen.append(found[0])
    return chosen, "; ".join(filter(None, notes))


def _named(boards: Sequence[Board], entry: int | str) -> list[Gpu]:
    if isinstance(entry, int):  # of a card that is sliced CUDA takes the first slice
        return list(boards[entry].parts[:1]) if entry < len(boards) else []
    parts = [part for board in boards for part in board.parts if part.uuid.startswith(entry)]
    return parts or [board.parts[0] for board in boards if board.uuid.startswith(entry) and board.parts]


def _order_matters(boards: Sequence[Board]) -> bool:
    kinds = {(part.name, part.compute_capability) for board in boards for part in board.parts}
    return len(kinds) > 1 and os.environ.get(ORDER, "").strip() != "PCI_BUS_ID"


def _in_cuda_order(boards: Sequence[Board]) -> tuple[list[Board], str]:
    order, why = cuda_order(tuple(board.uuid for board in boards))
    by_uuid = {board.uuid: board for board in boards}
    if order:
        return [by_uuid[uuid] for uuid in order if uuid in by_uuid], ""

    def merit(board: Board) -> tuple[tuple[int, int], float]:
        return max(((part.compute_capability or (0, 0)), part.total_gib) for part in board.parts)

    note = (
        f"could not ask CUDA which card is number 0 ({why}); assuming the newest generation, then the largest"
    )
    advice = f"Name the card by its UUID, or set {ORDER}=PCI_BUS_ID"
    return sorted(boards, key=merit)[::-1], f"{note}. {advice}"


@functools.lru_cache(maxsize=4)
def cuda_order(uuids: tuple[str, ...]) -> tuple[list[str], str]:
    """The UUIDs of all cards in the order in which CUDA counts them; nothing, and why, where CUDA does not answer."""
    del uuids  # what the answer is remembered by
    environment = {name: value for name, value in os.environ.items() if name != VISIBLE}
    try:
        command = [sys.executable, "-I", "-S", "-c", _CUDA_ORDER]
        answer = run_captured(command, CUDA_ORDER_TIMEOUT_S, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], str(error)
    if answer.returncode != 0:
        return [], last_words(answer)[:200]
    return answer.stdout.split(), ""


_CUDA_ORDER = """
import ctypes, uuid
cuda = ctypes.CDLL("libcuda.so.1")
def call(name, *arguments):
    status = getattr(cuda, name)(*arguments)
    if status:
        raise SystemExit(f"{name} gave error {status}")
count, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(16)
call("cuInit", 0)
call("cuDeviceGetCount", ctypes.byref(count))
for index in range(count.value):
    call("cuDeviceGet", ctypes.byref(device), index)
    call("cuDeviceGetUuid", name, device)
    print(f"GPU-{uuid.UUID(bytes=name.raw)}")
"""
