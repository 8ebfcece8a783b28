"""Counts in sentences."""

from __future__ import annotations

from azr.wording import counted


def test_a_count_and_its_noun_agree() -> None:
    assert counted(1, "step") == "1 step"
    assert counted(0, "step") == "0 steps"
    assert counted(1200, "process", "processes") == "1,200 processes"
