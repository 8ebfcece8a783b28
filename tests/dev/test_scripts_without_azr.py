"""scripts/dev/*.py in a Python for which neither azr nor any package is installed, started from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "scripts" / "dev").glob("*.py"))
FROM_PYTHON_ALONE = {"hold_gpu_memory.py", "plain_humaneval.py", "repetition_study.py", "update_probe.py"}
"""What these need of azr needs no package."""


def test_a_script_finds_the_azr_of_its_clone_and_says_which_package_is_missing(tmp_path: Path) -> None:
    """Each ended in a traceback, or took the azr of another clone that the environment was made for."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    started = {
        path.name: subprocess.Popen(
            [sys.executable, "-S", str(path), "--help"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for path in SCRIPTS
    }
    said = {
        name: (process.communicate(timeout=60)[0], process.returncode) for name, process in started.items()
    }
    shown = {name for name, (text, status) in said.items() if not status and text.startswith("usage: ")}
    assert len(said) > 30 and shown >= FROM_PYTHON_ALONE
    for name in said.keys() - shown - {"_project.py", "browser.py", "update_figures.py"}:
        text, status = said[name]
        assert status == 1 and text.startswith(f"{name}: the package ") and len(text.splitlines()) == 1, text
