"""The tutorial's commands, run for real on the bundled tiny model, with fewer steps and another runs folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["campaign.cycles=1", "campaign.steps_per_cycle=2", "train.probe_every_steps=1", "train.save_every_steps=1"]


def tutorial_commands(runs: Path) -> list[list[str]]:
    """In the page's order: set-up is left to the caller, steps are few, runs/ becomes ``runs``."""
    commands = []
    for line in (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").splitlines():
        if not re.match(r"    (python|bash) ", line):
            continue
        words = [re.sub(r"^runs/", f"{runs}/", word) for word in shlex.split(line, comments=True)]
        if words[:2] == ["bash", "scripts/run.sh"]:
            words = ["python", "azr_single_gpu_pipeline.py", *words[2:]]
        if words[1] == "azr_single_gpu_pipeline.py" and "--cfg" not in words:
            words += [f"runs_dir={runs}", *SHORT]
        words = [str(runs / "comparison.html") if word == "comparison.html" else word for word in words]
        if words[1] == "scripts/watch.py":
            words.append("--once")
        if words not in commands:
            commands.append([sys.executable, *words[1:]])
    return commands


def test_the_tutorial_starts_watches_and_reports(tmp_path: Path) -> None:
    scripts = [words[1] for words in tutorial_commands(tmp_path)]
    assert scripts[0] == "azr_single_gpu_pipeline.py" and {"scripts/watch.py", "scripts/report.py", "scripts/preflight.py"} <= set(scripts)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_works(tmp_path: Path) -> None:
    for words in tutorial_commands(tmp_path):
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    page = (tmp_path / "default" / "report.html").read_text(encoding="utf-8")
    assert "finished" in page and "propose-abduction" in page
    assert (tmp_path / "comparison.html").exists()
