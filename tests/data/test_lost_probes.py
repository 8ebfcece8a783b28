"""A begun run whose frozen probes are gone: its scores are of those, so no others may come in their place."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from data_helpers import numbered, quiet, write_tasks

from azr.campaign import driver
from azr.config import Config
from azr.config.data import DataConfig
from azr.config.selfplay import SelfPlayConfig
from azr.data.consolidate import consolidate
from azr.data.frozen import CONSOLIDATION_FILE, frozen_hashes, probe_files_in
from azr.data.guard import settle_probes
from azr.data.sources import SHIPPED_PROBES
from azr.errors import DataError
from azr.evaluate.export import training_probes
from azr.evaluate.suites import build_suite
from azr.report.summary_reader import read_summary
from azr.run.rundir import RunDir
from azr.system.files import read_json, write_json_atomic

TINY = SHIPPED_PROBES.parents[1] / "models" / "azr-tiny"
GONE = r"mine\.jsonl is gone; copy the original back from a backup, or start a run of another name"
CHANGED = r"mine\.jsonl was changed .* copy the original back from a backup"
UNKNOWN = r"is gone, and nothing else says which tasks the run began with; copy the original back"


@dataclass(frozen=True)
class Begun:
    run: RunDir
    mine: Path
    data: DataConfig

    def resume(self, data: DataConfig | None = None) -> None:
        plain = Config()
        config = replace(plain, model=replace(plain.model, path=str(TINY)), data=data or self.data)
        driver.run_campaign(config, self.run.root)

    def evaluate(self) -> None:
        build_suite("probes", SelfPlayConfig(frame="compact"), run=self.run)

    def export(self) -> None:
        training_probes(self.run, Config(), TINY)

    def edit(self, file: Path) -> None:
        file.unlink()
        write_tasks(file, [numbered(5), numbered(6)])

    def forget(self) -> None:
        """As earlier versions left a run: the hashes stand in its probes folder alone."""
        report = self.run.cycle(1) / CONSOLIDATION_FILE
        write_json_atomic(report, {key: value for key, value in read_json(report).items() if key != "hashes"})


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Begun:
    monkeypatch.setattr(driver, "_run", lambda _: pytest.fail("resumed"))
    run, mine = RunDir(tmp_path / "run"), write_tasks(tmp_path / "mine.jsonl", [numbered(3), numbered(4)])
    data = quiet(probe_files=[str(mine)])
    consolidate(run, 1, data)
    write_json_atomic(run.first_verdict_scores, {"samples": 1, "scores": {"probe/mine/0": 1.0}})
    return Begun(run, mine, data)


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("named", ["mine", "shipped"])
def test_other_tasks_never_take_the_place_of_lost_probes(begun: Begun, named: str, earlier: bool) -> None:
    """They did, without a word, and the verdict paired their scores with the first ones: "It learned", p below 0.0001."""
    shutil.rmtree(begun.run.probes)
    begun.edit(begun.mine)
    if earlier:
        begun.forget()
    data = begun.data if named == "mine" else replace(begun.data, probe_files=["shipped"])
    for start in (begun.resume, lambda data: consolidate(begun.run, 2, data)):
        with pytest.raises(DataError, match=UNKNOWN if earlier else GONE):
            start(data)
    assert not begun.run.probes.exists()


@pytest.mark.parametrize("lost", ["all", "hashes.json", "mine.jsonl"])
def test_lost_probes_are_restored_from_the_same_file(begun: Begun, lost: str) -> None:
    before, hashes = begun.mine.read_bytes(), frozen_hashes(begun.run.probes)
    if lost == "all":
        shutil.rmtree(begun.run.probes)
    else:
        (begun.run.probes / lost).unlink()
    assert "gone, and restored as" in settle_probes(begun.run, begun.data)
    assert [file.read_bytes() for file in probe_files_in(begun.run.probes)] == [before]
    assert frozen_hashes(begun.run.probes) == hashes and not settle_probes(begun.run, begun.data)


def test_report_and_live_view_say_that_probes_are_gone_and_that_they_were_restored(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither said a word."""
    monkeypatch.setattr(driver, "_run", lambda _: 0)
    begun.run.metrics.touch()
    assert not read_summary(begun.run.root).problems
    shutil.rmtree(begun.run.probes)
    [told] = read_summary(begun.run.root).problems
    assert re.search(GONE, told)
    begun.resume()
    summary = read_summary(begun.run.root)
    assert not summary.problems and "gone, and restored as" in summary.incidents[-1].cause
    [line] = summary.faults
    assert line.kind == "repair"


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("lost", ["all", "mine.jsonl"])
def test_evaluations_and_exports_miss_lost_probes(begun: Begun, lost: str, earlier: bool) -> None:
    """An evaluation asked the shipped ones, and an export said that the run has none."""
    if earlier:
        begun.forget()
    if lost == "all":
        shutil.rmtree(begun.run.probes)
    else:
        (begun.run.probes / lost).unlink()
    for ask in (begun.evaluate, begun.export):
        with pytest.raises(DataError, match=UNKNOWN if earlier and lost == "all" else GONE):
            ask()
    assert not begun.run.lacks_probes


def test_an_edited_probe_is_not_asked_where_the_hashes_are_gone(begun: Begun) -> None:
    """It was, and an export then blamed the model for the other score."""
    (begun.run.probes / "hashes.json").unlink()
    begun.evaluate()  # its files are as recorded elsewhere
    begun.edit(begun.run.probes / "mine.jsonl")
    for ask in (begun.evaluate, begun.export, begun.resume):
        with pytest.raises(DataError, match=CHANGED):
            ask()


def test_an_earlier_run_without_hashes_is_evaluated_and_not_refilled(begun: Begun) -> None:
    """Whether its files are the same is not known: they are asked, but not replaced by a resume."""
    begun.forget()
    (begun.run.probes / "hashes.json").unlink()
    begun.evaluate()
    begun.export()
    with pytest.raises(DataError, match=r"hashes\.json " + UNKNOWN):
        begun.resume()
