"""What a message tells a user to type is what works where the user is."""

from __future__ import annotations

import sys

import pytest

from azr.commands import command


@pytest.mark.parametrize(
    ("started", "told"),
    [
        ("/home/me/.venv/bin/azr", "azr export"),  # anywhere, where no scripts/ need be
        ("azr_single_gpu_pipeline.py", "python scripts/export.py"),
        ("scripts/report.py", "python scripts/export.py"),
    ],
)
def test_a_command_is_named_as_this_one_was_called(monkeypatch, started, told):
    monkeypatch.setattr(sys, "argv", [started, "name=one"])
    assert command("export") == told
