"""A run that is resumed with other settings says which, where its figures are read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import fake_campaign
import pytest
from fake_campaign import ROOT, Driver, Quiet, Report, command_trainer, fake_parts, fast_config, wait_for

from azr.campaign import supervise
from azr.campaign.context import Context
from azr.campaign.driver import _follow_steps_per_cycle
from azr.campaign.incidents import read_incidents
from azr.campaign.parts import Advice, Judgement
from azr.campaign.signals import StopSignals
from azr.campaign.state import State
from azr.config import Config
from azr.report.html import write_report
from azr.report.versions import read_versions, write_versions
from azr.run.asked_otherwise import asked_otherwise
from azr.run.checkpoints import best_checkpoint
from azr.run.protocol import read_heartbeat, read_metrics
from azr.run.records import CampaignState, JudgeVerdict, from_json, read_log
from azr.run.rundir import RunDir
from azr.system.files import read_json


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    command_trainer(run, step_s=0.01)
    return run


def told(run: RunDir) -> list[str]:
    return [item.sentence for item in read_incidents(run) if item.kind == "settings"]


def test_what_changes_the_figures_is_an_entry_of_the_log(run: RunDir) -> None:
    config = fast_config(cycles=1)
    assert Driver(run, config).wait() == 0
    longer = fast_config(cycles=2)
    assert Driver(run, longer).wait() == 0
    assert told(run) == [], "how long it trains is not what it does"
    other = replace(
        fast_config(cycles=3),
        train=replace(config.train, learning_rate=5e-6, probe_tasks=60),
        rollout=replace(config.rollout, max_response_tokens=4096),
        selfplay=replace(config.selfplay, strict_format=True),
        sandbox=replace(config.sandbox, nice=6, limits=replace(config.sandbox.limits, cpu_s=1.5)),
    )
    assert Driver(run, other).wait() == 0
    [sentence] = told(run)
    for part in (
        f"train.learning_rate {config.train.learning_rate} -> 5e-06",
        f"train.probe_tasks {config.train.probe_tasks} -> 60",
        f"rollout.max_response_tokens {config.rollout.max_response_tokens} -> 4096",
        "They hold from step 9 on.",
    ):
        assert part in sentence
    assert asked_otherwise(read_incidents(run)) == {
        (2, 1): "selfplay.strict_format False -> True, "
        f"rollout.max_response_tokens {config.rollout.max_response_tokens} -> 4096, "
        "sandbox.limits.cpu_s 2.0 -> 1.5"
    }, "answers are read otherwise, are longer, and their programs have less time"
    assert (
        "What you asked for" in (page := write_report(run.root).read_text()) and "train.probe_tasks" in page
    )
    assert Driver(run, other).wait() == 0
    assert len(told(run)) == 1, "told once"


def test_a_finished_run_that_a_service_starts_again_and_again_tells_an_update_once(run: RunDir) -> None:
    """Versions are compared with the latest attempt's, and it has none: each start added the same line to the report."""
    config = fast_config(cycles=1)
    assert Driver(run, config).wait() == 0
    write_versions(run.attempt(1, 1), {**read_versions(run.root), "verl": "0.0"})
    for _ in range(2):
        assert Driver(run, config).wait() == 0
    [sentence] = told(run)
    assert "verl 0.0 -> " in sentence


@pytest.mark.parametrize(
    ("section", "key", "expected"),
    [
        ("data", "extra_files", "Files of tasks are read when a cycle begins."),
        ("data", "probe_files", "The probes stay those"),
        ("selfplay", "task_types", "The probes stay those"),
    ],
)
def test_files_that_count_later_or_never_are_not_said_to_hold_from_the_next_step(run, section, key, expected):
    config = fast_config(cycles=1)
    assert Driver(run, config).wait() == 0
    other = replace(config, **{section: replace(getattr(config, section), **{key: ["deduction"]})})
    assert Driver(run, other).wait() == 0
    [sentence] = told(run)
    assert expected in sentence


def test_a_damaged_configuration_is_no_obstacle_and_hides_no_change(run: RunDir) -> None:
    config = fast_config(cycles=1)
    assert Driver(run, config).wait() == 0
    run.config.write_bytes(b"\0" * 100)
    faster = replace(fast_config(cycles=2), train=replace(config.train, learning_rate=5e-6))
    assert Driver(run, faster).wait() == 0
    [sentence] = told(run)
    assert f"train.learning_rate {config.train.learning_rate} -> 5e-06" in sentence, "the attempt has a copy"

    for path in run.root.rglob("config.yaml"):
        path.write_bytes(b"\0" * 100)
    assert Driver(run, replace(faster, campaign=fast_config(cycles=3).campaign)).wait() == 0
    assert "not known, because no earlier config.yaml can be read" in told(run)[1]


def test_prompts_that_were_edited_and_a_project_that_was_updated_are_told(
    run: RunDir, tmp_path: Path
) -> None:
    frame = shutil.copytree(ROOT / "azr" / "prompts" / "compact", tmp_path / "my_frame")

    def train(cycles: int) -> None:
        config = fast_config(cycles=cycles)
        config = replace(config, selfplay=replace(config.selfplay, frame=str(frame)))
        assert Driver(run, config).wait() == 0

    train(1)
    with open(frame / "solve_deduction.jinja", "a") as file:
        file.write("Think twice.")
    train(2)
    [sentence] = told(run)
    assert f"Changed since the latest start: frame {frame} " in sentence and "They hold from step" in sentence

    newest = max(run.root.glob("cycles/*/attempts/*/versions.json"))
    newest.write_text(json.dumps(json.loads(newest.read_text()) | {"verl": "0.1", "system": "Linux 2.6"}))
    train(3)
    assert "verl 0.1 -> " in told(run)[1] and "system" not in told(run)[1]

    for attempts in run.root.glob("cycles/*/attempts"):
        shutil.rmtree(attempts)
    train(4)
    assert "prompts and project not known, because no attempt's versions.json is left" in told(run)[2]


def test_prompts_that_are_edited_while_the_run_goes_on_count_from_the_next_trainer(
    run: RunDir, tmp_path: Path
) -> None:
    """``git pull``, or an edited frame, and a trainer that is started again: figures of two rules, and not a word."""
    frame = shutil.copytree(ROOT / "azr" / "prompts" / "compact", tmp_path / "short, plain")
    command_trainer(run, step_s=0.05, faults=[{"attempt": 1, "step": 3, "kind": "hang"}])
    config = fast_config(cycles=1)
    driver = Driver(run, replace(config, selfplay=replace(config.selfplay, frame=str(frame))))
    wait_for((run.root / "hangs").exists)
    with open(frame / "solve_deduction.jinja", "a") as file:
        file.write("Think twice.")
    os.kill(int((run.root / "hangs").read_text()), signal.SIGKILL)
    assert driver.wait() == 0
    [sentence] = told(run)
    assert f"Changed while the run went on: frame {frame} " in sentence and "from step 3 on" in sentence
    words = asked_otherwise(read_incidents(run))[1, 1]
    assert words.startswith(f"frame {frame} "), "scores before and after are not compared"


@pytest.mark.parametrize("stays", [True, False])
def test_prompts_that_are_edited_between_cycles_count_from_the_next_trainer(
    run: RunDir, tmp_path: Path, stays: bool
) -> None:
    """Not for a trainer that goes on, at whose cycle they were recorded; and of one that was replaced there was no word."""
    frame = shutil.copytree(ROOT / "azr" / "prompts" / "compact", tmp_path / "mine")

    def merge(run: RunDir, cycle: int, config: Config) -> Report:
        if cycle == 1:
            with open(frame / "solve_deduction.jinja", "a") as file:
                file.write("Think twice.")
            if not stays:
                beat = read_heartbeat(run)
                assert beat is not None
                os.kill(beat.pid, signal.SIGKILL)
        return fake_campaign.merge(run, cycle, config)

    def config(cycles: int) -> Config:
        plain = fast_config(cycles=cycles)
        return replace(plain, selfplay=replace(plain.selfplay, frame=str(frame)))

    assert Driver(run, config(2), fake_parts(merge=merge)).wait() == 0
    assert len(told(run)) == (0 if stays else 1)
    assert Driver(run, config(3)).wait() == 0
    [sentence] = told(run)
    since = "since the latest start" if stays else "while the run went on"
    assert f"Changed {since}: frame {frame} " in sentence and f"from step {9 if stays else 5} on" in sentence


def test_scores_of_other_answers_are_not_compared(run: RunDir) -> None:
    """A run that was resumed with shorter answers was rolled back as regressing, and its old best stayed the best."""

    def judge(records, samples, config) -> Judgement:
        return Judgement(Advice.CONTINUE, f"from step {records[0].step}", "")

    def train(config) -> CampaignState:
        assert Driver(run, config, fake_parts(judges=(judge,))).wait() == 0
        return from_json(CampaignState, read_json(run.state), run.state)

    config = fast_config(cycles=1)
    assert train(config).best_step == 4
    command_trainer(run, step_s=0.01, accuracy=0.001)
    assert train(replace(config, campaign=fast_config(cycles=2).campaign)).best_step == 4
    other = replace(fast_config(cycles=3), rollout=replace(config.rollout, max_response_tokens=4096))
    assert train(other).best_step == 12, "the latest of equals"
    assert [item.verdict for item in read_log(JudgeVerdict, run.verdicts)] == [
        "from step 1",
        "from step 1",
        "from step 9",
    ]
    changes = asked_otherwise(read_incidents(run))
    assert best_checkpoint([4, 8], read_metrics(run), "probe/all/accuracy", changes)[0] == 4, (
        "none was scored since"
    )


def test_a_checkpoint_whose_score_comes_in_between_two_looks_is_scored(run: RunDir) -> None:
    """It was passed over where its line had been read too early; the last one of a run for good."""

    def stay() -> None:
        look = supervise._AttemptWatch._take_records

        def slowly(self: supervise._AttemptWatch) -> None:
            look(self)
            time.sleep(0.3)

        supervise._AttemptWatch._take_records = slowly

    assert Driver(run, fast_config(cycles=1), before=stay).wait() == 0
    assert from_json(CampaignState, read_json(run.state), run.state).best_step == 4


@pytest.mark.parametrize(
    ("steps_per_cycle", "told"),
    [
        (2, "Cycle 1 ends with step 3, not 8: campaign.steps_per_cycle changed."),
        (3, "Cycle 1 ends with step 3, not 8: campaign.steps_per_cycle changed."),
        (5, "Cycle 1 trains to step 5 now, not 8: campaign.steps_per_cycle changed."),
    ],
)
def test_a_cycle_that_is_made_shorter_than_what_is_trained_ends_with_that(
    run: RunDir, steps_per_cycle: int, told: str
) -> None:
    """It was to train to step 2, with step 3 saved."""
    config = fast_config(steps_per_cycle=steps_per_cycle)
    state = CampaignState(state=State.TRAIN, first_step=1, last_step=8, step=3)
    ctx = Context(run, config, fake_parts(), state, StopSignals(), Quiet(), {})
    _follow_steps_per_cycle(ctx)
    assert ctx.state.sentence == told
