"""What a command says before it imports anything: another Python, missing packages, names in ASCII, a folder
that is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from azr import start
from azr.campaign.faults import Fault, FaultKind
from azr.cli import run_command
from azr.errors import ConfigError
from azr.system import imports
from azr.system.imports import loader_advice

ROOT = Path(__file__).resolve().parents[2]


def command(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("version", [(3, 8, 10), (3, 9, 18), (3, 13, 0), (4, 0, 0)])
def test_another_python_is_told_which_to_take(
    version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start.sys, "version_info", version)
    with pytest.raises(SystemExit) as end:
        start.check_start("run")
    assert f"3.12 is needed, and {sys.executable} is {'.'.join(map(str, version))}" in str(end.value)


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_another_system_is_told_where_to_start_it(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was "the package fcntl is not installed", with an environment to start it in that cannot be made there."""
    monkeypatch.setattr(start.sys, "platform", system)
    monkeypatch.setattr(start.sys, "version_info", (3, 13, 0))  # the one that Windows installs
    with pytest.raises(SystemExit) as end:
        start.check_start("run")
    assert "Linux is needed" in str(end.value) and "inside WSL2" in str(end.value)


@pytest.mark.parametrize("made", [True, False])
def test_a_python_without_the_packages_is_told_which_to_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    monkeypatch.setattr(start, "PROJECT", str(tmp_path))
    python = tmp_path / ".venv" / "bin" / "python"
    if made:
        python.parent.mkdir(parents=True)
        python.touch()
    told = start.missing_module("run", ModuleNotFoundError("no", name="yaml"))
    assert "yaml is not installed" in told and sys.executable in told
    assert f"Start it with {python}" in told if made else "scripts/setup.sh" in told


def test_without_site_packages_every_way_in_is_a_sentence(tmp_path: Path) -> None:
    for words in (
        [ROOT / "azr_single_gpu_pipeline.py", "name=x"],
        [ROOT / "scripts" / "report.py", "x"],
        ["-m", "azr", "report", "x"],
    ):
        done = command("-S", *words, cwd=tmp_path)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "is not installed for" in done.stderr and "\n" not in done.stderr.strip()


def test_a_package_that_a_command_finds_missing_later(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "hydra", None)
    assert run_command("run", ["--cfg", "job", "recipe=cpu_tiny"]) == 2
    assert "the package hydra is not installed for" in capsys.readouterr().err


def test_a_library_of_another_program_is_named_with_its_variable(tmp_path: Path) -> None:
    """An old or broken one that conda, MATLAB or ROS put first: numpy's own advice speaks of its source folder."""
    (tmp_path / "libstdc++.so.6").touch()
    for words in (["report", "x"], ["run", "name=x", "recipe=cpu_tiny", f"runs_dir={tmp_path}"]):
        done = command("-m", "azr", *words, cwd=tmp_path, LD_LIBRARY_PATH=str(tmp_path))
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
        assert f"{tmp_path}/libstdc++.so.6: file too short" in done.stderr
        assert "unset LD_LIBRARY_PATH" in done.stderr and "source directory" not in done.stderr


def test_what_the_loader_says_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/matlab/bin")
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    for text in (
        "ImportError: /usr/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by torch)",
        "libcudnn.so.9: cannot open shared object file: No such file or directory",
        "_C.abi3.so: undefined symbol: cublasLtCreate",
    ):
        assert "LD_LIBRARY_PATH=/opt/matlab/bin" in loader_advice(text)
    assert loader_advice("cannot import name 'x' from 'trl' (/site-packages/trl/__init__.py)") == ""
    fault = Fault(FaultKind.IMPORT, "ImportError: libcudnn.so.9: cannot open shared object file")
    assert "unset LD_LIBRARY_PATH" in fault.sentence("m") and "remove .venv" not in fault.sentence("m")
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert "scripts/setup.sh" in loader_advice("libcudnn.so.9: cannot open shared object file")


def test_the_azr_of_another_project_says_whose_it_is(tmp_path: Path) -> None:
    """``cp -r`` of a project with its environment, which still leads to the old one: its runs would be taken."""
    copy = tmp_path / "azr2"
    (copy / "azr").mkdir(parents=True)
    (copy / "azr" / "start.py").touch()
    (copy / "scripts").mkdir()
    for name in ("_command.py", "control.py"):
        shutil.copy(ROOT / "scripts" / name, copy / "scripts" / name)
    own = [ROOT / "scripts" / "control.py", "x", "status"]
    assert "this is the azr of" not in command(*own, cwd=tmp_path).stderr
    for words, cwd in ((own, copy), ([copy / "scripts" / "control.py", "x", "status"], tmp_path)):
        done = command(*words, cwd=cwd)
        assert done.stderr.startswith(
            f"control: this is the azr of {ROOT}, and its runs are there, not in {copy}; "
        )
        assert f"bash {copy}/scripts/setup.sh" in done.stderr


def test_an_azr_without_its_project_says_how_to_install_it(tmp_path: Path) -> None:
    """``pip install .`` copies the modules alone; each command then told to restore one file of many."""
    shutil.copytree(ROOT / "azr", tmp_path / "site" / "azr", ignore=shutil.ignore_patterns("__pycache__"))
    for words in (["run", "name=x"], ["doctor"], ["sandbox-suite"]):
        done = command("-m", "azr", *words, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
        assert done.returncode == 1 and "installed without the files of its project" in done.stderr
        assert "-e" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("stdout", ["ascii", "utf-8"])
def test_an_ascii_locale_reads_every_name(tmp_path: Path, stdout: str) -> None:
    place = tmp_path / "Läufe"
    place.mkdir()
    posix = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": stdout}
    words = ["-m", "azr", "run", "--cfg", "job", "recipe=cpu_tiny", "name=Größe", "runs_dir=ü"]
    done = command(*words, cwd=place, **posix)
    assert done.returncode == 0, done.stderr
    assert ("name: Größe" if stdout == "utf-8" else "name: Gr??e") in done.stdout


def test_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for words in (["run", "recipe=cpu_tiny"], ["report", "x"], ["doctor", "--quick"]):
        assert run_command(words[0], words[1:]) == 2
        assert "cd to another one" in capsys.readouterr().err


def test_an_image_without_lscpu_is_told_what_the_engine_lacks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two starts of the trainer, then that a command returned non-zero exit status 127; 1 in a chroot without /sys."""
    monkeypatch.setattr(imports, "engine_build", lambda: "cpu")
    imports.require_engine("cpu")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"no lscpu.*util-linux"):
        imports.require_engine("cpu")
    (tmp_path / "lscpu").write_text(
        "#!/bin/sh\necho 'lscpu: failed: /sys/devices: No such file' >&2; exit 1\n"
    )
    (tmp_path / "lscpu").chmod(0o755)
    with pytest.raises(ConfigError, match=r"^lscpu: failed: .*mount -t sysfs none /sys$"):
        imports.require_engine("cpu")


def test_a_processor_without_the_engines_instructions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old laptop, or the kvm64 that Proxmox shows: the trainer's workers died by SIGILL, at two starts."""
    monkeypatch.setattr(imports, "engine_build", lambda: "cpu")
    monkeypatch.setattr(imports.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(imports, "cpu_flags", lambda: frozenset({"fpu", "sse4_2", "avx"}))
    with pytest.raises(ConfigError, match=r"no AVX2.*`host`"):
        imports.require_engine("cpu")
    monkeypatch.setattr(imports, "cpu_flags", frozenset)  # /proc/cpuinfo does not say
    imports.require_engine("cpu")
    monkeypatch.setattr(imports.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(imports, "cpu_flags", lambda: frozenset({"fp", "asimd"}))
    imports.require_engine("cpu")
