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
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB = 1 << 20
GIB = 1 << 30
NVIDIA_SMI_TIMEOUT_S = 15.0
CUDA_ORDER_TIMEOUT_S = 30.0
BF16_CAPABILITY = (8, 0)
"""The first generation (Ampere) that multiplies bf16; every GPU recipe trains and serves in it."""
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
    "insufficient permissions": "this user may not open /dev/nvidia*",
    "unknown error": "a container loses its cards when systemd is reloaded on the host: start the container again",
}
"""Part of the driver's own words, in lower case -> what it means, and what to do."""
_COMPUTE_MODES = {2: "Prohibited", 3: "Exclusive_Process"}
"""As NVML counts them and nvidia-smi writes them. With NVIDIA's MPS, many processes share a card that is exclusive."""


@dataclass(frozen=True)
class Gpu:
    """One card, or one MIG slice of a card, as the driver reports it."""

    name: str
    total_gib: float
    """0 where the driver does not say (a card that shares the host's memory)."""
    free_gib: float
    """Free at the moment of asking; a desktop, a browser or a crashed engine holds the rest."""
    compute_capability: tuple[int, int] | None = None
    """(12, 0) for consumer Blackwell; None where the driver does not say."""
    driver: str = ""
    uuid: str = ""
    """``GPU-...``, or ``MIG-...`` for a slice; empty where it is unknown."""
    compute_mode: str = ""
    """How many processes the driver lets on the card, where a run's would not get there; empty elsewhere."""

    @property
    def arch(self) -> str:
        """``sm_120`` ..., or an empty string."""
        if self.compute_capability is None:
            return ""
        return f"sm_{self.compute_capability[0]}{self.compute_capability[1]}"

    @property
    def is_slice(self) -> bool:
        return self.uuid.startswith("MIG-")

    @property
    def used_gib(self) -> float:
        return self.total_gib - self.free_gib

    @property
    def unfit(self) -> str:
        """Why no run can use this card; empty for one that can be used."""
        if self.compute_capability is not None and self.compute_capability < BF16_CAPABILITY:
            return f"it is {self.arch}, which has no bf16 (needs sm_80 or later)"
        if self.total_gib <= 0:
            return "the driver does not report its memory, so its use cannot be planned"
        if self.compute_mode:
            return (
                f"its compute mode is {self.compute_mode}, and a run's trainer and engine are two processes; "
                "let them share it: sudo nvidia-smi -c DEFAULT"
            )
        return ""

    def __str__(self) -> str:
        return f"{self.name} ({self.uuid})" if self.uuid else self.name


@dataclass(frozen=True)
class Board:
    """A physical card: itself, or its MIG slices."""

    uuid: str
    parts: tuple[Gpu, ...]


@dataclass(frozen=True)
class Cards:
    """The cards that this process may use, in CUDA's order."""

    gpus: tuple[Gpu, ...]
    note: str = ""
    """Why there is none, or a warning about how they were found."""


def visible_cards(environment: Mapping[str, str] | None = None) -> Cards:
    """Asks the driver, and leaves out what ``CUDA_VISIBLE_DEVICES`` hides."""
    environment = os.environ if environment is None else environment
    setting = environment.get(VISIBLE)
    if setting is not None and not parse_visible_devices(setting):
        return Cards((), malformed(setting) or f"{VISIBLE}={setting!r} hides every card")
    boards, note = boards_from_nvml()
    if boards is None:
        boards, smi_note = _boards_from_nvidia_smi()
        note = "" if boards else f"{note}; {smi_note}"
    if not boards:
        return Cards((), note + remedy(note, kernel_driver=KERNEL_DRIVER.exists(), vendors=display_vendors()))
    gpus, visible_note = select_cards(boards, environment, cuda_order)
    return Cards(tuple(gpus), "; ".join(filter(None, (note, visible_note))))


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


# ---------------------------------------------------------------- CUDA_VISIBLE_DEVICES


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


def select_cards(
    boards: Sequence[Board],
    environment: Mapping[str, str],
    ask_order: Callable[[tuple[str, ...]], tuple[list[str], str]],
) -> tuple[list[Gpu], str]:
    """The cards that ``CUDA_VISIBLE_DEVICES`` leaves, in its order, and a note about an entry that names
    none.

    Args:
        boards: all physical cards in bus order.
        ask_order: UUIDs of the boards -> those UUIDs in CUDA's order, or none and why; asked only where it
            matters.
    """
    setting = environment.get(VISIBLE)
    if setting is None:
        return [part for board in boards for part in board.parts], ""
    entries, notes = parse_visible_devices(setting), [malformed(setting)]
    if entries and isinstance(entries[0], int) and _order_matters(boards, environment):
        boards, doubt = _in_cuda_order(boards, ask_order)
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


def _order_matters(boards: Sequence[Board], environment: Mapping[str, str]) -> bool:
    kinds = {(part.name, part.compute_capability) for board in boards for part in board.parts}
    return len(kinds) > 1 and environment.get(ORDER, "").strip() != "PCI_BUS_ID"


def _in_cuda_order(
    boards: Sequence[Board], ask_order: Callable[[tuple[str, ...]], tuple[list[str], str]]
) -> tuple[list[Board], str]:
    order, why = ask_order(tuple(board.uuid for board in boards))
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
        answer = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _CUDA_ORDER],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CUDA_ORDER_TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], str(error)
    if answer.returncode != 0:
        return [], (answer.stderr.strip().splitlines() or [f"exit status {answer.returncode}"])[-1][:200]
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


# ---------------------------------------------------------------- the driver


@contextmanager
def _nvml() -> Iterator[tuple[Any, str]]:
    """The initialised ``pynvml`` module, or None and why not."""
    try:
        import pynvml
    except ImportError:
        yield None, "nvidia-ml-py is not installed"
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield None, f"NVML: {error}"
        return
    try:
        yield pynvml, ""
    finally:
        pynvml.nvmlShutdown()


def boards_from_nvml() -> tuple[list[Board] | None, str]:
    """All physical cards in bus order, or None and why NVML could not be asked."""
    with _nvml() as (nvml, why):
        if nvml is None:
            return None, why
        try:
            driver = _text(nvml.nvmlSystemGetDriverVersion())
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            return None, f"NVML: {error}"
        found: list[tuple[str, int, Board]] = []
        lost = []
        for index in range(count):
            try:  # one card that does not answer must not hide the others
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                board = _board(nvml, handle, driver)
            except nvml.NVMLError as error:
                lost.append(f"card {index} does not answer (NVML: {error})")
                continue
            place = _or_none(nvml, nvml.nvmlDeviceGetPciInfo, handle)
            if board.parts:
                found.append((_text(place.busId) if place else "", index, board))
            else:
                lost.append(f"card {index} ({board.uuid}) is in MIG mode and has no slice")
        note = "; ".join(lost) or ("" if count else "the driver lists no card")
        return [board for _, _, board in sorted(found, key=lambda item: item[:2])], note


def _board(nvml: Any, handle: Any, driver: str) -> Board:
    uuid = _text(nvml.nvmlDeviceGetUUID(handle))
    capability = _or_none(nvml, nvml.nvmlDeviceGetCudaComputeCapability, handle)
    capability = None if capability is None else (int(capability[0]), int(capability[1]))
    mode = _or_none(nvml, nvml.nvmlDeviceGetMigMode, handle)
    if mode is None or not mode[0]:
        return Board(uuid, (_gpu(nvml, handle, capability, driver),))
    slices = []
    for index in range(_or_none(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = _or_none(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if part is not None:
            slices.append(_gpu(nvml, part, capability, driver))
    return Board(uuid, tuple(slices))


def _gpu(nvml: Any, handle: Any, capability: tuple[int, int] | None, driver: str) -> Gpu:
    memory = _or_none(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    return Gpu(
        name=_text(nvml.nvmlDeviceGetName(handle)),
        total_gib=int(memory.total) / GIB if memory else 0.0,
        free_gib=int(memory.free) / GIB if memory else 0.0,
        compute_capability=capability,
        driver=driver,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        compute_mode=_compute_mode(nvml, handle),
    )


def _compute_mode(nvml: Any, handle: Any) -> str:
    mode = _COMPUTE_MODES.get(_or_none(nvml, nvml.nvmlDeviceGetComputeMode, handle), "")
    pipes = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))
    return "" if mode == "Exclusive_Process" and (pipes / "control").exists() else mode


def _or_none(nvml: Any, ask: Callable[..., Any], *arguments: Any) -> Any:
    """What not every card answers."""
    try:
        return ask(*arguments)
    except nvml.NVMLError:
        return None


def _boards_from_nvidia_smi() -> tuple[list[Board] | None, str]:
    command = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path="/usr/lib/wsl/lib")
    if command is None:
        return None, "no nvidia-smi"
    query = "--query-gpu=name,memory.total,memory.free,compute_cap,driver_version,uuid"
    try:
        answer = subprocess.run(
            [command, query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=NVIDIA_SMI_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"nvidia-smi: {error}"
    if answer.returncode != 0:
        return None, f"nvidia-smi: {' '.join((answer.stdout + answer.stderr).split())[:200]}"
    return [Board(gpu.uuid, (gpu,)) for gpu in parse_nvidia_smi(answer.stdout)], ""


def parse_nvidia_smi(text: str) -> list[Gpu]:
    """Reads ``name, total MiB, free MiB, capability, driver, UUID`` lines; memory that is ``[N/A]`` becomes 0."""
    gpus = []
    for line in text.strip().splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 6:
            continue
        total, free = (int(field) * MIB / GIB if field.isdigit() else 0.0 for field in fields[1:3])
        major, _, minor = fields[3].partition(".")
        capability = (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
        gpus.append(Gpu(fields[0], total, free, capability, fields[4], fields[5]))
    return gpus


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
