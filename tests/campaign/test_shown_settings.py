"""``azr run --cfg job``, ``azr preflight`` and ``azr doctor`` of a run that has begun: they show a start, and say so where the run would
refuse it."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr.campaign.control import Control, request_control
from azr.campaign.identity_check import settle_identity
from azr.campaign.state import save_state
from azr.cli import run_command
from azr.config.load import load_config, write_config
from azr.run.records import CampaignState
from azr.run.rundir import RunDir
from azr.train import model_source

TINY = str(model_source.PROJECT / "data" / "models" / "azr-tiny")


@pytest.mark.parametrize(
    "words", [["run", "--cfg", "job"], ["preflight"], ["preflight", "--json"], ["doctor", "--quick"]]
)
def test_settings_that_a_run_does_not_keep_are_told(
    words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """They showed the model, seed and adapters of a new run, without a word."""
    place = [f"runs_dir={tmp_path}", "name=old", "recipe=cpu_tiny"]
    begun = [f"model.path={TINY}", "model.lora_rank=8", "seed=7"]
    run = RunDir(tmp_path / "old")
    run.root.mkdir()
    config = load_config([*place, *begun]).config
    settle_identity(run, config)
    write_config(run.config, config)

    run_command(words[0], [*words[1:], *place])
    told = "".join(capfd.readouterr())
    assert "would be refused" in told and "name=OTHER" in told
    assert "model.lora_rank: 8 at its start, 0 now" in told and "seed: 7 at its start" in told
    run_command(words[0], [*words[1:], *place, *begun])
    assert "would be refused" not in "".join(capfd.readouterr())


def test_a_budget_that_control_has_set_is_told_beside_the_configuration(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It showed campaign.hours alone, by which the run does not go."""
    place = [f"runs_dir={tmp_path}", "name=old", "recipe=cpu_tiny", "campaign.hours=5"]
    run = RunDir(tmp_path / "old")
    run.root.mkdir()

    def shown(*settings: str) -> str:
        assert run_command("run", ["--cfg", "job", *place, *settings]) == 0
        return capfd.readouterr().err

    assert "time budget" not in shown()
    write_config(run.config, load_config(place).config)
    save_state(run, CampaignState(hours=9.5))
    told = "The time budget of old is 9.5 h, set with `azr control`, not campaign.hours=5."
    assert told in shown()
    assert "time budget" not in shown("campaign.hours=6"), "another one than before replaces it"
    request_control(run, Control.BUDGET, hours=0)
    assert "old is without a limit" in shown("campaign.hours=6")


@pytest.mark.parametrize("kind", ["all", "hydra"])
def test_hydra_s_other_kinds_of_cfg_are_not_taken_for_a_run(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """``--cfg all`` was told to write name=all."""
    assert run_command("run", ["--cfg", kind]) == 2 == run_command("run", [f"--cfg={kind}"])
    told = capfd.readouterr().err
    assert told.count(f"--cfg {kind}: write --cfg job") == 2 and "name=" not in told
