"""kill -9 at random points of the driver, the trainer, or both: nothing lost, nothing twice, no orphan.

Two kinds of points: the n-th change of the file system (exact, before or after the call), and a moment in
time. After each kill the same command is started again, until the run is done; then everything on disk is
checked against everything else.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from fake_campaign import Driver, command_trainer, fast_config
from fake_trainer import shard_ids

from azr.campaign.incidents import read_incidents
from azr.campaign.state import State, load_state, read_state_file
from azr.errors import RunError
from azr.run.checkpoints import checkpoint_problems, list_checkpoints
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.files import read_json, read_jsonl
from azr.system.processes import processes_with_marker

CYCLES, STEPS = 3, 4
CONFIG = fast_config(
    cycles=CYCLES, steps_per_cycle=STEPS, max_restarts=1000, max_restarts_without_progress=100, sample_s=0.5
)
KILLS_IN_A_RUN = 20
SHORT = fast_config(cycles=2, steps_per_cycle=1, sample_s=100)


def state_now(run: RunDir) -> str:
    with contextlib.suppress(RunError, FileNotFoundError):
        return read_state_file(run.state).state.value
    return "START"


def kill_everything(run: RunDir, driver: Driver) -> None:
    """A power cut: driver, trainer and all they started at once."""
    state, _ = load_state(run)
    driver.kill()
    for process in processes_with_marker(f"{state.run_id}/") if state else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def one_kill(run: RunDir, dice: random.Random) -> str | None:
    """Starts the driver, kills something at a random point. Returns the state it struck in; None when the run
    got done instead."""
    kind = dice.choices(["driver change", "trainer change", "driver moment", "power cut"], [50, 25, 15, 10])[
        0
    ]
    if kind == "trainer change":
        (run.root / "kill-trainer-at").write_text(str(dice.randint(1, 60)))
        driver = Driver(run, CONFIG)
        while (run.root / "kill-trainer-at").exists() and driver.poll() is None:
            time.sleep(0.005)
        # the trainer dies on its way; the driver carries on, then dies, too
        time.sleep(dice.uniform(0, 0.25))
        struck = state_now(run)
        driver.kill()
    elif kind == "driver change":
        driver = Driver(run, CONFIG, die_at=dice.randint(1, 120))
        driver.wait()
        struck = state_now(run)
    else:
        driver = Driver(run, CONFIG)
        time.sleep(dice.uniform(0, 0.4))
        struck = state_now(run)
        if kind == "power cut":
            kill_everything(run, driver)
        else:
            driver.kill()
    (run.root / "kill-trainer-at").unlink(missing_ok=True)
    return struck if driver.status == -signal.SIGKILL else None


def check_everything(run: RunDir, cycles: int = CYCLES, steps: int = STEPS) -> None:
    state = read_state_file(run.state)
    assert state.state is State.DONE and state.driver is None and not state.attempt_open
    last = cycles * steps
    assert state.step == last

    # Every step counts once, in order, in the cycle it belongs to.
    records = read_metrics(run)
    assert [record.step for record in records] == list(range(1, last + 1))
    assert [record.cycle for record in records] == [(step - 1) // steps + 1 for step in range(1, last + 1)]

    # The newest checkpoint is whole, and its buffer holds each step's tasks once, from the attempt that
    # counts.
    newest = list_checkpoints(run)[-1]
    assert newest.step == last and not checkpoint_problems(newest.path)
    assert read_json(newest.path / "buffer.json") == [
        task for record in records for task in (f"s{record.step}.0", f"s{record.step}.a{record.attempt}")
    ]

    # Shards keep what every attempt accepted; all of it is in the pool, nothing twice, nothing from nowhere.
    pool = Counter(record["task_id"] for record in read_jsonl(run.pool_tasks, strict=True))
    accepted = {task for cycle in range(1, cycles + 1) for task in shard_ids(run, cycle)}
    assert set(pool) == accepted and set(pool.values()) == {1}
    for cycle in range(1, cycles + 1):
        for record in read_jsonl(run.shard(cycle)):
            assert record["lineage"]["cycle"] == cycle and record["lineage"]["attempt"] >= 1

    # Nothing is left: no process, no half-written file.
    assert not processes_with_marker(f"{state.run_id}/")
    debris = [
        path
        for path in run.root.rglob(".*")
        if path.name.startswith((".tmp-", ".trash-")) or path.suffix == ".tmp"
    ]
    assert not debris, debris


@pytest.mark.parametrize("kill_points", [40, pytest.param(160, marks=pytest.mark.slow)])
def test_kill_minus_nine_at_random_points(kill_points: int, tmp_path: Path) -> None:
    struck: Counter[str] = Counter()
    finished = told = 0
    number = 0
    while sum(struck.values()) < kill_points:
        number += 1
        run = RunDir(tmp_path / f"run{number}")
        command_trainer(run, step_s=0.002)
        dice = random.Random(1000 + number)
        kills = 0
        while kills < KILLS_IN_A_RUN:
            state = one_kill(run, dice)
            if state is None:
                break
            struck[state] += 1
            kills += 1
        assert Driver(run, CONFIG).wait() == 0, (run.root / "driver.log").read_text()[-3000:]
        check_everything(run)
        told += sum(incident.kind == "repair" for incident in read_incidents(run))
        finished += 1
    # Over all runs, since a single kill may find nothing to tell: before the first state, after the run was
    # closed, or between the state and the incident (open_campaign says why that sentence is lost).
    within = struck.total() - struck["START"] - struck["DONE"]
    assert told >= within / 2, (told, struck)
    # how often each is struck is chance: most are short, and the next test strikes at each of their renames
    expected = ("TRAIN",) if kill_points < 160 else ("START", "CONSOLIDATE", "TRAIN", "MERGE")
    assert min(struck[name] for name in expected) >= 1, struck
    print(f"{sum(struck.values())} kills in {finished} runs: {dict(struck)}")


def die_after_kind(run: RunDir, number: int) -> None:
    """SIGKILL after the first rename of the n-th kind: a file's name, and the state that is then on the disk."""
    rename, kinds = os.replace, set()

    def replace(source: Path, target: Path) -> None:
        rename(source, target)
        state, _ = load_state(run)
        kinds.add((Path(target).name, state and (state.state, state.attempt_open)))
        if len(kinds) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_kill_minus_nine_after_the_renames_of_the_driver(every: bool, tmp_path: Path) -> None:
    """From the first rename to the last of a short campaign, each in a run of its own: every state that can
    be on disk. By default one of each kind, since most save the state again."""
    struck: Counter[str] = Counter()
    spared = 0
    for number in range(1, 1000):
        run = RunDir(tmp_path / f"run{number}")
        command_trainer(run, step_s=0)
        if every:
            driver = Driver(run, SHORT, die_at=number, renames_only=True)
        else:
            driver = Driver(run, SHORT, before=partial(die_after_kind, run, number))
        if driver.wait() != -signal.SIGKILL:
            spared += 1
            if (
                spared == 3
            ):  # how often the state is saved depends on timing: a run may have a rename or two fewer
                break
            continue
        struck[state_now(run)] += 1
        assert Driver(run, SHORT).wait() == 0, (number, (run.root / "driver.log").read_text()[-3000:])
        check_everything(run, 2, 1)
        shutil.rmtree(run.root)
    assert (
        sum(struck.values()) >= (40 if every else 18)
        and min(struck[name] for name in ("CONSOLIDATE", "TRAIN", "MERGE")) >= 2
        and struck["DONE"] >= 1
    ), struck
    print(f"{sum(struck.values())} kills: {dict(struck)}")


@pytest.mark.parametrize("torn", ["state.json", "state.previous.json", "both"])
def test_damaged_state_is_replaced_and_nothing_is_lost(tmp_path: Path, torn: str) -> None:
    run = RunDir(tmp_path / "run")
    command_trainer(run, step_s=0.01)
    driver = Driver(run, CONFIG)
    while "TRAIN" not in state_now(run) or not list_checkpoints(run):
        time.sleep(0.005)
    driver.kill()
    for name in ["state.json", "state.previous.json"] if torn == "both" else [torn]:
        data = bytearray((run.root / name).read_bytes())
        data[len(data) // 2] ^= 4
        (run.root / name).write_bytes(data if torn == "state.json" else data[: len(data) // 2])
    assert Driver(run, CONFIG).wait() == 0, (run.root / "driver.log").read_text()
    state = read_state_file(run.state)
    assert state.state is State.DONE and state.step == CYCLES * STEPS
    if torn != "state.previous.json":
        assert any("checksum" in item.cause or "damaged" in item.cause for item in read_incidents(run))
