"""The exported tasks are those of the pool, and what self-play accepted since; never a task that was left out
as leaked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from data_helpers import LONG, numbered, quiet, task, write_tasks

from azr.cli import export
from azr.config import Config
from azr.config.data import DataConfig
from azr.config.load import write_config
from azr.data.consolidate import consolidate, merge_shard
from azr.data.manifest import load_pool
from azr.data.readers import read_rows
from azr.data.schema import Refused, tasks_of
from azr.errors import DataError, RunError
from azr.evaluate.task_export import export_tasks, run_tasks
from azr.run.rundir import RunDir
from azr.tasks import Lineage, Task, TaskType

PROJECT = Path(__file__).resolve().parents[2]
LEAK = LONG.replace("total", "amount").replace("seen", "table")


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    probes = write_tasks(tmp_path / "probes.jsonl", [task(LONG, "[3, 4], 1", "(0, 1)")])
    own = write_tasks(tmp_path / "own.jsonl", [numbered(1), numbered(2)])
    return quiet(probe_files=[str(probes)], extra_files=[str(own)])


@pytest.fixture
def run(tmp_path: Path, config: DataConfig) -> RunDir:
    run = RunDir(tmp_path / "run")
    consolidate(run, 1, config)
    write_config(run.config, Config(data=config))
    return run


def found(cycle: int, *numbers: int) -> list:
    by = {"source": "selfplay", "cycle": cycle, "model": "/home/me/models/tiny@3"}
    tasks = [numbered(number, step=number, **by) for number in numbers]
    return [*tasks, task(LEAK, f"[{cycle}], 9", "(0, 0)", source="selfplay", cycle=cycle, step=99)]


def test_the_export_is_the_pool_and_says_where_its_tasks_come_from(
    run: RunDir, config: DataConfig, tmp_path: Path
) -> None:
    write_tasks(run.shard(1), found(1, 10, 11))
    merge_shard(run, 1, config)
    sentence = export_tasks(run, tmp_path / "out")
    assert sentence == "7 tasks: the pool's 7 (3 seeds, 2 of your own files, 2 of self-play)"
    table = pandas.concat(
        pandas.read_parquet(file) for file in sorted((tmp_path / "out" / "data").glob("*.parquet"))
    )
    assert set(table["task_id"]) == {item.task_id for item in load_pool(run)}
    assert LEAK not in set(table["program"])
    assert set(table["model"]) == {"", "tiny@3"}, "no folder of the user's machine"
    with pytest.raises(DataError, match="exists"):
        export_tasks(run, tmp_path / "out")


def test_another_run_reads_the_exported_tasks_as_what_they_are(run: RunDir, tmp_path: Path) -> None:
    """All were read as induction tasks, because their inputs are lists."""
    export_tasks(run, tmp_path / "out")
    files = sorted((tmp_path / "out" / "data").glob("*.parquet"))
    read = [tasks_of(row.record or {}) for file in files for row in read_rows(file)]
    assert not any(isinstance(found, Refused) for found in read)
    ids = {item.task_id for found in read if not isinstance(found, Refused) for item in found}
    assert ids == {item.task_id for item in load_pool(run)}


@pytest.mark.parametrize(
    ("kind", "inputs", "told"),
    [
        (
            "deduction",
            ["1", "2"],
            "task_type is deduction, which has one input and one output, and the row has 2 and 2",
        ),
        (
            "abduction",
            [],
            "task_type is abduction, which has one input and one output, and the row has 0 and 0",
        ),
        ("induct", ["1"], "task_type is 'induct'; it is abduction (to find the input), deduction"),
    ],
)
def test_a_row_whose_kind_and_pairs_do_not_go_together_is_refused(
    kind: str, inputs: list[str], told: str
) -> None:
    row = {"program": "def f(x):\n    return x", "inputs": inputs, "outputs": inputs, "task_type": kind}
    refused = tasks_of(row)
    assert isinstance(refused, Refused) and told in refused.detail


def test_an_induction_task_of_one_pair_leaves_nothing_to_show_and_is_refused() -> None:
    row = {"program": "def f(x):\n    return x", "input": "1", "output": "1", "task_type": "induction"}
    refused = tasks_of(row)
    assert isinstance(refused, Refused) and "needs lists of inputs and outputs" in refused.detail


def test_what_is_not_merged_yet_is_named_and_its_leaks_stay_out(run: RunDir, config: DataConfig) -> None:
    write_tasks(run.shard(1), found(1, 10, 11))
    merge_shard(run, 1, config)
    write_tasks(
        run.shard(2), [*found(2, 20), numbered(10, source="selfplay", cycle=2, step=3)], tail='{"torn'
    )
    tasks = run_tasks(run, config)
    assert tasks.sentence == (
        "8 tasks: the pool's 7 (3 seeds, 2 of your own files, 2 of self-play), and 1 accepted in self-play and not merged yet; "
        "1 more of the latter left out (leaked_evaluation)"
    )
    assert LEAK not in {item.program for item in tasks.tasks}
    consolidate(run, 2, config)
    assert len(merge_shard(run, 2, config).sources) and len(load_pool(run)) == 8, (
        "the next merge finds the same"
    )


def test_the_command_prints_that_sentence(run: RunDir, tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(PROJECT / "scripts" / "export.py"),
        str(run.root),
        "--tasks",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout
        == f"5 tasks: the pool's 5 (3 seeds, 2 of your own files), written to {tmp_path / 'out'}\n"
    )


def test_the_folder_loads_with_datasets(run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    lineage = Lineage(
        source="selfplay", run="tiny", cycle=1, step=2, accuracy=0.25, parents=("abc",), model="m@1"
    )
    odd = Task(
        task_type=TaskType.INDUCTION,
        code="def f(x):\n    return -x  # \udcff",
        inputs=("1", "2"),
        outputs=("-1", "-2"),
        message="what is | here\nand there",
        lineage=lineage,
    )
    write_tasks(run.shard(1), [odd])  # not merged yet
    folder = str(tmp_path / "out")
    export_tasks(run, tmp_path / "out")
    everything = datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(everything["task_id"]) == sorted(item.task_id for item in [*load_pool(run), odd])
    induction = datasets.load_dataset(folder, "induction", split="train", cache_dir=str(tmp_path / "cache"))
    loaded = next(row for row in induction if row["task_id"] == odd.task_id)
    assert (loaded["inputs"], loaded["outputs"], loaded["accuracy"]) == (["1", "2"], ["-1", "-2"], 0.25)
    assert loaded["program"].endswith("\\udcff")


@pytest.mark.parametrize("words", [["--step", "6"], ["--gguf"], ["--adapters"]])
def test_what_does_not_concern_tasks_is_refused_beside_them(
    run: RunDir, tmp_path: Path, words: list[str]
) -> None:
    with pytest.raises(RunError, match="leave --step, --adapters and --gguf out"):
        export.main([str(run.root), "--tasks", "--out", str(tmp_path / "out"), *words])
