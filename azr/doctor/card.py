"""The doctor's findings on cards, their driver, and torch; and what a finding is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from azr.system.cards import AFTER_SUSPEND
from azr.system.hardware import Device, Machine, device_for
from azr.system.imports import loader_advice

MIN_DRIVER = 580
PINNED = {
    "torch": "2.11.0",
    "verl": "0.9.1",
    "transformers": "5.9.0",
    "tensordict": "0.10.0",
    "ray": "2.60.0",
    "TransferQueue": "0.1.11",
}
DESKTOP_GIB = 1.0


class Level(str, Enum):
    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing to do."""
    WARNING = "warning"
    """A run works, but slower or less safely than it could."""
    PROBLEM = "problem"
    """A run will not work."""


@dataclass(frozen=True)
class Finding:
    level: Level
    subject: str
    seen: str
    fix: str = ""


ok, note = partial(Finding, Level.OK), partial(Finding, Level.NOTE)
warning, problem = partial(Finding, Level.WARNING), partial(Finding, Level.PROBLEM)


def gpu_findings(machine: Machine, device: Device | None = None) -> Iterator[Finding]:
    """Every visible card, and which of them the run takes.

    Args:
        device: what the run computes on; None: whatever the machine has.
    """
    device = device or device_for(machine)
    if not machine.gpus:
        fix = (
            "a GPU run needs nvidia-smi to list the card; unless the reason says otherwise: "
            "install the NVIDIA driver (on WSL2 the one for Windows)"
        )
        yield note("GPU", f"none ({machine.why_no_card}); only the CPU recipe runs here", fix)
        return
    if machine.gpu_note:
        yield warning("GPU", machine.gpu_note, "check nvidia-smi and CUDA_VISIBLE_DEVICES")
    for gpu in machine.gpus:
        if gpu.unfit:
            needed = (
                "a run needs a card of the Ampere generation (sm_80) or later whose memory the driver reports"
            )
            fix = f"{'change the mode' if gpu.compute_mode else needed}; else use recipe=cpu_tiny"
            yield warning("GPU", f"{gpu} is not used: {gpu.unfit}", fix)
            continue
        driver = f"driver {gpu.driver or '?'}"
        what = f"{gpu}, {gpu.total_gib:.1f} GiB, {gpu.arch or 'capability unknown'}, {driver}"
        if gpu not in device.cards:
            yield note("GPU", f"{what}: not used by this configuration")
            continue
        yield ok("GPU", f"{what}: the run uses it")
        taken = gpu.used_gib
        if taken > DESKTOP_GIB:
            fix = (
                "close browsers and games, log out of the desktop, or drive the display from integrated graphics; "
                f"or plan with it: budget.gpu_reserve_gib={taken:.1f}"
            )
            seen = f"{taken:.1f} of {gpu.total_gib:.1f} GiB are in use before a run starts"
            yield warning("GPU memory", seen, fix)
    if device.missing:
        seen = f"{device.count} cards are requested, but {len(device.cards)} can be used"
        yield problem("GPU", seen, "lower train.n_gpus_per_node")
    if device.cards:
        yield from driver_findings(device.cards[0].driver, machine.is_wsl)


def driver_findings(driver: str, is_wsl: bool) -> Iterator[Finding]:
    """torch 2.11.0 as it is installed is built for CUDA 13, which needs driver 580."""
    major = int(match.group(1)) if (match := re.match(r"(\d+)", driver)) else 0
    if not major:
        fix = f"check with nvidia-smi that it is at least {MIN_DRIVER}"
        yield warning("driver", "its version is unknown", fix)
    elif major >= MIN_DRIVER:
        yield ok("driver", f"{driver} serves CUDA 13")
    else:
        windows = " for Windows (WSL2 uses it; install none inside WSL)" if is_wsl else ""
        fix = (
            f"update the NVIDIA driver{windows} to {MIN_DRIVER} or later: drivers are backward compatible, "
            "your CUDA 12.8 programs keep working. "
            "Where it cannot be updated, run in a container image with CUDA's forward-compatibility package (data-centre cards only)"
        )
        seen = f"{driver}: torch {PINNED['torch']} is built for CUDA 13, which needs {MIN_DRIVER}"
        yield problem("driver", seen, fix)


def torch_findings(device: Device, report: dict[str, Any]) -> Iterator[Finding]:
    """What torch itself says, in a process of its own (``report`` is its JSON)."""
    if "error" in report:
        fix = loader_advice(report["error"]) or "run scripts/setup.sh again; the trainer's log has more"
        yield problem("torch", f"does not work: {report['error']}", fix)
        return
    yield ok("torch", f"{report['torch']}, CUDA {report['cuda'] or 'none'}")
    if not device.cards:
        return
    if not report["available"]:
        fix = f"update the driver (see above); if it is new enough, reboot, or {AFTER_SUSPEND}; on WSL2: wsl --shutdown"
        seen = f"sees no GPU although the driver lists one: {report.get('why', '')}".strip()
        yield problem("torch", seen, fix)
        return
    arches, card = report["arches"], report["arch"]
    major = card.removeprefix("sm_")[:-1]
    serves = card in arches or any(
        arch.removeprefix("sm_")[:-1] == major and arch <= card for arch in arches if arch.startswith("sm_")
    )
    if serves:
        yield ok("architectures", f"torch has code for {card}")
    else:
        fix = f"install the pinned torch {PINNED['torch']} (scripts/setup.sh); other builds lack {card}"
        yield problem("architectures", f"torch has no code for {card}: {', '.join(arches)}", fix)
    for name, (what, fix) in _KERNELS.items():
        if report[name] == "ok":
            yield ok(what, "runs on the card")
        else:
            yield problem(what, f"fails: {report[name]}", fix)


_KERNELS = {
    "matmul": ("bf16 product", "the driver or the card fails; look at dmesg for NVRM lines"),
    "varlen": (
        "packed attention",
        "set train.packed_sequences=false train.compile_layers=false, which is slower and needs more memory",
    ),
    "triton": (
        "Triton kernel",
        "install a C compiler and Python's headers (sudo apt-get install gcc python3-dev); the chunked head needs Triton",
    ),
}


def int4_findings(report: dict[str, Any]) -> Iterator[Finding]:
    """Of one product of the engine's kernel (``report`` is the JSON of ``azr.train.quantize.kernel_check``)."""
    if "result" not in report:
        why = report.get("wrong") or f"the check broke off: {report.get('error', 'no answer')}"
        yield problem("int4 kernel", why, "use a recipe with a bfloat16 base, such as 3b_lora_16gb")
        return
    found = report["result"]
    seen = f"its product differs from the exact one by {found['error']:.2%}, torch's own by {found['torch_error']:.2%}"
    if not found["different_weights"]:
        yield ok("int4 kernel", seen)
        return
    seen += f"; {found['different_weights']:.1%} of the weights are read otherwise than by the trainer"
    fix = "watch train/logprob_mismatch, or use a recipe with a bfloat16 base"
    yield warning("int4 kernel", seen, fix)


def ipc_findings(report: dict[str, Any]) -> Iterator[Finding]:
    if report.get("works"):
        yield ok("CUDA IPC", "works: weights go from trainer to engine inside the card")
    else:
        fix = "nothing to do on WSL2 (detected at every start); elsewhere set VERL_PLATFORM=nvidia_shm: weights then go through /dev/shm"
        yield warning("CUDA IPC", f"does not work: {report.get('error', 'no answer')}", fix)
