"""The folder of the latest cycle, deleted by hand: a run goes on from its pool, and says so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fake_campaign import Driver, command_trainer, fake_parts, fast_config, wait_for

from azr.campaign.incidents import read_incidents
from azr.campaign.lost_files import settle_lost_cycle
from azr.campaign.parts import default_parts
from azr.config.data import DataConfig, Reexecute
from azr.data.frozen import CONSOLIDATION_FILE
from azr.run.protocol import read_metrics
from azr.run.records import CampaignState, State
from azr.run.rundir import RunDir
from azr.system.files import file_hash, write_json_atomic

SEEDS = Path(__file__).resolve().parents[2] / "data" / "seeds" / "azr_tiny.jsonl"
DATA = DataConfig(
    probe_files=[], reexecute=Reexecute.NEVER, behavioural_duplicates=False, near_duplicates=False
)


def start(run: RunDir, cycles: int) -> Driver:
    """With the real data steps."""
    real = default_parts()
    parts = fake_parts(consolidate=real.consolidate, merge=real.merge)
    data = replace(DATA, seeds=str(run.root.parent / "seeds.jsonl"))
    return Driver(
        run,
        replace(fast_config(cycles=cycles, heartbeat_timeout_s=1e6, orphan_grace_s=0.2), data=data),
        parts,
    )


def train(run: RunDir, cycles: int) -> int:
    return start(run, cycles).wait()


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    command_trainer(run)
    few = SEEDS.read_text(encoding="utf-8").splitlines(keepends=True)[:20]
    (tmp_path / "seeds.jsonl").write_text("".join(few), encoding="utf-8")
    return run


def repairs(run: RunDir) -> str:
    return " ".join(item.cause for item in read_incidents(run) if item.kind == "repair")


def test_a_further_cycle_begins_from_the_pool(run: RunDir) -> None:
    assert train(run, 2) == 0
    shutil.rmtree(run.cycle(2))
    before = run.pool_tasks.read_bytes()
    assert train(run, 3) == 0
    assert f"{run.cycle_tasks(2)}, which cycle 2 started from, was gone, and is the pool's tasks" in repairs(
        run
    )
    assert "lost" not in repairs(run), "all of it had been merged"
    assert [record.step for record in read_metrics(run)] == list(range(1, 13))
    assert run.pool_tasks.read_bytes() == before


@pytest.mark.parametrize("step", [0, 7])
def test_a_cycle_goes_on_where_it_was(run: RunDir, step: int) -> None:
    """Its merge said that tasks.jsonl does not exist, at every further start."""
    command_trainer(run, faults=[{"kind": "hang", "cycle": 2, "step": step}])
    driver = start(run, 2)
    wait_for(lambda: (run.root / "hangs").exists())
    driver.kill()
    run.cycle(2).rename(run.root.with_name("removed"))  # at once: its processes may still be writing there
    command_trainer(run)
    assert train(run, 2) == 0
    assert "lost to the pool" in repairs(run)
    assert [record.step for record in read_metrics(run)] == list(range(1, 9))
    assert (run.cycle(2) / "merge.json").is_file()


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_without_the_pool_too_the_ways_out_are_named(run: RunDir, what: str) -> None:
    assert train(run, 1) == 0
    aside = run.cycle(1).rename(run.root / "aside")
    before = run.state.read_bytes()
    if what == "gone":
        shutil.rmtree(run.pool)
    else:
        run.pool_tasks.write_bytes(run.pool_tasks.read_bytes()[:1000])
    assert train(run, 2) == 71  # RunError, which the command prints
    log = (run.root / "driver.log").read_text()
    assert f"Put one of the two back (from a backup: {run.cycle(1)}, or {run.pool}" in log
    assert f"data.other_runs=[{run.root}]" in log and run.state.read_bytes() == before
    aside.rename(run.cycle(1))
    assert train(run, 2) == 0


def test_a_state_from_an_earlier_cycle_is_no_way_back(run: RunDir) -> None:
    """Put there by a sync client or a partial backup. The trainer refused every start ("asks for a later one"), or steps of a
    cycle were trained under the number of another."""
    command_trainer(run, step_s=0.0)
    assert Driver(run, fast_config(cycles=1, steps_per_cycle=2)).wait() == 0
    old = run.state.read_bytes()
    assert Driver(run, fast_config(cycles=3, steps_per_cycle=2)).wait() == 0
    run.state.write_bytes(old)
    assert Driver(run, fast_config(cycles=4, steps_per_cycle=2)).wait() == 0
    assert [(record.step, record.cycle) for record in read_metrics(run)] == [
        (n, (n + 1) // 2) for n in range(1, 9)
    ]
    told = "state.json is of cycle 1, and the run has begun cycle 3; its requests and checkpoints count."
    assert told in [incident.cause for incident in read_incidents(run)]


def test_what_a_cycle_started_from_is_restored_where_it_was_cut_short(tmp_path: Path) -> None:
    """Half a line ended the run at its merge; whole lines that were removed left the pool, as "replaced or evicted"."""
    run, state = RunDir(tmp_path), CampaignState(state=State.TRAIN, cycle=1)
    whole = b'{"a": 1}\n{"a": 2}\n'
    for file in (run.pool_tasks, run.cycle_tasks(1)):
        file.parent.mkdir(parents=True)
        file.write_bytes(whole)
    assert settle_lost_cycle(run, state) == [], "an earlier version wrote down no hash"
    write_json_atomic(run.cycle(1) / CONSOLIDATION_FILE, {"tasks_hash": file_hash(run.pool_tasks)})
    assert settle_lost_cycle(run, state) == []
    for damaged in (whole[:12], whole[:9], b"\0" * len(whole)):
        run.cycle_tasks(1).write_bytes(damaged)
        [told] = settle_lost_cycle(run, state)
        assert told.endswith("was changed or cut short, and was restored from the pool.")
        assert run.cycle_tasks(1).read_bytes() == whole
    run.cycle_tasks(1).write_bytes(whole[:9])
    run.pool_tasks.write_bytes(whole * 2)  # merged already
    [told] = settle_lost_cycle(run, state)
    assert "was changed since" in told and run.cycle_tasks(1).read_bytes() == whole[:9]
