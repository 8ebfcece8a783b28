"""CONSOLIDATE and MERGE: counts, replay, backups, what a crash or a damaged file leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from data_helpers import LONG, files_of, numbered, quiet, task, write_tasks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azr.config.data import DataConfig, Reexecute
from azr.config.sandbox import Limits, SandboxConfig
from azr.data import phases
from azr.data.account import Account
from azr.data.behaviour import BehaviourStore
from azr.data.build import build_pool, cap_pool
from azr.data.consolidate import consolidate, merge_shard
from azr.data.frozen import probe_files_in
from azr.data.guard import check_evaluation_files
from azr.data.manifest import load_pool, read_manifest
from azr.data.phases import with_lines
from azr.data.reexecute import RerunStore
from azr.data.sources import Kind, TaskSource
from azr.errors import DataError
from azr.run.rundir import RunDir
from azr.system.files import read_json, read_jsonl
from azr.tasks import TaskType


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def test_long_checks_say_how_far_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There was a bar for a terminal, which a run's live screen has: of 20,000 rows nothing was seen for a minute."""
    assert list(with_lines(range(3), "duplicates", 3)) == [0, 1, 2]
    assert not capsys.readouterr().err
    monkeypatch.setattr(phases, "FIRST_LINE_S", 0.0)
    assert list(with_lines(range(3), "duplicates", 3)) == [0, 1, 2]
    assert capsys.readouterr().err.startswith("  duplicates: 1 of 3 tasks after 0 s\n")


def test_a_cycle_grows_the_pool_and_says_by_how_much(run: RunDir) -> None:
    report = consolidate(run, 1, quiet())
    assert report.by_type == {"abduction": 1, "deduction": 1, "induction": 1}
    shard = [numbered(index, source="selfplay", cycle=1, step=index, attempt=1) for index in range(5)]
    again = numbered(3, source="selfplay", cycle=1, step=3, attempt=2)  # a later attempt found it again
    write_tasks(run.shard(1), [*shard, again], tail='{"snippet": "def f')
    merged = merge_shard(run, 1, quiet())
    assert (merged.before, merged.after) == (3, 8)
    assert merged.growth == pytest.approx(8 / 3)
    assert merged.new == Account(read=7, known=0, taken=5, left_out={"unreadable": 1, "duplicate_exact": 1})
    assert {item.lineage.attempt for item in load_pool(run) if item.lineage.source == "selfplay"} == {1, 2}
    assert [record["task_id"] for record in read_jsonl(run.pool_tasks)] == [
        item.task_id for item in load_pool(run)
    ]


def test_every_row_is_kept_or_rejected_with_a_reason(run: RunDir, tmp_path: Path) -> None:
    rows = [
        numbered(1),
        {"snippet": "def f(x): return x", "inputs": ["1"], "outputs": ["1", "2"]},
        {"snippet": "def f(x): return x", "input": [5], "output": "5"},
        {"snippet": "def g(x): return x", "input": "5", "output": "5"},
        {"snippet": "def f(x):\n return (", "input": "5", "output": "5", "task_type": "deduction"},
        {"snippet": "def f(x): return x" + "#" * 9000, "input": "5", "output": "5"},
        {"snippet": "def f(x): return object()", "input": "5", "output": "<object object at 0x7f>"},
        {"snippet": "def f(x): return x", "input": "5", "output": "5", "lineage": {"accuracy": "high"}},
        {"snippet": "def f(x): return x", "input": "5", "output": "5", "lineage": {"unknown": 1}},
    ]
    mine = write_tasks(tmp_path / "mine.jsonl", rows, tail="[1, 2]\n")
    report = consolidate(run, 1, quiet(seeds="none", extra_files=[str(mine)]))
    assert report.tasks == 1
    assert report.new == Account(
        read=10, known=0, taken=1, left_out={"schema": 5, "not_python": 2, "too_large": 1, "unreadable": 1}
    )
    rejected = list(read_jsonl(run.pool / "rejected.jsonl"))
    assert sorted(item["line"] for item in rejected) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert all(item["reason"] and item["detail"] for item in rejected)


def test_the_tasks_that_the_documentation_shows_are_taken(run: RunDir, tmp_path: Path) -> None:
    """Executed, and compared with the shipped probes, as a user's are."""
    page = (Path(__file__).resolve().parents[2] / "docs/howto/own_tasks.md").read_text(encoding="utf-8")
    mine = tmp_path / "my_tasks.jsonl"
    mine.write_text(page.split("```json\n")[1].split("```")[0], encoding="utf-8")
    report = consolidate(run, 1, DataConfig(seeds=str(mine)))
    assert (report.tasks, report.new.left_out) == (2, {})


def test_published_seed_rows_become_two_tasks_and_keep_their_lineage(run: RunDir, tmp_path: Path) -> None:
    mine = write_tasks(
        tmp_path / "mine.jsonl",
        [{"snippet": "def f(x):\n    return [x]", "input": "1", "output": "[1,]", "imports": []}],
    )
    consolidate(run, 1, quiet(seeds="none", extra_files=[str(mine)]))
    pool = load_pool(run)
    assert {item.task_type for item in pool} == {TaskType.ABDUCTION, TaskType.DEDUCTION}
    assert {(item.output, item.lineage.source) for item in pool} == {("[1]", "user")}


def test_same_inputs_give_the_same_bytes(run: RunDir, tmp_path: Path) -> None:
    mine = write_tasks(tmp_path / "mine.jsonl", [numbered(index) for index in range(20)] + [numbered(3)])
    config = quiet(extra_files=[str(mine)])
    first = consolidate(run, 1, config)
    files = files_of(run)
    assert consolidate(run, 1, config).manifest_hash == first.manifest_hash
    assert files_of(run) == files


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_pool_depends_on_the_set_of_tasks_only(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    numbers = data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=12))
    variants = [
        lambda number: numbered(number, accuracy=0.5, cycle=1, step=number),
        lambda number: numbered(number),
        lambda number: task(
            f"def f(value):\n    # times\n    return value * {number} + {number % 7}", str(number), "0"
        ),
        lambda number: task(LONG.replace("% 3", f"% {number + 3}"), f"[1, {number}], 2", "0", cycle=2),
    ]
    tasks = [variants[data.draw(st.integers(0, 3))](number) for number in numbers]
    folder = tmp_path_factory.mktemp("property")
    config = quiet()

    def build(order: list, name: str) -> list[str]:
        source = TaskSource(Kind.USER, name, write_tasks(folder / f"{name}.jsonl", order))
        stores = {"reruns": RerunStore(folder / "v"), "behaviour": BehaviourStore(folder / "b")}
        result = build_pool([source], config, SandboxConfig(), evaluation=[], **stores)
        assert len(result.kept) + len(result.dropped) == len(order)
        return [json.dumps(item.to_json()) for item in result.kept]

    kept = build(tasks, "one")
    assert build(data.draw(st.permutations(tasks)), "two") == kept
    doubled = [json.loads(line) for line in kept]
    assert build([*tasks, *doubled], "three") == kept, "consolidating a pool into itself changes nothing"


def test_the_next_cycle_starts_from_what_was_merged_even_if_the_pool_is_lost(
    run: RunDir, tmp_path: Path
) -> None:
    mine = write_tasks(tmp_path / "mine.jsonl", [numbered(index) for index in range(4)])
    config = quiet(extra_files=[str(mine)])
    consolidate(run, 1, config)
    write_tasks(
        run.shard(1), [numbered(index, source="selfplay", cycle=1, step=1) for index in range(10, 14)]
    )
    merge_shard(run, 1, config)
    expected = run.pool_tasks.read_bytes()
    run.pool_tasks.write_bytes(b"garbage")
    mine.unlink()  # the user's disk is gone; its tasks are in the run
    report = consolidate(run, 2, config)
    assert report.missing
    assert run.pool_tasks.read_bytes() == expected == run.cycle_tasks(2).read_bytes()


def test_what_was_left_out_of_a_users_file_stays_listed(run: RunDir, tmp_path: Path) -> None:
    """A merge reads no user files, and a later consolidation may find them gone."""
    probes = write_tasks(tmp_path / "probes.jsonl", [numbered(3)])
    bad = {"snippet": "def f(x):\n    return x"}
    mine = write_tasks(tmp_path / "mine.jsonl", [numbered(1), numbered(1), numbered(3), bad], tail='{"snip')
    config = quiet(extra_files=[str(mine)], probe_files=[str(probes)])

    def listed(source: str) -> list[str]:
        rows = list(read_jsonl(run.pool / "rejected.jsonl"))
        assert all(row["source"] for row in rows)
        return sorted(row["reason"] for row in rows if row["source"] == source)

    own, expected = (
        f"{tmp_path.name}/mine.jsonl",
        ["duplicate_exact", "leaked_evaluation", "schema", "unreadable"],
    )
    consolidate(run, 1, config)
    assert listed(own) == expected
    for cycle in (1, 2):
        accepted = [
            numbered(33 + cycle, source="selfplay", cycle=cycle, step=1),
            numbered(3, source="selfplay", cycle=cycle, step=2),
        ]
        write_tasks(run.shard(cycle), accepted)
        for _ in range(2):  # killed and done again
            merge_shard(run, cycle, config)
            before = files_of(run)
        merge_shard(run, cycle, config)
        assert files_of(run) == before
        assert listed(own) == expected
        assert listed("cycles/001/shard.jsonl") == ["leaked_evaluation"]
        mine.unlink(missing_ok=True)
        assert consolidate(run, cycle + 1, config).missing
        assert listed(own) == expected
    write_tasks(mine, [numbered(1), bad])
    consolidate(run, 3, config)
    assert listed(own) == ["schema"], "the file as it is now"


def test_missing_files_stop_the_first_cycle(run: RunDir) -> None:
    with pytest.raises(DataError, match=r"data\.extra_files: .*nowhere\.jsonl does not exist"):
        consolidate(run, 1, quiet(extra_files=["nowhere.jsonl"]))
    with pytest.raises(DataError, match="cycle 1 must be consolidated"):
        merge_shard(run, 1, quiet())


def test_no_task_left_is_an_error_that_says_why(run: RunDir, tmp_path: Path) -> None:
    mine = write_tasks(tmp_path / "mine.jsonl", [{"snippet": "def f(x): return x", "input": "1"}])
    with pytest.raises(DataError, match="1 schema"):
        consolidate(run, 1, quiet(seeds="none", extra_files=[str(mine)]))
    assert len(list(read_jsonl(run.pool / "rejected.jsonl"))) == 1


def test_a_pool_that_does_not_match_its_manifest_is_not_loaded(run: RunDir) -> None:
    consolidate(run, 1, quiet())
    run.pool_tasks.write_bytes(run.pool_tasks.read_bytes()[:-10])
    with pytest.raises(DataError, match="does not match its manifest"):
        load_pool(run)
    manifest = read_json(run.pool_manifest)
    run.pool_manifest.write_text(json.dumps(manifest | {"tasks": 99}))
    with pytest.raises(DataError, match="changed by hand or damaged"):
        read_manifest(run)
    run.pool_manifest.unlink()
    with pytest.raises(DataError, match=r"left out when it was copied\. The next cycle builds it anew"):
        load_pool(run)


def test_edits_of_the_pool_are_not_lost_in_silence(run: RunDir) -> None:
    """It is built from its sources, so a task that somebody wrote into it would be gone."""
    consolidate(run, 1, quiet())
    edited = run.pool_tasks.read_bytes() + json.dumps(numbered(7).to_json()).encode() + b"\n"
    run.pool_tasks.write_bytes(edited)
    report = consolidate(run, 1, quiet())
    assert "tasks.jsonl was changed since it was written, and is built anew" in report.lines[0]
    assert (run.pool / "tasks.changed-001.jsonl").read_bytes() == edited
    assert report.tasks == 3 and "changed" not in " ".join(consolidate(run, 1, quiet()).lines)
    run.pool_tasks.write_bytes(b"")
    write_tasks(run.shard(1), [numbered(1, source="selfplay", cycle=1, step=1)])
    assert "pool/tasks.changed-002.jsonl" in merge_shard(run, 1, quiet()).lines[0]
    assert (run.pool / "tasks.changed-001.jsonl").read_bytes() == edited


def test_backups_are_kept_by_policy(run: RunDir) -> None:
    config = quiet(backups_kept=2)
    for cycle in range(1, 6):
        consolidate(run, cycle, config)
        write_tasks(run.shard(cycle), [numbered(cycle, source="selfplay", cycle=cycle, step=cycle)])
        merge_shard(run, cycle, config)
    backups = sorted((run.pool / "backups").iterdir())
    assert len(backups) == 2
    assert all(
        (folder / "tasks.jsonl").is_file() and (folder / "manifest.json").is_file() for folder in backups
    )
    assert [len(list(read_jsonl(folder / "tasks.jsonl"))) for folder in backups] == [6, 7]


def test_caps_keep_the_useful_ones_of_each_type() -> None:
    seeds = [numbered(index) for index in range(5)]
    mastered = [numbered(index, source="selfplay", cycle=2, accuracy=1.0) for index in range(10, 20)]
    useful = [numbered(index, source="selfplay", cycle=1, accuracy=0.5) for index in range(30, 40)]
    kept, dropped = cap_pool([*mastered, *useful, *seeds], 12)
    assert {item.task_id for item in kept} >= {item.task_id for item in seeds}
    assert all(item.lineage.accuracy != 1.0 for item in kept)
    assert len(kept) == 12 and len(dropped) == 13


def test_probes_are_frozen_and_their_tasks_stay_out(run: RunDir, tmp_path: Path) -> None:
    probe = task(LONG, "[3, 4], 1", "(0, 1)")
    probes = write_tasks(tmp_path / "probes.jsonl", [probe])
    renamed = LONG.replace("total", "amount").replace("seen", "table")
    mine = write_tasks(tmp_path / "mine.jsonl", [numbered(1), task(renamed, "[9], 9", "(0, 0)"), probe])
    config = quiet(seeds="none", extra_files=[str(mine)], probe_files=[str(probes)])
    report = consolidate(run, 1, config)
    assert report.new.left_out == {"leaked_evaluation": 2}
    copy = run.probes / "probes.jsonl"
    assert copy.read_bytes() == probes.read_bytes()
    assert copy.stat().st_mode & 0o222 == 0
    probes.unlink()  # a run that goes on has its own copy
    assert consolidate(run, 1, config).manifest_hash == report.manifest_hash
    copy.chmod(0o644)
    copy.write_text(copy.read_text() + "\n")
    with pytest.raises(DataError, match=r"probes\.jsonl was changed"):
        merge_shard(run, 1, config)


def test_files_split_by_rows_are_split_by_programs_and_the_same_command_goes_on(
    run: RunDir, tmp_path: Path
) -> None:
    """The probes of the failed start were frozen, so that no correction of the files helped."""
    train, test, other = (tmp_path / f"{name}.jsonl" for name in ("train", "test", "other"))
    write_tasks(train, [task(LONG, "[9], 9", "(0, 0)")])
    write_tasks(test, [task(LONG, "[3, 4], 1", "(0, 1)")])
    write_tasks(other, [numbered(4)])
    items = write_tasks(tmp_path / "items.jsonl", [{"code": LONG}])
    config = quiet(
        seeds="none", extra_files=[str(train)], probe_files=[str(test)], evaluation_files=[str(items)]
    )
    told = r"no usable task: 1 read, .*; rows of one program belong on one side: .* by programs, not by rows"
    with pytest.raises(DataError, match=told):
        consolidate(run, 1, replace(config, probe_files=[str(test), str(other)]))

    write_tasks(train, [task(LONG, "[9], 9", "(0, 0)"), numbered(5)])
    assert "by programs, not by rows" in consolidate(RunDir(tmp_path / "in part"), 1, config).sentence

    write_tasks(test, [numbered(1)])
    write_tasks(items, [{"code": numbered(2).code}])
    assert consolidate(run, 1, config).tasks == 2
    assert probe_files_in(run.probes) == list(run.probes.glob("*.jsonl")) == [run.probes / "test.jsonl"]
    write_tasks(test, [numbered(3)])  # from now on they stay, also where the pool is gone
    shutil.rmtree(run.pool)
    consolidate(run, 1, config)
    assert next(read_jsonl(run.probes / "test.jsonl"))["snippet"] == numbered(1).code


def test_evaluation_files_are_checked_around_each_cycle(run: RunDir, tmp_path: Path) -> None:
    items = write_tasks(
        tmp_path / "heldout.jsonl", [{"question": "?", "solution": {"text": f"```python\n{LONG}```"}}]
    )
    config = quiet(evaluation_files=[str(items)])
    consolidate(run, 1, config)
    check_evaluation_files(run, config)
    items.write_text(items.read_text() + "{}\n")
    with pytest.raises(
        DataError, match=r"heldout\.jsonl was changed .* nothing may write into evaluation files"
    ):
        consolidate(run, 1, config)


def test_a_run_is_no_folder_of_data(run: RunDir, tmp_path: Path) -> None:
    """Its frozen probes were taken as tasks to train on, and its configurations as 2,516 rows without a task."""
    other = RunDir(tmp_path / "other")
    for file in (other.pool_tasks, other.shard(1), other.probes / "a.jsonl"):
        write_tasks(file, [numbered(3)])
    other.state.write_text("{}")
    told = rf"data\.extra_files: {other.root} is a run; data\.other_runs=\[{other.root}\] takes its tasks"
    with pytest.raises(DataError, match=told):
        consolidate(run, 1, quiet(extra_files=[str(other.root)]))
    with pytest.raises(DataError, match=rf"{other.root} is a run; its probes lie in {other.probes}"):
        consolidate(RunDir(tmp_path / "new"), 1, quiet(probe_files=[str(other.root)]))
    (tmp_path / "other.azr.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="an archive is unpacked first"):
        consolidate(run, 1, quiet(other_runs=[str(tmp_path / "other.azr.zip")]))


def test_other_runs_join_under_their_name(run: RunDir, tmp_path: Path) -> None:
    other = RunDir(tmp_path / "friday")
    write_tasks(other.shard(1), [numbered(index, source="selfplay", cycle=1, step=7) for index in range(3)])
    consolidate(run, 1, quiet(other_runs=[str(other.root)]))
    assert {item.lineage.source for item in load_pool(run)} == {"seed", "friday"}
    with pytest.raises(DataError, match="this run itself"):
        consolidate(run, 1, quiet(other_runs=[str(run.root)]))


def test_reexecution_finds_wrong_flaky_and_failing_tasks(run: RunDir, tmp_path: Path) -> None:
    rows = [
        task("def f(x):\n    return x + 1", "1", "2"),
        task("def f(x):\n    return x + 2", "1", "4"),
        task("def f(x):\n    return list({'a', 'b', 'c', str(x)})", "1", "['a']"),
        task("def f(x):\n    return x / 0", "1", "0"),
    ]
    mine = write_tasks(tmp_path / "mine.jsonl", rows)
    config = quiet(extra_files=[str(mine)], reexecute=Reexecute.ONCE)
    report = consolidate(run, 1, config)
    assert report.new.left_out == {"execution_failed": 1, "nondeterministic": 1, "output_mismatch": 1}
    told = [
        row["detail"]
        for row in read_jsonl(run.pool / "rejected.jsonl")
        if row["reason"] == "execution_failed"
    ]
    assert told == ["error: ZeroDivisionError: division by zero"], "by its name: MemoryError has no words"
    verdicts = run.pool / "verdicts.jsonl"
    known = verdicts.read_bytes()
    assert consolidate(run, 1, config).manifest_hash == report.manifest_hash
    assert verdicts.read_bytes() == known, "remembered, not executed again"


def test_tasks_that_failed_within_other_limits_are_run_again(run: RunDir, tmp_path: Path) -> None:
    rows = [task(argument="2" * 30, output="2" * 29 + "3"), task(argument="1", output="2")]
    config = quiet(extra_files=[str(write_tasks(tmp_path / "mine.jsonl", rows))], reexecute=Reexecute.ONCE)
    small = SandboxConfig(limits=Limits(value_chars=16))
    assert consolidate(run, 1, config, small).new.left_out == {"execution_failed": 1}
    before = len(load_pool(run))
    merge_shard(run, 1, config, small)
    consolidate(run, 2, config)
    assert len(load_pool(run)) == before + 1, "a raised limit changed nothing: the failure was remembered"


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from data_helpers import quiet
from azr.data.consolidate import consolidate, merge_shard
from azr.run.rundir import RunDir
run, config = RunDir(Path({run!r})), quiet(extra_files=[{mine!r}])
print("ready", flush=True)
consolidate(run, 1, config)
print("consolidated", flush=True)
merge_shard(run, 1, config)
"""


def test_killed_at_any_time_and_started_again_gives_the_same_files(tmp_path: Path) -> None:
    mine = write_tasks(tmp_path / "mine.jsonl", [numbered(index) for index in range(150)])
    shard = [numbered(index, source="selfplay", cycle=1, step=1) for index in range(100, 250)]

    def prepare(name: str) -> RunDir:
        run = RunDir(tmp_path / name)
        write_tasks(run.shard(1), shard, tail='{"torn')
        return run

    whole = prepare("whole")
    config = quiet(extra_files=[str(mine)])
    consolidate(whole, 1, config)
    merge_shard(whole, 1, config)
    expected = files_of(whole)
    tests = str(Path(__file__).parent)
    for index, delay_s in enumerate((0.0, 0.05, 0.12, 0.2, 0.3, 0.45)):
        run = prepare(f"killed{index}")
        script = KILLED.format(tests=tests, run=str(run.root), mine=str(mine))
        with subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(delay_s)
            os.kill(process.pid, signal.SIGKILL)
            consolidated = b"consolidated" in process.stdout.read()
        assert process.returncode in (-signal.SIGKILL, 0), "it failed by itself"
        if not consolidated:  # the driver replays the state it was in
            consolidate(run, 1, config)
        merge_shard(run, 1, config)
        assert files_of(run) == expected
