"""A run whose starting model was trained, in an earlier run, on tasks that are its probes now."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from fake_campaign import ROOT, Driver, Quiet, command_trainer, fake_parts, fast_config

from azr.campaign.context import Context
from azr.campaign.driver import run_campaign
from azr.campaign.incidents import read_incidents
from azr.campaign.known_probes import tell_known_probes
from azr.campaign.signals import StopSignals
from azr.config import Config
from azr.data.guard import prepare_probes, probe_tasks
from azr.data.sources import SHIPPED_PROBES
from azr.errors import DataError
from azr.models.exported import record_programs
from azr.programs.canonical import program_fingerprint
from azr.run.identity import write_identity
from azr.run.records import KNOWN_PROBES, CampaignState
from azr.run.rundir import RunDir
from azr.system.files import write_jsonl_atomic
from azr.train.base_model import identify


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of a run from a model that run b exported, with five probe tasks."""
    model = tmp_path / "model"
    shutil.copytree(ROOT / "data" / "models" / "azr-tiny", model)
    (model / "azr.json").write_text(json.dumps({"run": "b", "step": 3, "base_model": "first"}))
    write_jsonl_atomic(tmp_path / "mine.jsonl", [task.to_json() for task in probe_tasks(SHIPPED_PROBES)[:5]])
    plain = fast_config(cycles=1)
    data = replace(plain.data, probe_files=[str(tmp_path / "mine.jsonl")])
    return replace(plain, model=replace(plain.model, path=str(model)), data=data)


def trained_on(config: Config, count: int, *missing: str) -> int:
    """Records that the model was trained on the first ``count`` tasks; how many of the five have one of their programs."""
    programs = [program_fingerprint(task.program) for task in probe_tasks(Path(config.data.probe_files[0]))]
    record_programs(Path(config.model.path), set(programs[:count]), missing)
    return sum(each in programs[:count] for each in programs)


def test_a_run_says_at_its_start_how_many_of_its_probes_its_model_was_trained_on(
    tmp_path: Path, config: Config
) -> None:
    """Only the guide warned of them. After a failed consolidation the probe files may be others, so nothing is said of these."""
    run, known = RunDir(tmp_path / "run"), trained_on(config, 2)
    command_trainer(run, step_s=0.01)
    prepare_probes(run, config.data)

    def leaked(*_: object) -> NoReturn:
        raise DataError("no usable task")

    assert run_campaign(config, run.root, replace(fake_parts(), consolidate=leaked)) == 1
    assert not any(item.kind == KNOWN_PROBES for item in read_incidents(run))
    assert Driver(run, config).wait() == 0
    told = [item.cause for item in read_incidents(run) if item.kind == KNOWN_PROBES]
    assert len(told) == 1
    assert told[0].startswith(
        f"{known} of 5 probe tasks have the program of a task that the model was trained"
    )
    assert "(run b), but for names and layout, so a score on them" in told[0]


def test_what_is_not_known_of_a_model_is_said_of_own_probes(tmp_path: Path, config: Config) -> None:
    run, said = RunDir(tmp_path / "run"), list[str]()
    prepare_probes(run, config.data)

    class Telling(Quiet):
        def say(self, text: str) -> None:
            said.append(text)

    def tell(config: Config, step: int = 0) -> list[str]:
        said.clear()
        ctx = Context(run, config, fake_parts(), CampaignState(step=step), StopSignals(), Telling(), {})
        tell_known_probes(ctx)
        return [*(item.cause for item in read_incidents(run)), *said]

    write_identity(run, identify(config), Path(config.model.path))
    [told] = tell(config)
    assert told.startswith(
        "The model comes out of the run b: whether it was trained there on tasks of data.probe"
    )
    assert tell(config, step=3) == [], "only before the first step"
    assert tell(replace(config, data=fast_config().data)) == [], "every run keeps the shipped ones out"

    trained_on(config, 0)
    write_identity(run, identify(config), Path(config.model.path))
    assert tell(config) == []
    trained_on(config, 1)
    write_identity(run, identify(config), Path(config.model.path))
    assert len(tell(config)) == len(tell(config)) == 1, "told once"
