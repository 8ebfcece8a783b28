"""A clone has the bytes that were committed, wherever it was made; scripts/setup.sh takes the set that fits
the card, from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
git_only = pytest.mark.skipif(
    shutil.which("git") is None or not (PROJECT / ".git").exists(), reason="no git checkout"
)
FAKE_PYTHON = f"""#!/bin/sh
case "$1" in
    -c) exec "{sys.executable}" "$@" ;;
    *) echo "$@" >>"$(dirname "$0")/../log"
       case "$*" in *--requirements*) exit "${{BREAKS_OFF:-0}}" ;; esac ;;
esac
"""


@git_only
def test_every_shipped_file_keeps_its_line_ends() -> None:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, check=True).stdout
    text = [
        name
        for name in files.split(b"\0")
        if name.endswith((b".sh", b".py", b".jsonl", b".json", b".yaml", b".txt", b".jinja", b".in"))
    ]
    assert len(text) > 100
    command = ["git", "check-attr", "--stdin", "-z", "text", "eol"]
    answer = subprocess.run(
        command, cwd=PROJECT, input=b"\0".join(text) + b"\0", capture_output=True, check=True
    ).stdout
    fields = answer.decode().split("\0")
    rules: dict[str, dict[str, str]] = {}
    for name, attribute, value in zip(fields[0::3], fields[1::3], fields[2::3], strict=False):
        rules.setdefault(name, {})[attribute] = value
    assert not [name for name, rule in rules.items() if rule["eol"] != "lf" and rule["text"] != "unset"]


@git_only
def test_a_clone_made_on_windows_has_the_same_bytes(tmp_path: Path) -> None:
    """Git for Windows sets core.autocrlf, which puts a carriage return before every line end unless
    .gitattributes says otherwise."""
    source, clone = tmp_path / "source", tmp_path / "clone"
    for name in (".gitattributes", "scripts/run.sh", "scripts/setup.sh", "data/seeds/manifest.json"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, source / name)
    seeds = next((PROJECT / "data" / "seeds").glob("*.jsonl"))
    shutil.copyfile(seeds, source / "data" / "seeds" / seeds.name)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    subprocess.run(
        ["git", "clone", "-q", "-c", "core.autocrlf=true", str(source), str(clone)],
        check=True,
        capture_output=True,
    )
    for file in (path for path in clone.rglob("*") if path.is_file() and ".git" not in path.parts):
        original = seeds if file.name == seeds.name else PROJECT / file.relative_to(clone)
        assert file.read_bytes() == original.read_bytes(), file.name


def setup(
    tmp_path: Path, cards: str | None, **environment: str
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Runs a copy of setup.sh in a folder with a blank; the interpreter of its environment only writes down
    what it would install."""
    project = tmp_path / "My Projects (x)" / "azr"
    tools = tmp_path / "bin"
    if not project.exists():
        shutil.copytree(PROJECT / "requirements", project / "requirements")
        shutil.copytree(PROJECT / "azr", project / "azr", ignore=shutil.ignore_patterns("__pycache__"))
        (project / "scripts").mkdir()
        for name in ("scripts/setup.sh", "pyproject.toml"):
            shutil.copyfile(PROJECT / name, project / name)
        (project / ".venv" / "bin").mkdir(parents=True)
        (project / ".venv" / "bin" / "python").write_text(FAKE_PYTHON)
        (project / ".venv" / "bin" / "python").chmod(0o755)
        tools.mkdir()
    if cards is not None:
        (tools / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '%b' '{cards}'\n")
        (tools / "nvidia-smi").chmod(0o755)
    answer = subprocess.run(
        ["bash", str(project / "scripts" / "setup.sh")], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )  # fmt: skip
    return answer, project / ".venv"


OLD = r"NVIDIA GeForce GTX 1080, 8192, 8000, 6.1, 580, GPU-1\n"
SMALL = r"NVIDIA GeForce RTX 3050, 4096, 4000, 8.6, 580, GPU-2\n"
GOOD = r"NVIDIA GeForce RTX 4090, 24564, 24000, 8.9, 580, GPU-3\n"


@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="this machine has cards of its own")
@pytest.mark.parametrize(
    ("cards", "environment", "expected"),
    [
        (None, {}, "cpu"), (OLD, {}, "cpu"), (SMALL, {}, "cpu"), (GOOD, {}, "gpu"), (OLD + GOOD, {}, "gpu"),
        (GOOD, {"CUDA_VISIBLE_DEVICES": ""}, "gpu"),  # what one run hides does not change the environment
        ("", {}, "gpu"),  # a driver whose cards cannot be read
        (OLD, {"AZR_SET": "gpu"}, "gpu"), (GOOD, {"AZR_SET": "cpu"}, "cpu"),
    ],
)  # fmt: skip
def test_the_set_follows_the_card(
    tmp_path: Path, cards: str | None, environment: dict[str, str], expected: str
) -> None:
    answer, venv = setup(tmp_path, cards, **environment)
    assert answer.returncode == 0, answer.stderr
    assert (venv / ".azr-requirements").read_text().split()[0] == expected
    log = (venv / "log").read_text()
    assert ("constraints-cpu.txt" in log) == (expected == "cpu")
    again, _ = setup(tmp_path, cards, **environment)
    assert again.returncode == 0 and (venv / "log").read_text() == log, "a second run installs nothing"


def test_another_system_is_told_before_anything_is_installed(tmp_path: Path) -> None:
    """Git Bash on Windows, or a Mac; pip would look for packages that there are none of."""
    (tmp_path / "uname").write_text("#!/bin/sh\necho MINGW64_NT-10.0\n")
    (tmp_path / "uname").chmod(0o755)
    answer, venv = setup(tmp_path, None, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert answer.returncode == 2 and "Linux is needed, and this is MINGW64_NT-10.0" in answer.stderr
    assert not (venv / "log").exists()


@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="this machine has cards of its own")
def test_the_other_engine_is_taken_out_before(tmp_path: Path) -> None:
    setup(tmp_path, GOOD, AZR_SET="cpu")
    _, venv = setup(tmp_path, GOOD, AZR_SET="gpu")
    assert "pip uninstall" in (venv / "log").read_text()


@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="this machine has cards of its own")
def test_an_installation_that_broke_off_is_made_again(tmp_path: Path) -> None:
    """The stamp of the set before said that all was there."""
    setup(tmp_path, GOOD, AZR_SET="cpu")
    broken, venv = setup(tmp_path, GOOD, AZR_SET="gpu", BREAKS_OFF="1")
    assert broken.returncode != 0
    log = (venv / "log").read_text()
    again, _ = setup(tmp_path, GOOD, AZR_SET="cpu")
    added = (venv / "log").read_text().removeprefix(log)
    assert again.returncode == 0 and "constraints-cpu.txt" in added
    assert "pip uninstall" in added, "nobody knows which engine's files are there"


@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="this machine has cards of its own")
def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path: Path) -> None:
    """An upgrade of the system takes the Python away; ``venv`` alone stops at the link that leads nowhere."""
    _, venv = setup(tmp_path, None)
    python = venv / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.10")
    (venv / "lib").mkdir()
    (venv / "lib" / "old").touch()
    offline = {"PIP_NO_INDEX": "1", "AZR_PYTHON": sys.executable}
    setup(tmp_path, None, **offline)  # which ends at the first package, without a network
    assert subprocess.run([python, "-c", ""], timeout=60, check=False).returncode == 0
    assert not (venv / "lib" / "old").exists()


def test_an_environment_of_another_python_is_refused(tmp_path: Path) -> None:
    """Made by hand, by uv or conda; there are no packages of the pinned versions for it."""
    _, venv = setup(tmp_path, None, AZR_SET="cpu")
    (venv / ".azr-requirements").unlink()
    log = (venv / "log").read_text()
    (venv / "bin" / "python").write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.13.0\nexit 1\n')
    answer, _ = setup(tmp_path, None, AZR_SET="cpu")
    assert answer.returncode == 1 and ".venv has Python 3.13.0, and 3.10" in answer.stderr
    assert (venv / "log").read_text() == log and not (venv / ".azr-requirements").exists()


def test_an_environment_without_pip_gets_it(tmp_path: Path) -> None:
    """``uv venv`` makes it so; each start ended at ``No module named pip``."""
    _, venv = setup(tmp_path, None)
    shutil.rmtree(venv)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=60)
    setup(tmp_path, None, PIP_NO_INDEX="1")  # which ends at the first package, without a network
    assert (
        subprocess.run(
            [venv / "bin" / "python", "-m", "pip", "--version"], timeout=60, check=False
        ).returncode
        == 0
    )


@pytest.mark.parametrize("shell", ["sh", "zsh", "bash", "dash"])
@pytest.mark.parametrize("through_a_link", [False, True])
def test_any_shell_and_any_link_starts_the_scripts(tmp_path: Path, shell: str, through_a_link: bool) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    setup(tmp_path, None)
    project = tmp_path / "My Projects (x)" / "azr"
    for name in ("scripts/run.sh", "azr_single_gpu_pipeline.py"):
        shutil.copyfile(PROJECT / name, project / name)
    script = project / "scripts" / "run.sh"
    if through_a_link:
        (tmp_path / "train").symlink_to(script)
        script = tmp_path / "train"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONHOME": "/nowhere",
        "CDPATH": ".:/",
    }
    done = subprocess.run(
        [shell, str(script), "name=x y"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = (project / ".venv" / "log").read_text().splitlines()[-1]
    assert last == f"{project}/azr_single_gpu_pipeline.py name=x y"
    assert "PYTHONHOME=/nowhere is set" in done.stderr


def test_an_environment_that_was_copied_with_its_project_becomes_its_own(tmp_path: Path) -> None:
    """Its ``activate`` names the old one, whose azr would then run."""
    _, venv = setup(tmp_path, None)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "old"], check=True, timeout=60)
    for name in ("activate", "activate.fish"):
        shutil.copy(tmp_path / "old" / "bin" / name, venv / "bin" / name)
    setup(tmp_path, None)
    assert "-m venv" not in (venv / "log").read_text().splitlines()[-1], "nothing has moved"
    (venv / ".azr-linked").write_text("/old/project x\n")
    setup(tmp_path, None)
    assert f"-m venv --without-pip {venv}" in (venv / "log").read_text()


def test_a_set_that_is_none(tmp_path: Path) -> None:
    answer, _ = setup(tmp_path, None, AZR_SET="tpu")
    assert answer.returncode == 1 and "AZR_SET is gpu or cpu, not tpu" in answer.stderr


def test_an_interpreter_with_a_blank_in_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "my python"
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    script = PROJECT / "scripts" / "setup.sh"
    code = f'eval "$(sed -n "/^azr_is_for/,/^}}/p; /^azr_find_python/,/^}}/p" "{script}")"; azr_find_python'
    environment = {**os.environ, "AZR_PYTHON": str(folder / "python")}
    answer = subprocess.run(
        ["bash", "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.strip() == str(folder / "python")


def test_a_pip_that_is_set_to_install_elsewhere_still_fills_the_environment(tmp_path: Path) -> None:
    """``PIP_USER`` (or ``user = true`` in pip.conf) ended it; with ``PIP_TARGET`` it went on without what it installed."""
    setup(tmp_path, None)
    venv = tmp_path / "My Projects (x)" / "azr" / ".venv"
    python = venv / "bin" / "python"
    python.write_text(
        FAKE_PYTHON.replace(
            "\n", '\necho "${PIP_USER-} ${PIP_TARGET-} ${PIP_PREFIX-} $*" >>"$(dirname "$0")/pip"\n', 1
        )
    )
    (venv / ".azr-requirements").unlink()
    answer, _ = setup(tmp_path, None, PIP_USER="1", PIP_TARGET="/elsewhere", PIP_PREFIX="/usr")
    assert answer.returncode == 0, answer.stderr
    installs = [
        line for line in (venv / "bin" / "pip").read_text().splitlines() if " -m pip install " in line
    ]
    assert len(installs) == 1 and installs[0].startswith("0   -m pip install")


def test_uv_sync_leaves_the_environment_alone() -> None:
    """It removed all packages: those of a run are not among the project's dependencies."""
    answer = subprocess.run(
        [sys.executable, "-m", "uv", "sync", "--dry-run"], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert answer.returncode != 0 and "marked as unmanaged" in answer.stderr
