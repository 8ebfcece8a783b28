"""Programs that run for a moment, and whose words are looked at. Needs Python alone, as what asks for the cards does."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any


def run_captured(command: Sequence[str], limit_s: float, **options: Any) -> subprocess.CompletedProcess[str]:
    """What a program says, and how it ends. It gets no input.

    Args:
        options: more ones of ``subprocess.run``.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took longer, and was ended.
    """
    said = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
    return subprocess.run(command, stdin=subprocess.DEVNULL, timeout=limit_s, check=False, **said, **options)


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of its errors; where it wrote none, its exit status."""
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
