"""On a card: the engine's int4 kernel and its packed base, in a process of their own with a time limit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("int4_engine.py")
LIMIT_S = 300


@pytest.mark.gpu
@pytest.mark.timeout(LIMIT_S + 60)
def test_the_engine_follows_a_packed_base_through_its_sleep(capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        status = subprocess.run(
            [sys.executable, str(SCRIPT), "--limit", str(LIMIT_S)], timeout=LIMIT_S + 30, check=False
        ).returncode
    assert status == 0, "see what was printed above"
