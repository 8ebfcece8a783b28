"""Every kind of file a run may take tasks from."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from data_helpers import numbered, quiet, write_tasks

from azr.config.data import DataConfig
from azr.data.consolidate import consolidate
from azr.data.manifest import load_pool
from azr.data.pool import REJECTED_FILE
from azr.data.readers import read_rows
from azr.data.sources import configured_files, data_files, other_run_sources, refuse_missing, seed_sources
from azr.errors import ConfigError, DataError
from azr.run.rundir import RunDir
from azr.system.files import read_jsonl

RECORDS = [numbered(index).to_json() for index in range(3)]


def save_parquet(folder: Path) -> Path:
    path = folder / "tasks.parquet"
    pd.DataFrame(
        [{**record, "lineage": None, "noise": pd.Timestamp("2026-01-01")} for record in RECORDS]
    ).to_parquet(path)
    return path


def save_datasets_folder(folder: Path) -> Path:
    """What ``datasets.save_to_disk`` writes: arrow streams per split, beside JSON descriptions."""
    split = folder / "hf" / "train"
    split.mkdir(parents=True)
    table = pa.Table.from_pylist(
        [{key: record[key] for key in ("snippet", "input", "output", "task_type")} for record in RECORDS]
    )
    with (
        pa.OSFile(str(split / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as writer,
    ):
        writer.write_table(table)
    (split / "state.json").write_text("{}")
    (split / "dataset_info.json").write_text("{}")
    (folder / "hf" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    return folder / "hf"


def save_json(folder: Path) -> Path:
    path = folder / "tasks.json"
    path.write_text(json.dumps({"version": 1, "data": RECORDS}))
    return path


@pytest.mark.parametrize("save", [save_parquet, save_datasets_folder, save_json])
def test_each_format_gives_the_same_tasks(tmp_path: Path, save: object) -> None:
    path = save(tmp_path)  # type: ignore[operator]
    run = RunDir(tmp_path / "run")
    consolidate(run, 1, quiet(seeds="none", extra_files=[str(path)]))
    assert {item.task_id for item in load_pool(run)} == {record["task_id"] for record in RECORDS}


def test_a_damaged_line_costs_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    lines = [json.dumps(record).encode() for record in RECORDS]
    path.write_bytes(b"\n".join([lines[0], b"\xff\xfe" + lines[1], b"", b"[" * 5000, lines[2]]))
    rows = list(read_rows(path))
    assert [(row.line, row.record is not None) for row in rows] == [
        (1, True),
        (2, False),
        (4, False),
        (5, True),
    ]
    assert rows[1].text.startswith("\\xff\\xfe")


def test_lone_surrogates_survive(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    text = "'\\ud800'"
    record = {
        "snippet": "def f(x):\n    return x  # \ud800",
        "input": text,
        "output": text,
        "task_type": "deduction",
    }
    mine = write_tasks(tmp_path / "mine.jsonl", [record, RECORDS[0]])
    report = consolidate(run, 1, quiet(seeds="none", extra_files=[str(mine)]))
    assert report.tasks == 1 and report.new.left_out == {"not_python": 1}
    (run.root / "pool" / REJECTED_FILE).read_text(encoding="utf-8")  # as other programs read it
    assert (
        consolidate(run, 1, quiet(seeds="none", extra_files=[str(mine)])).manifest_hash
        == report.manifest_hash
    )


def test_files_that_are_no_tables_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"bad\.parquet cannot be read as parquet"):
        list(read_rows(bad))
    with pytest.raises(DataError, match="does not exist"):
        list(read_rows(tmp_path / "none.jsonl"))
    files, missing = configured_files([str(tmp_path / "none"), str(tmp_path)], "data.extra_files")
    assert files == [bad] and missing == [f"data.extra_files: {tmp_path / 'none'} does not exist"]


def test_caches_and_descriptions_are_no_data(tmp_path: Path) -> None:
    folder = save_datasets_folder(tmp_path)
    (folder / "train" / "cache-abc.arrow").write_bytes(b"")
    assert [file.name for file in data_files(folder)] == ["data-00000-of-00001.arrow"]


def test_seeds_by_name_and_by_path(tmp_path: Path) -> None:
    assert [source.name for source in seed_sources(quiet(seeds="identity"))] == ["identity.jsonl"]
    shipped = list(seed_sources(quiet(seeds="shipped")))
    assert [source.trusted for source in shipped] == [True, True]
    assert not any(
        source.trusted for source in seed_sources(quiet(seeds="shipped", trust_shipped_seeds=False))
    )
    own = write_tasks(tmp_path / "seed_io.jsonl", [numbered(1)])
    assert [(source.file, source.trusted) for source in seed_sources(quiet(seeds=str(own)))] == [(own, False)]
    with pytest.raises(DataError, match="nothing does not exist; use shipped"):
        list(seed_sources(quiet(seeds=str(tmp_path / "nothing"))))


def test_shipped_seeds_are_all_in_the_first_pool(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    report = consolidate(run, 1, DataConfig())
    assert report.by_type == {"abduction": 256, "deduction": 256, "induction": 256}
    assert not report.new.left_out
    assert not (run.pool / "verdicts.jsonl").exists(), "trusted by hash: nothing was executed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": "none"}, "a run needs tasks"),
        ({"near_similarity": 0.1}, r"data\.near_similarity is 0\.1"),
        ({"contamination_similarity": 0.95}, "must be lower"),
        ({"max_tasks": 0}, r"data\.max_tasks is 0"),
        ({"backups_kept": -1}, "cannot be negative"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        quiet(**changes).validate()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("def f(x):\n    return x\u00a0+ 1", "invalid non-printable character U+00A0 (line 2)"),
        ("def f(x):\n    return \u201cx\u201d", "(U+201C) (line 2)"),
        ("def f(x):\n    return x\u200b", "U+200B (line 2)"),
    ],
)
def test_a_program_with_pasted_characters_says_which(tmp_path: Path, program: str, told: str) -> None:
    """They look like the right ones."""
    run = RunDir(tmp_path / "run")
    record = {"snippet": program, "input": "1", "output": "2"}
    mine = write_tasks(tmp_path / "mine.jsonl", [record, RECORDS[0]])
    consolidate(run, 1, quiet(seeds="none", extra_files=[str(mine)]))
    details = [item["detail"] for item in read_jsonl(run.root / "pool" / REJECTED_FILE)]
    assert details and all("does not parse: " in item and told in item for item in details)


def test_other_runs_that_are_not_there_or_the_run_itself(tmp_path: Path) -> None:
    """A misspelt run was told to hold no tasks, and the run itself with three advices at once."""
    own, other = (RunDir(tmp_path / "runs" / name) for name in ("mine", "other"))
    for run in (own, other):
        (run.root / "cycles").mkdir(parents=True)
        run.config.write_text("")
    gone = str(tmp_path / "gone")
    sources, told = other_run_sources([gone, "other", str(own.root)], own.root)
    assert not sources and len(told) == 3
    assert told[0] == f"data.other_runs: {gone} does not exist"
    assert told[1].startswith("data.other_runs: other does not exist (looked for in ")
    assert told[1].endswith(f" (the run {other.root} does)")
    with pytest.raises(DataError) as refused:
        refuse_missing(told[2:])
    assert str(refused.value).endswith(
        "is this run itself, which has its own tasks anyway; correct the path, or remove it from the configuration"
    )
