"""Parts of sentences."""

from __future__ import annotations

from azr.wording import counted, first_line


def test_a_count_and_its_noun_agree() -> None:
    assert counted(1, "step") == "1 step"
    assert counted(0, "step") == "0 steps"
    assert counted(1200, "process", "processes") == "1,200 processes"


def test_an_error_is_told_in_one_line_and_never_in_none() -> None:
    assert first_line(ValueError("bad\nat line 2")) == "bad"
    assert first_line(OSError(2, "No such file", "x")) == "No such file"
    assert first_line(EOFError()) == "EOFError"
