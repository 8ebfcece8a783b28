"""Planted truths on the real engine: the bundled model and one that has lost its form and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from lost_form import ASKED, forget_the_form
from run_fixture import TINY

from azr.evaluate.evaluation import evaluate
from azr.evaluate.options import Options
from azr.evaluate.verdict import FORM, SAME

pytestmark = pytest.mark.slow


def test_form_that_was_lost_is_form_and_a_model_against_itself_is_no_difference(tmp_path: Path) -> None:
    lost, twin = tmp_path / "lost-form", tmp_path / "lost-form-twin"
    forget_the_form(lost)
    shutil.copytree(lost, twin)  # a model that is named twice is asked only once
    said: list[str] = []
    options = Options([f"probes={ASKED}"], tmp_path / "out", frame="compact", limit=120, dtype="float32")
    record = evaluate([str(lost), str(TINY), str(twin)], options, said.append)
    form, itself = record["verdicts"]

    assert form["word"] == FORM
    assert form["form"]["format"]["difference"] > 0.5, "the form came back"
    assert form["form"]["strict"]["difference"] > 0.15
    assert abs(form["comparison"]["difference"]) < 0.1, "and no gain"
    assert (form["start"]["way"], form["trained"]["way"]) == ("frame, lenient", "frame, strict")
    assert any("probes: form only" in line for line in said)

    assert itself["word"] == SAME
    assert (itself["comparison"]["difference"], itself["comparison"]["p_value"]) == (0, 1)


def test_a_model_that_native_prompts_do_not_fit_is_not_asked_natively(tmp_path: Path) -> None:
    """The bundled model's context is too small; the table says so instead of a score of 0."""
    said: list[str] = []
    options = Options(["humaneval"], tmp_path / "out", frame="compact", limit=4, dtype="float32")
    record = evaluate([str(TINY)], options, said.append)
    assert [scores["style"] for scores in record["results"]] == ["frame"]
    assert any(
        "humaneval, " in line and "native: not asked: native prompts and answers need" in line
        for line in said
    )
