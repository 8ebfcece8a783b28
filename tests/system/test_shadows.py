"""Files of the user's that Python would import in place of a library."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from azr.doctor import checks as doctor
from azr.errors import ConfigError
from azr.system import imports, strays

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "project"
    for name in ("azr", "configs", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "azr_single_gpu_pipeline.py", folder)
    return folder


def start(*words: str | Path, cwd: Path, path: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "name",
    ["datasets.py", "tokenizers.py", "numpy/__init__.py", "yaml.py", "random.py", "typing.py", "json.py"],
)
def test_a_run_names_the_file_beside_it(clone: Path, name: str) -> None:
    file = clone / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("raise RuntimeError('imported')\n")
    try:
        done = start(clone / "azr_single_gpu_pipeline.py", "name=x", cwd=clone.parent, path="")
        listed = start(clone / "scripts" / "doctor.py", "--quick", cwd=clone.parent, path=str(clone))
    finally:
        shutil.rmtree(file.parent) if name.endswith("/__init__.py") else file.unlink()
    named = str(file.parent if name.endswith("/__init__.py") else file)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert named in done.stderr and "rename" in done.stderr
    assert named in listed.stdout + listed.stderr and "Traceback" not in listed.stderr


def test_a_folder_on_the_path_and_the_folder_of_the_command(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "datasets.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "queue.py").write_text("")
    for path in (
        f"{clone}{os.pathsep}{tmp_path}",
        f"{clone}{os.pathsep}",
    ):  # an empty entry is the folder of the command
        done = start(clone / "scripts" / "report.py", "runs/x", cwd=tmp_path, path=path)
        assert done.returncode == 2 and f"{tmp_path}/queue.py" in done.stderr
    (tmp_path / "queue.py").unlink()
    done = start(clone / "azr_single_gpu_pipeline.py", "name=x", cwd=tmp_path, path=str(tmp_path))
    assert done.returncode == 2 and f"{tmp_path}/datasets.py" in done.stderr and "PYTHONPATH" in done.stderr


def test_the_doctor_looks_where_the_trainer_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own path begins with scripts/, or with the environment's bin."""
    monkeypatch.setattr(imports, "PROJECT", str(tmp_path))
    (tmp_path / "src").mkdir()
    (tmp_path / "pandas.py").touch()
    (tmp_path / "src" / "ray.py").touch()
    monkeypatch.setenv("PYTHONPATH", "src")
    found = list(doctor.shadow_findings())
    assert [finding.seen.split(" (version")[0] for finding in found] == [
        f"pandas is imported from {tmp_path}/pandas.py",
        f"ray is imported from {tmp_path}/src/ray.py",
    ]
    assert found[0].fix.startswith(f"rename {tmp_path}/pandas.py")
    with pytest.raises(ConfigError, match=r"pandas\.py"):
        imports.require_no_shadows()


def test_what_hides_nothing_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "PROJECT", str(tmp_path))
    for name in (
        "test.py",
        "tests/__init__.py",
        "main.py",
        "utils.py",
        "datasets/tasks.jsonl",
        "json.txt",
        "azr.py",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert imports.all_shadows() == []
    imports.require_no_shadows()


def test_another_folder_with_the_same_version_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = imports.installed_version("numpy")
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("")
    (tmp_path / f"numpy-{installed}.dist-info").mkdir()
    metadata = tmp_path / f"numpy-{installed}.dist-info" / "METADATA"
    metadata.write_text(f"Name: numpy\nVersion: {installed}\n")
    monkeypatch.syspath_prepend(tmp_path)
    imports.require_no_shadows()
    metadata.write_text("Name: numpy\nVersion: 1.19.0\n")
    with pytest.raises(ConfigError, match=r"1\.19\.0"):
        imports.require_no_shadows()


def install(folder: Path, module: str, name: str, version: str) -> None:
    """As ``pip install --target`` leaves it."""
    (folder / module).mkdir(parents=True, exist_ok=True)
    (folder / module / "__init__.py").touch()
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "RECORD").write_text(f"{module}/__init__.py,,\n{metadata.name}/METADATA,,\n")


@pytest.mark.parametrize(
    ("module", "name", "version", "accepted"),
    [
        ("_yaml", "PyYAML", "6.1.99", True),  # its module has another name, and any 6 or later will do
        ("click", "click", "99.1", True),  # nothing is said about what packages need
        ("numpy", "numpy", "1.19.0", False),
        ("transformers", "transformers", "4.40.0", False),
        ("ray", "ray", "2.60.0", True),
        ("json", "json", "1.0", False),  # one of Python's own
    ],
)
def test_a_folder_of_installed_packages_on_the_path(
    module: str, name: str, version: str, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip install --target, modules of a cluster, ROS: refused only where the version will not do."""
    install(tmp_path, module, name, version)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(imports, "environment_folders", lambda: [tmp_path.parent / "environment"])
    install(tmp_path.parent / "environment", module, name, "0.0.1")
    found = [shadow for shadow in imports.all_shadows() if shadow.folder.parent == tmp_path]
    assert [shadow.module for shadow in found] == ([] if accepted else [module])


def test_packages_of_the_user_are_switched_off_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip install --user and an environment of conda, which looks there first."""
    monkeypatch.setattr(imports.site, "getusersitepackages", lambda: str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "peft").mkdir()
    (tmp_path / "peft" / "__init__.py").touch()
    assert "PYTHONNOUSERSITE=1" in next(iter(doctor.shadow_findings())).fix


def test_what_ray_puts_in_front_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(imports.environment_folders()[0] / "ray" / "thirdparty_files")
    assert imports.all_shadows() == []


def test_every_suffix_of_a_module(tmp_path: Path) -> None:
    for name in ("json.py", "csv.cpython-311-x86_64-linux-gnu.so", "ast.pyc", "bz2.txt", "cgi"):
        (tmp_path / name).touch()
    found = strays.strays_of(str(tmp_path), strays.python_modules())
    assert list(found) == ["ast", "csv", "json"]
