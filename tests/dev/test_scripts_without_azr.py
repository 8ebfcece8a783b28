"""scripts/dev/*.py in a Python for which azr or its packages are not installed, started from another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts" / "dev"
FROM_PYTHON_ALONE = {"hold_gpu_memory.py", "plain_humaneval.py", "repetition_study.py", "update_probe.py"}
"""What these need of azr needs no package."""
LIBRARIES = {"_project.py", "browser.py", "update_figures.py"}


def start(script: Path, cwd: Path, **variables: str) -> subprocess.Popen[str]:
    """In a Python without any package."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.Popen(
        [sys.executable, "-S", str(script), "--help"],
        cwd=cwd,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_script_says_which_package_is_missing(tmp_path: Path) -> None:
    """Each ended in a traceback."""
    started = {
        path.name: start(path, tmp_path, PYTHONPATH=str(ROOT)) for path in sorted(SCRIPTS.glob("*.py"))
    }
    said = {
        name: (process.communicate(timeout=60)[0], process.returncode) for name, process in started.items()
    }
    shown = {name for name, (text, status) in said.items() if not status and text.startswith("usage: ")}
    assert len(said) > 30 and shown >= FROM_PYTHON_ALONE
    for name in said.keys() - shown - LIBRARIES:
        text, status = said[name]
        assert status == 1 and text.startswith(f"{name}: the package ") and len(text.splitlines()) == 1, text


def test_a_script_says_that_azr_is_missing_or_another_clones(tmp_path: Path) -> None:
    clone = tmp_path / "scripts" / "dev"
    clone.mkdir(parents=True)
    for name in ("_project.py", "update_probe.py"):
        shutil.copy(SCRIPTS / name, clone)
    without, other = (start(clone / "update_probe.py", tmp_path, PYTHONPATH=path) for path in ("", str(ROOT)))
    text = without.communicate(timeout=60)[0]
    assert text.startswith("update_probe.py: azr is not installed for ") and len(text.splitlines()) == 1
    text = other.communicate(timeout=60)[0]
    assert (
        text.startswith(f"update_probe.py: this is the azr of {ROOT}; PYTHONPATH={tmp_path} takes")
        and "usage: " in text
    )
