"""Thoughts that collapse late in a run: noted once, with the checkpoint from before it, and the run goes on."""

from __future__ import annotations

import csv
import re
import shlex
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fake_campaign import Driver, command_trainer, fake_parts, fast_config
from rich.console import Console

from azr.campaign.incidents import read_incidents
from azr.campaign.judges import judge_health
from azr.campaign.parts import Advice, Judgement
from azr.campaign.retention import prune
from azr.campaign.sentences import say_the_end
from azr.campaign.stagnation import shrinkage
from azr.cli.export import _parser
from azr.config import Config
from azr.config.campaign import CampaignConfig
from azr.config.monitor import MonitorConfig
from azr.report.html import write_report
from azr.report.live import LiveView
from azr.report.screen import render
from azr.report.summary_reader import read_summary
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import MetricsRecord
from azr.run.records import SHRINKING, CampaignState, State
from azr.run.rundir import RunDir


def recorded(name: str) -> list[MetricsRecord]:
    """Lengths and accuracies of a run of docs/results.md (1.5B, ``selfplay.frame=cot``)."""
    with open(Path(__file__).parents[2] / "docs" / "real_weights_cot.csv") as file:
        rows = [row for row in csv.DictReader(file) if row.pop("run") == name]
    return [
        MetricsRecord(
            int(row.pop("step")), 1, 1, 0.0, {key: float(value) for key, value in row.items() if value}
        )
        for row in rows
    ]


def notes(records: list[MetricsRecord], config: Config) -> list[tuple[int, Judgement]]:
    """What is noted, with the step at which it is."""
    judged = [
        (item.step, judge_health(records[: index + 1], [], config)) for index, item in enumerate(records)
    ]
    return [(step, found) for step, found in judged if found.advice is not Advice.CONTINUE]


def test_the_recorded_collapse_is_noted_once_and_the_sound_run_not() -> None:
    config = Config()
    assert notes(recorded("cot-3"), config) == []
    (step, outputs), (later, inputs) = notes(recorded("cot-4"), config)
    assert (step, outputs.onset_step, later, inputs.onset_step) == (54, 50, 86, 83)
    assert (outputs.advice, outputs.verdict) == (Advice.NOTE, SHRINKING)
    assert outputs.sentence == "Answers of solve-deduction shrank from 171 to 76 tokens, from step 50 on."
    assert "solve-abduction shrank from 126 to 54" in inputs.sentence
    off = replace(config, monitor=MonitorConfig(thoughts_share=0.0))
    assert notes(recorded("cot-4"), off) == []


@pytest.mark.parametrize("other", ["solve-abduction", "solve-error"])
def test_streams_that_collapse_at_one_step_are_one_note(other: str) -> None:
    records = recorded("cot-4")
    for item in records:
        for what in ("response_tokens_mean", "accuracy"):
            item.values[f"{other}/{what}"] = item.values[f"solve-deduction/{what}"]
    [(step, note), *_] = notes(records, Config())
    assert step == 54 and "solve-deduction" in note.sentence and other in note.sentence


@pytest.mark.parametrize(
    ("tokens", "accuracy", "collapsed"),
    [
        ([200.0] * 60 + [60.0] * 3, [0.4] * 63, True),
        ([200.0] * 60 + [60.0] * 2, [0.4] * 62, False),  # a few odd steps
        ([200.0] * 20 + [60.0] * 10, [0.4] * 30, False),  # the start
        ([200.0] * 60 + [60.0] * 5, [0.02] * 60 + [0.4] * 5, False),  # it learned the form
        ([200 * 0.5 ** (step / 40) for step in range(160)], [0.4] * 160, False),  # slowly
        ([60.0] * 60 + [200.0] * 20, [0.4] * 80, False),
    ],
)
def test_what_a_collapse_is(tokens: list[float], accuracy: list[float], collapsed: bool) -> None:
    found = shrinkage(tokens, accuracy, MonitorConfig())
    assert (found is not None) is collapsed
    assert found is None or found.onset == 60


@pytest.mark.parametrize(("noise", "share", "noted"), [(0.7, 1.0, 0), (0.15, 0.3, 20), (0.25, 0.3, 20)])
def test_a_fall_must_exceed_the_noise_of_its_own_steps(noise: float, share: float, noted: int) -> None:
    """Medians of few answers halve by chance: 9 of the 20 level series were once noted."""
    rng, rules = np.random.default_rng(3), MonitorConfig()
    level = np.where(np.arange(70) < 60, 200, 200 * share)
    seen = 0
    for _ in range(20):
        tokens = (level * np.exp(rng.normal(0, noise, 70))).tolist()
        seen += any(shrinkage(tokens[:n], [0.4] * n, rules) for n in range(45, 71))
    assert seen == noted


def test_the_run_goes_on_and_keeps_the_checkpoint_from_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir(tmp_path / "run")
    command_trainer(run, step_s=0.02)

    def judge(records, samples, config) -> Judgement:
        if records[-1].step == 5:
            return Judgement(Advice.NOTE, SHRINKING, "Answers of solve-deduction shrank.", onset_step=4)
        return Judgement(Advice.CONTINUE, "healthy", "")

    assert Driver(run, fast_config(cycles=2, keep_last=2), fake_parts(judges=(judge,))).wait() == 0
    assert [item.step for item in list_checkpoints(run)] == [2, 6, 8]
    [incident] = [item for item in read_incidents(run) if item.kind == SHRINKING]
    assert incident.step == 5 and incident.details == {"kept_step": 2}
    for part in ("The run goes on", "--step 2 --out DIR`", "model.path=DIR", "seed_share", "selfplay.frame"):
        assert part in incident.action
    [export] = re.findall("`(.*export[^`]*)`", incident.action)
    words = shlex.split(export)
    parsed = _parser().parse_args(words[words.index(str(run.root)) :])
    assert (parsed.step, RunDir(parsed.run).root) == ("2", run.root)

    context = SimpleNamespace(run=run, state=CampaignState(), campaign=CampaignConfig())
    prune(context, 1)  # type: ignore[arg-type]
    assert [item.step for item in list_checkpoints(run)] == [2, 8]
    prune(context, 1, is_short=True)  # type: ignore[arg-type]
    assert [item.step for item in list_checkpoints(run)] == [8], "a full disk ends the run"

    say_the_end(run, CampaignState(state=State.DONE, step=8))
    assert f"{incident.cause} {incident.action}" in capsys.readouterr().out
    page = write_report(run.root).read_text()
    assert page.count("Answers of solve-deduction shrank.") > 1, "what to do next, and the log"
    console = Console(width=100, record=True, file=StringIO())
    console.print(render(read_summary(run.root), 100))
    assert (
        "Answers of solve-deduction shrank." in (screen := console.export_text())
        and "Step 2 is from" in screen
    )
    with LiveView(run.root, Config().report):
        pass
    assert "shrinking" in (shown := capsys.readouterr().out) and "--step 2" in shown
