"""Counts of tasks add up, on screen, in the reports and in the manifest: read = known + taken + left out by
reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from data_helpers import LONG, numbered, quiet, task, write_tasks

from azr.config.sandbox import Limits, SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.data.account import Account, news
from azr.data.build import PoolBuild
from azr.data.consolidate import consolidate, merge_shard
from azr.data.manifest import SourceEntry, read_manifest
from azr.run.rundir import RunDir
from azr.selfplay.game import SelfPlay
from azr.selfplay.seeding import Seeding
from azr.system.files import read_json, read_jsonl
from azr.tasks import Task

INDUCTION = {
    "snippet": "def f(x):\n    return x + 5",
    "inputs": ["1", "2"],
    "outputs": ["6", "7"],
    "message": "Adds.",
}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def mine(cycle: int, *numbers: int, attempt: int = 1) -> list[Task]:
    return [
        numbered(number, source="selfplay", cycle=cycle, step=number, attempt=attempt, accuracy=0.5)
        for number in numbers
    ]


def adds_up(account: Account) -> bool:
    return account.read == account.known + account.taken + sum(account.left_out.values())


def entries_add_up(entries: list[SourceEntry]) -> bool:
    return all(entry.tasks == entry.known + entry.taken + sum(entry.dropped.values()) for entry in entries)


def test_a_merge_counts_what_is_new_since_the_last_one(run: RunDir) -> None:
    consolidate(run, 1, quiet())
    write_tasks(run.shard(1), [*mine(1, 10, 11, 12), *mine(1, 12, attempt=2)])
    first = merge_shard(run, 1, quiet())
    assert first.new == Account(4, 0, 3, {"duplicate_exact": 1}) and first.judged == 0
    consolidate(run, 2, quiet())
    write_tasks(run.shard(2), [*mine(2, 20, 21), *mine(2, 21, attempt=2)], tail='{"torn')
    second = merge_shard(run, 2, quiet())
    assert second.new == Account(4, 0, 2, {"duplicate_exact": 1, "unreadable": 1}), (
        "the duplicate of cycle 1 is not counted again"
    )
    assert "4 read (of 8 in all shards, 4 were known already), 2 taken, 2 left out (" in second.sentence
    assert "pool 6 + 2 taken = 8 (x 1.33)" in second.sentence
    assert "\n  cycles/002/shard.jsonl, line 4: unreadable" in second.sentence
    assert read_json(run.cycle(2) / "merge.json")["new"]["read"] == 4


def test_a_better_copy_and_a_full_pool_are_named_in_the_sum(run: RunDir, tmp_path: Path) -> None:
    seeds = write_tasks(tmp_path / "seeds.jsonl", [numbered(index) for index in range(4)])
    config = quiet(seeds=str(seeds))
    consolidate(run, 1, config)
    # 0 was solved sometimes: better than the seed, which was never measured
    write_tasks(run.shard(1), mine(1, 0, 10, 11))
    report = merge_shard(run, 1, config)
    assert (report.before, report.new.taken, report.gone, report.after) == (4, 3, 1, 6)
    assert "pool 4 + 3 taken - 1 replaced or evicted = 6" in report.sentence
    consolidate(run, 2, config)
    write_tasks(run.shard(2), mine(2, 20, 21, 22))
    full = merge_shard(run, 2, quiet(seeds=str(seeds), max_tasks=5))
    assert full.before + full.new.taken - full.gone + full.back == full.after == 5 and full.gone > 0


def test_what_was_left_out_and_comes_back_is_named_in_the_sum(run: RunDir) -> None:
    """A copy of a copy: the middle one goes for a third, to which the first is not near enough."""
    consolidate(run, 1, quiet())
    middle = LONG.replace("% 3", "% 4").replace("total = n", "total = n + 1 + n")
    far = LONG.replace("total = n", "total = n + 1 + n + 2 * n + 3 + n").replace("% 3", "% 4")
    write_tasks(
        run.shard(1),
        [task(LONG, "[1], 1", "0", cycle=1, step=1), task(middle, "[1], 1", "0", cycle=1, step=2)],
    )
    config = quiet(near_similarity=0.93)
    first = merge_shard(run, 1, config)
    assert first.new == Account(2, 0, 1, {"duplicate_near": 1})
    consolidate(run, 2, config)
    write_tasks(run.shard(2), [task(far, "[1], 1", "0", cycle=2, step=1)])
    second = merge_shard(run, 2, config)
    assert (second.gone, second.back, second.new.taken) == (1, 1, 1)
    assert (
        second.after == second.before + 1
        and "pool 4 + 1 taken - 1 replaced or evicted + 1 back = 5" in second.sentence
    )


def test_a_second_cycle_reads_nothing_new_and_lists_no_copies_of_itself(run: RunDir, tmp_path: Path) -> None:
    probes = write_tasks(tmp_path / "probes.jsonl", [task(LONG, "[3, 4], 1", "(0, 1)")])
    seeds = write_tasks(
        tmp_path / "seeds.jsonl",
        [*(numbered(index) for index in range(4)), numbered(3), task(LONG, "[9], 9", "(0, 0)")],
    )
    config = quiet(seeds=str(seeds), probe_files=[str(probes)])
    first = consolidate(run, 1, config)
    assert first.new == Account(6, 0, 4, {"leaked_evaluation": 1, "duplicate_exact": 1})
    assert "leaked_evaluation: 1 too similar to a task in the probe" in first.sentence, (
        "the reason has an explanation"
    )
    write_tasks(run.shard(1), mine(1, 10, 11))
    merged = merge_shard(run, 1, config)
    second = consolidate(run, 2, config)
    assert second.new == Account(0, 0, 0, {}) and second.tasks == merged.after == 6
    assert ": nothing new read; pool 6 + 0 taken = 6, in " in second.sentence
    manifest = read_manifest(run)
    assert manifest.dropped == {"leaked_evaluation": 1, "duplicate_exact": 1}, "no task is a copy of itself"
    assert entries_add_up(manifest.sources) and manifest.tasks == sum(
        entry.taken for entry in manifest.sources
    )
    more = write_tasks(tmp_path / "more.jsonl", [numbered(30), numbered(31), numbered(2)])
    merge_shard(run, 2, config)
    third = consolidate(run, 3, quiet(seeds=str(seeds), probe_files=[str(probes)], extra_files=[str(more)]))
    assert third.new == Account(3, 0, 2, {"duplicate_exact": 1}) and third.tasks == 8


def test_a_task_of_two_places_is_counted_once(run: RunDir, tmp_path: Path) -> None:
    other = RunDir(tmp_path / "friday")
    found = mine(1, 10, 11, 12)
    write_tasks(other.shard(1), found)
    write_tasks(other.pool_tasks, found[:2])
    report = consolidate(run, 1, quiet(seeds="none", other_runs=[str(other.root)]))
    assert report.new == Account(read=5, known=2, taken=3, left_out={}) and adds_up(report.new)
    assert "5 read, 2 known already, 3 taken, none left out" in report.sentence
    assert not list(read_jsonl(run.pool / "rejected.jsonl"))


def test_own_files_have_lines_of_their_own(run: RunDir, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    rows = [numbered(1), {"snippet": "def f(x):\n    return x + 100", "input": "1", "output": "101"}]
    write_tasks(folder / "my_tasks.jsonl", rows, tail='{"snippet": "def f\n')
    write_tasks(folder / "empty.jsonl", [])
    (folder / "old.zip").write_bytes(b"PK")
    report = consolidate(run, 1, quiet(extra_files=[str(folder)]))
    first, *lines = report.sentence.split("\n")
    assert "7 read, 6 taken, 1 left out (1 unreadable)" in first, (
        "3 of the identity function, 3 and a torn line of mine"
    )
    assert lines == [
        "  identity.jsonl: 3 read (2 rows), 3 taken, none left out.",
        "  own/empty.jsonl: empty, no tasks in it.",
        "  own/my_tasks.jsonl: 4 read (3 rows), 3 taken, 1 left out (1 unreadable), see pool/rejected.jsonl.",
        "  own/my_tasks.jsonl, line 3: unreadable, no JSON: Invalid control character (character 19).",
        f"  {folder}: 1 other file in it were not read (old.zip)",
    ]


@pytest.mark.parametrize(
    ("row", "propose", "lacking"),
    [
        (
            numbered(1),
            True,
            [
                "no induction task to start from: the induction streams have the identity function alone, until"
            ],
        ),
        (
            numbered(1),
            False,
            ["no induction task to start from: the induction streams have the identity function alone. Give"],
        ),
        (INDUCTION, True, ["no abduction task to start", "no deduction task to start"]),
    ],
)
def test_a_task_type_that_own_files_have_none_of_is_named(
    run: RunDir, tmp_path: Path, row: Any, propose: bool, lacking: list[str]
) -> None:
    """All its rows went to the identity task, unsaid."""
    file = str(write_tasks(tmp_path / "mine.jsonl", [row]))
    play = SelfPlayConfig(train_propose=propose)
    report = consolidate(run, 1, quiet(seeds="none", extra_files=[file]), play=play)
    told = [line for line in report.lines if "to start from" in line]
    assert len(told) == len(lacking)
    assert all(line.startswith(words) for line, words in zip(told, lacking, strict=True))
    config = quiet(extra_files=[file])  # with data.seeds=identity
    assert "to start from" not in consolidate(RunDir(tmp_path / "other"), 1, config, play=play).sentence


def test_seeds_of_a_type_that_own_files_have_none_of_can_be_written_by_the_model() -> None:
    """What the line advises: data.seeds=identity beside own files."""
    play = SelfPlayConfig(batch_size=2, seed_factor=1, solve_group_size=1)
    game = SelfPlay(play, seed=1)
    for number in range(3):
        game.add_seed(numbered(number, source="user"))
    rows = Seeding(game).plan_round(lambda _: True)
    assert {row.stream.name for row in rows} == {"propose-induction"}


def test_many_bad_rows_do_not_fill_the_screen(run: RunDir, tmp_path: Path) -> None:
    bad = write_tasks(tmp_path / "bad.jsonl", [numbered(1), *[{"snippet": "def f(x): return x"}] * 30])
    sentence = consolidate(run, 1, quiet(extra_files=[str(bad)])).sentence
    assert (
        len(re.findall(r"bad\.jsonl, line \d+: schema", sentence)) == 3
        and "the rest in pool/rejected.jsonl (27 more rows)" in sentence
    )


def test_own_rows_that_do_not_hold_are_named_with_line_and_reason(run: RunDir, tmp_path: Path) -> None:
    """Only rows without a task had a place."""
    loop = {"snippet": "def f(x):\n    while x:\n        pass", "input": "1", "output": "2"}
    wrong = {"snippet": "def f(x):\n    return x - 5", "input": "9", "output": "2"}
    words = {"snippet": "def f(x):\n    raise ValueError('no\\n\\x1b[2J')", "input": "1", "output": "1"}
    broken = {"snippet": "def f(x:", "input": "1", "output": "1"}
    rows = [numbered(1), loop, numbered(1), wrong, words, broken]
    mine = write_tasks(tmp_path / "mine.jsonl", rows)
    sandbox = SandboxConfig(limits=Limits(cpu_s=0.1, wall_s=2))
    lines = consolidate(run, 1, quiet(extra_files=[str(mine)], reexecute="once"), sandbox).lines
    name = f"{tmp_path.name}/mine.jsonl"
    start = lines.index(
        f"{name}, line 2: execution_timeout, more than 0.1 s of CPU time (sandbox.limits.cpu_s)"
    )
    assert lines[start + 1] == f"{name}, line 4: output_mismatch, gives 4, the record says 2"
    assert lines[start + 2] == f"{name}, line 5: execution_failed, error: ValueError: no  [2J"
    assert lines[start + 3] == "the rest in pool/rejected.jsonl (1 more row)"
    found = {(record["source"], record["line"]) for record in read_jsonl(run.pool / "rejected.jsonl")}
    assert found == {(name, line) for line in (2, 3, 4, 5, 6)}, "a copy, which is no fault, has a line too"


def test_a_manifest_of_an_older_version_can_be_read(run: RunDir) -> None:
    """It has no counts by source; its hash is of the fields it has."""
    from azr.system.hashes import text_hash

    consolidate(run, 1, quiet())
    record = read_json(run.pool_manifest)
    for entry in record["sources"]:
        for name in ("known", "taken", "dropped"):
            del entry[name]
    del record["hash"]
    record["hash"] = text_hash(json.dumps(record, sort_keys=True, ensure_ascii=False))
    run.pool_manifest.write_text(json.dumps(record))
    assert read_manifest(run).tasks == 3


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("shape_cap", "only in names and constants; data.max_per_shape"),
        ("program_cap", "further inputs of programs that have enough of them; data.max_inputs_per_program"),
    ],
)
def test_why_most_of_a_file_of_one_template_is_left_out_is_explained(reason: str, told: str) -> None:
    """Of 6000 tasks of one template 155 were taken, and "shape_cap" said why; of 40,000, 30,670 were a "program_cap"."""
    entry = SourceEntry("mine.jsonl", "user", "x", 100, 100, taken=64, dropped={reason: 36})
    (line,) = [
        line
        for line in news([entry], PoolBuild([], [], [], [entry], []))
        if line.startswith(f"{reason}: 36 ")
    ]
    assert told in line
