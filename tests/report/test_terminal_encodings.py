"""Commands write on any terminal: characters that its encoding lacks become the nearest ASCII."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_run import write_synthetic_run

PROJECT = Path(__file__).resolve().parents[2]


def run(*command: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    settings = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONUTF8", "NO_COLOR", "PYTHONIOENCODING")
    }
    full = [sys.executable, *command]
    return subprocess.run(
        full, cwd=PROJECT, env={**settings, **environment}, capture_output=True, timeout=120, check=False
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_the_screen_on_a_terminal_without_unicode(tmp_path: Path, encoding: str) -> None:
    root = tmp_path / "Läufe" / "Wörld"
    write_synthetic_run(root, steps=30)
    environment = {"PYTHONIOENCODING": encoding, "FORCE_COLOR": "1", "COLUMNS": "80"}
    screen = run("scripts/watch.py", "--once", str(root), **environment)
    assert screen.returncode == 0, screen.stderr
    text = re.sub(r"\x1b\[[0-9;]*m", "", screen.stdout.decode(encoding))
    lines = text.splitlines()
    assert "step 30" in text and ("W?rld" if encoding == "ascii" else "Wörld") in text
    assert {len(line) for line in lines if line.strip()} == {80}, "columns stay where they are"
    plain = run("scripts/watch.py", "--once", str(root), PYTHONIOENCODING=encoding)
    assert plain.returncode == 0 and b"step 30" in plain.stdout


def test_a_console_that_says_it_has_no_columns(tmp_path: Path) -> None:
    """``COLUMNS=0`` left nothing on the screen."""
    write_synthetic_run(tmp_path / "x", steps=30)
    screen = run("scripts/watch.py", "--once", str(tmp_path / "x"), FORCE_COLOR="1", COLUMNS="0", LINES="0")
    assert screen.returncode == 0 and b"step 30" in screen.stdout


def test_the_c_locale(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "x", steps=30)
    done = run(
        "scripts/watch.py",
        "--once",
        str(tmp_path / "x"),
        LC_ALL="C",
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
        FORCE_COLOR="1",
    )
    assert done.returncode == 0, done.stderr


def test_a_file_name_that_no_encoding_has(tmp_path: Path) -> None:
    for command in (["scripts/watch.py", "--once"], ["scripts/report.py"]):
        done = run(*command, os.fsencode(tmp_path) + b"/\xff\xe4", PYTHONIOENCODING="ascii")
        assert done.returncode == 2 and b"/\\xff\\xe4" in done.stderr and b"Traceback" not in done.stderr
