"""Files as people bring them: what can be read without doubt is read, the rest is refused by name, place and
reason."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_helpers import numbered, quiet, write_tasks
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.config import Config
from azr.config.load import write_config
from azr.config.selfplay import SelfPlayConfig
from azr.data.check import passed_over, require_readable
from azr.data.consolidate import consolidate, merge_shard
from azr.data.contamination import evaluation_items
from azr.data.frozen import probe_files_in
from azr.data.guard import prepare_probes, probe_tasks, twofold_rows
from azr.data.manifest import load_pool
from azr.data.readers import read_rows
from azr.data.schema import Refused, tasks_of
from azr.data.sources import configured_files, data_files
from azr.errors import DataError
from azr.evaluate.suites import build_suite
from azr.run.rundir import RunDir
from azr.system.files import read_json, read_jsonl

RECORDS: list[dict[str, Any]] = [
    {
        "snippet": f"def f(x):\n    return 'ä, {index}', x",
        "input": str(index),
        "output": f"('ä, {index}', {index})",
        "task_type": "deduction",
    }
    for index in range(3)
]
JSONL = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS)
TABLE = pd.DataFrame(RECORDS)
CSV = TABLE.to_csv(index=False)


def written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return path


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def parquet(folder: Path, table: pd.DataFrame = TABLE) -> bytes:
    table.to_parquet(folder / "made")
    return (folder / "made").read_bytes()


FENCES = ("```python\n{}\n```", "\n```\n{}```\n", "~~~ Py\n{}\n\n~~~")
READ: dict[str, tuple[str, Callable[[Path], bytes | str]]] = {
    "byte-order mark": ("a.jsonl", lambda _: "\ufeff" + JSONL),
    "byte-order mark, JSON": ("a.json", lambda _: "\ufeff" + json.dumps(RECORDS)),
    "UTF-16 as Windows saves it": ("a.jsonl", lambda _: JSONL.encode("utf-16")),
    "UTF-16 without a mark": ("a.jsonl", lambda _: JSONL.encode("utf-16-le")),
    "UTF-32": ("a.json", lambda _: json.dumps(RECORDS).encode("utf-32")),
    "Windows line ends": ("a.jsonl", lambda _: JSONL.replace("\n", "\r\n")),
    "empty lines": ("a.jsonl", lambda _: "\n\n" + JSONL.replace("\n", "\n  \n")),
    "an array in .jsonl": ("a.jsonl", lambda _: json.dumps(RECORDS)),
    "an array over lines in .jsonl": ("a.jsonl", lambda _: json.dumps(RECORDS, indent=2)),
    "lines in .json": ("a.json", lambda _: JSONL),
    "objects over several lines": (
        "a.jsonl",
        lambda _: "\n".join(json.dumps(record, indent=1) for record in RECORDS),
    ),
    "one array a key": ("a.json", lambda _: json.dumps({"version": 1, "data": RECORDS})),
    "columns of pandas": ("a.json", lambda _: str(TABLE.to_json())),
    "columns of lists": ("a.json", lambda _: json.dumps(TABLE.to_dict("list"))),
    "no ending": ("tasks", lambda _: JSONL),
    ".txt": ("a.txt", lambda _: JSONL),
    "CSV": ("a.csv", lambda _: CSV),
    "CSV of a German Excel": (
        "a.csv",
        lambda _: ("\ufeff" + TABLE.to_csv(index=False, sep=";")).replace("\r\n", "\n"),
    ),
    "Unicode text of Excel": ("a.txt", lambda _: TABLE.to_csv(index=False, sep="\t").encode("utf-16")),
    "TSV": ("a.tsv", lambda _: TABLE.to_csv(index=False, sep="\t")),
    "CSV with an index and other names": (
        "a.csv",
        lambda _: TABLE.rename(columns={"snippet": "Code", "input": "Input "}).to_csv(),
    ),
    "CSV with the line of Excel": ("a.csv", lambda _: "sep=;\r\n" + TABLE.to_csv(index=False, sep=";")),
    "CSV with the line of Excel, a bar": (
        "a.csv",
        lambda _: '"sep=|"\n' + TABLE.to_csv(index=False, sep="|"),
    ),
    "text with the line of Excel": ("a.txt", lambda _: "SEP=\t\n\n" + TABLE.to_csv(index=False, sep="\t")),
    "CSV below empty lines": ("a.csv", lambda _: "\n \n\n" + CSV),
    "CSV below a title": ("a.csv", lambda _: "My tasks;;;\n;;;\n" + TABLE.to_csv(index=False, sep=";")),
    "CSV below two titles": ("a.csv", lambda _: "My tasks\nof the year 2026: code\n\n" + CSV),
    "lists beside the rows": (
        "a.json",
        lambda _: json.dumps({"tags": ["a"], "authors": [], "tasks": RECORDS, "version": 2}),
    ),
    "rows one level down": (
        "a.jsonl",
        lambda _: "".join(map(json.dumps, [{"task": row} for row in RECORDS])),
    ),
    "rows as the hub's viewer gives them": (
        "a.json",
        lambda _: json.dumps(
            {
                "features": [{"name": "snippet"}],
                "rows": [{"row_idx": 0, "row": row} for row in RECORDS],
                "num_rows_total": 3,
            }
        ),
    ),
    "programs in Markdown fences": (
        "a.jsonl",
        lambda _: "".join(
            json.dumps(record | {"snippet": fence.format(record["snippet"])}) + "\n"
            for record, fence in zip(RECORDS, FENCES, strict=True)
        ),
    ),
    "inputs as calls": (
        "a.jsonl",
        lambda _: "".join(
            json.dumps(record | {"input": f" f({record['input']}) "}) + "\n" for record in RECORDS
        ),
    ),
    "gzip": ("a.jsonl.gz", lambda _: gzip.compress(JSONL.encode())),
    "gzip under another name": ("a.jsonl", lambda _: gzip.compress(JSONL.encode())),
    "bzip2": ("a.json.bz2", lambda _: bz2.compress(json.dumps(RECORDS).encode())),
    "xz": ("a.csv.xz", lambda _: lzma.compress(CSV.encode())),
    "zstd": ("a.jsonl.zst", lambda _: zstd(JSONL.encode())),
    "parquet": ("a.parquet", parquet),
    "parquet under another name": ("a.data", parquet),
    "packed parquet": ("a.parquet.gz", lambda folder: gzip.compress(parquet(folder))),
    "texts as bytes": ("a.parquet", lambda folder: parquet(folder, TABLE.map(lambda text: text.encode()))),
}


@pytest.mark.parametrize(
    "texts", [["1", "2"], ["1"], [], ["'a'", '"b\'s"', "[1, 'x']"], [str(n) for n in range(300)]]
)
def test_arrays_in_cells_as_pandas_writes_them(tmp_path: Path, texts: list[str]) -> None:
    """numpy prints them without commas, and ``['1' '2']`` was read as the one input ``12``."""
    row = {"program": "def f(x):\n    return x", "inputs": np.array(texts, dtype=object)}
    table = pd.DataFrame([{**row, "outputs": row["inputs"], "task_type": "induction"}])
    (found,) = read_rows(written(tmp_path / "a.csv", table.to_csv(index=False)))
    assert found.record is not None
    assert found.record["inputs"] == found.record["outputs"] == texts


@pytest.mark.parametrize("kind", READ)
def test_what_is_read_without_doubt(tmp_path: Path, kind: str) -> None:
    name, make = READ[kind]
    path = written(tmp_path / name, make(tmp_path))
    found = [task for row in read_rows(path) if row.record for task in tasks_of(row.record)]  # type: ignore[union-attr]
    assert [(task.code, task.input, task.output) for task in found] == [
        (r["snippet"], r["input"], r["output"]) for r in RECORDS
    ]


def test_lists_in_cells(tmp_path: Path) -> None:
    header, code = "snippet,input,output,inputs,outputs,message\n", '"def f(x):\n    return x"'
    rows = [
        f'{code},,,"[""1"", ""2""]","[""1"", ""2""]",same',
        f"{code},,,\"['1', '2']\",\"[1, 2]\",same",
        f"{code},7,7,,,",
    ]
    found = list(read_rows(written(tmp_path / "a.csv", header + "\n".join(rows))))
    tasks = [task for row in found if row.record for task in tasks_of(row.record)]  # type: ignore[union-attr]
    assert [row.line for row in found] == [2, 4, 6]
    assert [task.task_type.value for task in tasks] == ["induction", "induction", "abduction", "deduction"]
    assert tasks[0].outputs == tasks[1].outputs == ("1", "2")


def column_twice() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays([pa.array([text]) for text in "abc"], names=["snippet", "input", "input"]), sink
    )
    return sink.getvalue().to_pybytes()


REFUSED: dict[str, tuple[str, bytes | str, str]] = {
    "zip": ("a.zip", b"PK\x03\x04rest", r"a\.zip is a zip archive; unpack it first"),
    "Excel": ("a.xlsx", b"PK\x03\x04rest", "an Excel workbook; save it as CSV"),
    "old Excel": ("a.xls", b"\xd0\xcf\x11\xe0rest", "an old Office document"),
    "tar.gz": (
        "a.tar.gz",
        gzip.compress(b"a" * 257 + b"ustar" + b"\0" * 300),
        "a tar archive; unpack it first",
    ),
    "pickle": ("a.pkl", b"\x80\x04\x95rest", "a Python pickle, which is never opened"),
    "SQLite": ("a.db", b"SQLite format 3\0", "an SQLite database"),
    "web page": ("a.jsonl", "<!DOCTYPE html>\n<html>", "a web page or XML"),
    "LFS pointer": ("a.parquet.jsonl", "version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "Python": (
        "a.py",
        "def f(x):\n    return x\n",
        r"a\.py is Python source, not a file of rows; write it as JSON",
    ),
    "YAML": ("a.yaml", "- snippet: x\n  input: '1'\n", r"a\.yaml is YAML, not a file of rows"),
    "TOML": ("a.toml", "[[tasks]]\ninput = '1'\n", r"a\.toml is TOML, not a file of rows"),
    "lz4": ("a.jsonl.lz4", b"\x04\x22\x4d\x18rest", "packed with lz4"),
    "bytes": ("a.jsonl", b"{ab\x00\x01\x02", "is not text: byte 4 is 0"),
    "no parquet": ("a.parquet", b"PAR1 not really", r"a\.parquet cannot be read as parquet"),
    "cut gzip": (
        "a.jsonl.gz",
        gzip.compress(JSONL.encode())[:-20],
        "cannot be unpacked: .*not copied completely",
    ),
    "cut xz": ("a.jsonl.xz", lzma.compress(JSONL.encode())[:-20], "cannot be unpacked"),
    "cut zstd": ("a.jsonl.zst", zstd(JSONL.encode())[:-9], r"a\.jsonl\.zst cannot be"),
    "cut UTF-16": ("a.jsonl", JSONL.encode("utf-16")[:-1], "is not UTF-16"),
    "open quotation mark": ("a.csv", 'snippet,input,output\n"def f', r"a\.csv, line 2: not valid CSV"),
    "a column twice": (
        "a.csv",
        "snippet,input,output,Input\na,1,2,3",
        r"a\.csv: two columns are called 'input'; rename or remove one",
    ),
    "a parquet column twice": ("a.parquet", column_twice(), r"a\.parquet: two columns are called 'input'"),
    "splits": (
        "a.json",
        json.dumps({"train": RECORDS, "test": RECORDS[:1], "validation": []}),
        r"a\.json: several lists of rows in one object: train \(3\), test \(1\); save the one that is meant",
    ),
    "a table without names": (
        "a.csv",
        TABLE.to_csv(index=False, header=False),
        r"a\.csv, line 1 is a row where the columns' names belong; write snippet,input,output above it",
    ),
    "an open quotation mark below a title": (
        "a.csv",
        'sep=,\nTasks\nsnippet,input,output\n"def f',
        r"a\.csv, line 4: not valid CSV",
    ),
    "a field twice": ("a.json", '[{"input": "1",\n "input": "2"}]', "field input appears twice"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    name, data, sentence = REFUSED[kind]
    with pytest.raises(DataError, match=sentence):
        list(read_rows(written(tmp_path / name, data)))


def test_folders_pipes_and_files_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is a folder; name the file in it"):
        list(read_rows(tmp_path))
    with pytest.raises(DataError, match="a pipe or a device"):
        list(read_rows(tmp_path / "pipe"))
    path = written(tmp_path / "a.jsonl", JSONL)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"a\.jsonl cannot be read as jsonl: Permission denied"):
        list(read_rows(path))


def test_links_in_a_folder_are_followed_named_or_refused(tmp_path: Path) -> None:
    """A file or folder that was linked and is left out without a word would be training data lost."""
    (tmp_path / "elsewhere").mkdir()
    written(tmp_path / "elsewhere" / "b.jsonl", JSONL)
    folder = tmp_path / "mine"
    (folder / "part").mkdir(parents=True)
    (folder / "a.jsonl").symlink_to(tmp_path / "elsewhere" / "b.jsonl")
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "part" / "around").symlink_to(folder)
    assert configured_files([str(folder)], "data.extra_files") == ([folder / "a.jsonl"], [])
    assert passed_over([str(folder)]) == [f"{folder}: 2 other files in it were not read (more, around)"]
    (folder / "part" / "gone.csv").symlink_to("nowhere.csv")
    [sentence] = configured_files([str(folder)], "data.extra_files")[1]
    assert sentence == f"data.extra_files: {folder}/part/gone.csv cannot be read: No such file or directory"


def test_what_editors_systems_and_downloads_leave_in_a_folder_is_no_data(tmp_path: Path) -> None:
    kept = [written(tmp_path / name, JSONL) for name in ("a (1).jsonl", "a - Copy.jsonl", "a.jsonl")]
    for name in (
        ".git/old.jsonl",
        ".ipynb_checkpoints/a-checkpoint.jsonl",
        ".cache/huggingface/download/a.jsonl",
        "__MACOSX/a.jsonl",
        "._a.jsonl",
        ".a.jsonl.swp",
        "a.jsonl:Zone.Identifier",
        "a.jsonl.part",
        "a.jsonl~",
        "desktop.ini",
        "Thumbs.db",
        "~$tasks.xlsx",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        written(tmp_path / name, "{}")
    assert data_files(tmp_path) == kept
    hidden = tmp_path / ".git"
    assert data_files(hidden) == [hidden / "old.jsonl"], "one that is named itself is read"
    [line] = passed_over([str(tmp_path)])
    assert "6 other files" in line and ".git" not in line


def test_a_folder_inside_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a.jsonl", JSONL)
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def refuse(path: str) -> object:  # root may read everything
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    [sentence] = configured_files([str(tmp_path)], "data.extra_files")[1]
    assert sentence == f"data.extra_files: {tmp_path}/locked cannot be read: Permission denied"


LATIN = JSONL.encode("latin-1")


@pytest.mark.parametrize(
    ("name", "data", "place", "problem"),
    [
        (
            "a.jsonl",
            LATIN,
            "line 1",
            f"byte {LATIN.index(0xE4) + 1} of the line (0xe4) is not UTF-8; save the file as UTF-8",
        ),
        (
            "a.csv",
            'snippet,input,output\n"ä",1,2\n'.encode("latin-1"),
            "line 2",
            "byte 1 of the row (0xe4) is not UTF-8",
        ),
        ("a.csv", "snippet,input,output\na,1,2,3\n", "line 2", "4 cells, but the header names 3 columns"),
        ("a.csv", "sep=,\n\nsnippet,input,output\na,1,2\na,1,2,3\n", "line 5", "4 cells, but the header"),
        ("a.jsonl", "7\n" + JSONL, "line 1", "a number where an object with fields is expected"),
        ("a.jsonl", JSONL + "{'snippet': 'def f(): return 1'}", "line 4", "JSON has double quotes"),
        ("a.jsonl", JSONL + '{"input": "1", "input": "2"}', "line 4", "field input appears twice"),
        ("a.jsonl", JSONL + "[" * 9000, "line 4", "nested too deeply"),
        ("a.jsonl", JSONL + f'{{"input": {"1" * 5000}}}', "line 4", "a number has thousands of digits"),
        ("a.jsonl", JSONL + '{"snippet": "def', "line 4", "no JSON: Unterminated string"),
        ("a.json", json.dumps([*RECORDS, None]), "row 4", "null where an object"),
        ("a.jsonl", JSONL + json.dumps(json.dumps(RECORDS[0])), "line 4", "it was written as JSON twice"),
    ],
)
def test_rows_that_cannot_be_read_say_where_and_why(
    tmp_path: Path, name: str, data: bytes | str, place: str, problem: str
) -> None:
    bad = [row for row in read_rows(written(tmp_path / name, data)) if row.record is None]
    assert bad and bad[0].place == place and problem in bad[0].problem
    assert "crash" not in bad[0].problem, "a user's file was not torn by one of our crashes"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[\n%s,\n%s,\n]\n", "line 4: no JSON: a comma before ]; take it out"),
        ('[\n%s,\n{"snippet": "x",}\n]', "line 3: no JSON: a comma before }; take it out"),
        ("[\n// mine\n%s\n]", "line 2: no JSON: it has no comments; take them out"),
        ("[\n%s\n%s\n]", "line 3: no JSON: Expecting ',' delimiter"),
        ("[\n%s,\n", "no JSON: "),
    ],
)
def test_a_list_that_breaks_off_is_one_sentence_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    """Not one for every line of it, the first of which is fine."""
    row = json.dumps(RECORDS[0])
    for name in ("a.json", "a.jsonl"):
        with pytest.raises(DataError) as error:
            list(read_rows(written(tmp_path / name, text.replace("%s", row))))
        assert told in str(error.value)


CODE = "def f(x):\n    return x"


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (-3, "-3"), (True, "True"), (False, "False"), (2.5, "2.5"), (1e-7, "1e-07"), ("'a'", "'a'")],
)
def test_values_that_can_mean_one_text_only(value: object, text: str) -> None:
    [task] = tasks_of({"snippet": CODE, "input": value, "output": value, "task_type": "deduction"})  # type: ignore[misc]
    assert (task.input, task.output) == (text, text)
    [task] = tasks_of({"snippet": CODE, "inputs": [value], "outputs": [value], "message": ""})  # type: ignore[misc]
    assert (task.inputs, task.outputs) == ((text,), (text,))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            7.0,
            'field input is 7.0: this is what a table makes of a whole number; write it as text, "7" or "7.0"',
        ),
        (float("nan"), "field input is NaN, an empty cell of a table"),
        (float("inf"), "field input is inf; write what is between the parentheses"),
        (None, 'field input is null; if that is the value, write it as text, "None"'),
        ([1, 2], "field input is a list; write what is between the parentheses of f(...)"),
        ({"a": 1}, "field input is an object; write what is between"),
        ("TRUE", "field input is TRUE, which a spreadsheet made of True: format the column as Text"),
        (" FALSE", "field input is FALSE, which a spreadsheet made of False"),
        ("#NAME?", "field input is #NAME?, an error of a spreadsheet, which took the value for a formula"),
        ("#DIV/0!", "field input is #DIV/0!, an error of a spreadsheet"),
        ("#N/A", "field input is #N/A, an error of a spreadsheet"),
    ],
)
def test_values_in_doubt_are_refused_with_the_way_to_write_them(value: object, sentence: str) -> None:
    refused = tasks_of({"snippet": CODE, "input": value, "output": "1"})
    assert isinstance(refused, Refused) and sentence in refused.detail
    if value is not None:
        refused = tasks_of({"snippet": CODE, "inputs": ["1", value], "outputs": ["1", "2"]})
        assert isinstance(refused, Refused) and "field inputs[1] is " in refused.detail


@pytest.mark.parametrize(
    ("typed", "kinds"),
    [
        ("code_o", ["deduction"]),
        ("code_i", ["abduction"]),
        (" Deduction", ["deduction"]),
        ("ERROR", ["error"]),
        ("", ["abduction", "deduction"]),
    ],
)
def test_a_kind_of_task_in_the_published_name_or_in_other_letters(typed: str, kinds: list[str]) -> None:
    """They were "not a valid TaskType"."""
    tasks = tasks_of({"snippet": CODE, "input": "1", "output": "1", "task_type": typed})
    assert isinstance(tasks, list) and [task.task_type.value for task in tasks] == kinds
    pairs = {"inputs": ["1", "2"], "outputs": ["1", "2"], "message": "As it is."}
    for kind in ("Induction", "code_f"):
        [task] = tasks_of({"snippet": CODE, **pairs, "task_type": kind})  # type: ignore[misc]
        assert task.task_type.value == "induction"


@pytest.mark.parametrize(
    ("snippet", "sentence"),
    [
        (
            "Here it is:\n```python\ndef f(x):\n    return x\n```",
            "a Markdown fence, with other text around it",
        ),
        ("```\ndef f(x):\n    return x\n```\n```\nf(3)\n```", "a Markdown fence, with other text"),
        ("def f(x):\\n    return x", r"has \n as two characters where its lines end"),
        (">>> def f(x):\n...     return x", "a console session"),
        ("    def f(x):\n        return x", "indented; it begins at the left edge"),
        ("f = lambda x: x", "has a lambda for f; write it as def"),
        ("def solve(x):\n    return x", "defines no function f but solve; call it f"),
        (
            "class Solution:\n    def two(self, x):\n        return x",
            "but the class Solution; write its method",
        ),
        ("n = int(input())\nprint(n)", "but reads standard input; write it as def f"),
        ("x = 1", "defines no function f"),
    ],
)
def test_texts_that_are_no_program_say_what_to_change(snippet: str, sentence: str) -> None:
    refused = tasks_of({"snippet": snippet, "input": "1", "output": "1"})
    assert isinstance(refused, Refused) and sentence in refused.detail and "{" not in refused.detail


def test_what_only_looks_like_a_fence_or_an_escape_is_left_alone() -> None:
    for snippet in (
        'def f(x):\n    return """\n```\n""" + x',
        "def f(x): return '\\n'",
        "```python\ndef f(x):\n    return '~~~'\n```",
    ):
        [task, _] = tasks_of({"snippet": snippet, "input": "'a'", "output": "1"})  # type: ignore[misc]
        assert task.code.startswith("def f(x):")


@pytest.mark.parametrize("text", ["f(3) == 4", "assert f(3) == 4", "f(3) + f(4)", "f(", "f(f(3))", "f(x)"])
def test_an_input_that_is_more_than_a_call_is_refused(text: str) -> None:
    refused = tasks_of({"snippet": CODE, "input": text, "output": "3"})
    assert isinstance(refused, Refused)
    assert refused.detail.startswith(f"field input is {text!r}; write what is between the parentheses")
    refused = tasks_of({"snippet": CODE, "inputs": [text], "outputs": ["3"], "message": "a"})
    assert isinstance(refused, Refused) and "field inputs[0]" in refused.detail


def test_inputs_that_begin_like_a_call() -> None:
    for text, wanted in (("f('a)', [1], y=2)", "'a)', [1], y=2"), ("f()", ""), ("'f(3)'", "'f(3)'")):
        [task, _] = tasks_of({"snippet": CODE, "input": text, "output": "3"})  # type: ignore[misc]
        assert task.input == wanted


def test_a_row_alone_is_a_row_whatever_lists_are_in_it(tmp_path: Path) -> None:
    """Its list of pairs was taken for the rows: "no field snippet"."""
    (row,) = read_rows(
        written(tmp_path / "a.jsonl", json.dumps({"snippet": CODE, "pairs": [{"input": "1"}]}))
    )
    assert row.record is not None
    assert isinstance(refused := tasks_of(row.record), Refused) and "no field input" in refused.detail


def test_empty_columns_of_a_mixed_table_are_absent() -> None:
    record = {
        "snippet": CODE,
        "input": "1",
        "output": "1",
        "inputs": None,
        "outputs": None,
        "lineage": None,
        "message": None,
    }
    assert len(tasks_of(record)) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (
            {
                "task_id": "HumanEval/0",
                "prompt": "def g():",
                "canonical_solution": "    return 1",
                "test": "",
            },
            "a HumanEval-like row",
        ),
        (
            {"text": "Write", "code": "def g(): pass", "test_list": ["assert g() is None"]},
            "an MBPP-like row; scripts/convert_problems.py",
        ),
        (
            {"messages": []},
            "no field snippet and no field input and no field output .*; the row has messages: a conversation",
        ),
        ({"prompt": [], "reward_model": {}}, "reward_model: a row made for verl"),
        ({"question": "", "input_output": "{}"}, "a problem with texts for standard input"),
        (
            {"snippet": "def f(x):\n    return 1 / x", "input": "0", "output": "ZeroDivisionError"},
            'not a literal; of a task about the error that f raises: "task_type": "error"$',
        ),
        (
            {
                "snippet": "from collections import Counter\nf = Counter",
                "input": "'a'",
                "output": "Counter({'a': 1})",
            },
            r"not a literal; have f return what can be typed in: dict\(\.\.\.\)",
        ),
        ({"a": 1}, "the row has a$"),
        ({}, "the row has none"),
    ],
)
def test_rows_of_other_data_sets_are_told_apart(record: dict[str, Any], sentence: str) -> None:
    import re

    refused = tasks_of(record)
    assert isinstance(refused, Refused) and re.search(sentence, refused.detail)


FIELDS = st.sampled_from(
    ["snippet", "Code", "input", "output", "inputs", "outputs", "task_type", "lineage", "imports", "x"]
)
SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | st.text()
JSON_VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@settings(deadline=None)
@given(st.dictionaries(FIELDS, JSON_VALUES))
def test_any_record_is_tasks_or_a_reason(record: dict[str, Any]) -> None:
    found = tasks_of(record)
    assert found.detail if isinstance(found, Refused) else found


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    for name in ("a.jsonl", "a.csv", "a.parquet", "a.arrow"):
        path = written(tmp_path_factory.getbasetemp() / name, data)
        try:
            assert all(row.record is not None or row.problem for row in read_rows(path))
        except DataError as error:
            assert name in str(error)


# ---------------------------------------------------------------- what a run makes of them


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.jsonl", "", r"data\.extra_files: .*a\.jsonl is empty; correct it"),
        (
            "a.csv",
            "prompt,answer\n1,2\n3,4\n",
            r"yields no tasks from 2 rows \(2 schema\); .*a\.csv, line 2: no field snippet",
        ),
        ("a.jsonl", JSONL.encode("utf-16-be")[1:], r"a\.jsonl is not text|not one task"),
        ("a.jsonl.gz", gzip.compress(JSONL.encode())[:-9], "cannot be unpacked"),
    ],
)
def test_a_named_file_without_a_task_stops_the_run_before_it_begins(
    run: RunDir, tmp_path: Path, name: str, data: bytes | str, sentence: str
) -> None:
    path = written(tmp_path / name, data)
    good = written(tmp_path / "good.jsonl", JSONL)
    with pytest.raises(DataError, match=sentence):
        require_readable(quiet(extra_files=[str(good), str(path)]), run)
    with pytest.raises(DataError):
        require_readable(quiet(seeds=str(path)), run)
    require_readable(quiet(extra_files=[str(good)]), run)
    assert not run.root.exists()


def test_all_that_gives_nothing_is_named_at_once(run: RunDir, tmp_path: Path) -> None:
    empty, wrong = written(tmp_path / "empty.jsonl", ""), written(tmp_path / "wrong.jsonl", "{}")
    with pytest.raises(DataError) as error:
        require_readable(quiet(extra_files=[str(empty), str(wrong)], evaluation_files=[str(wrong)]), run)
    for words in (
        "empty.jsonl is empty",
        "wrong.jsonl yields no tasks from 1 row ",
        "wrong.jsonl holds no program",
    ):
        assert words in str(error.value)


def test_a_run_whose_first_cycle_was_removed_has_begun_all_the_same(run: RunDir, tmp_path: Path) -> None:
    """It could not be resumed without the files that are in its pool."""
    config = quiet(extra_files=[str(write_tasks(tmp_path / "one.jsonl", [numbered(1)]))])
    consolidate(run, 1, config)
    shutil.rmtree(run.cycle(1))
    (tmp_path / "one.jsonl").unlink()
    require_readable(config, run)


def test_a_path_that_a_resumed_run_names_for_the_first_time_has_to_be_there(
    run: RunDir, tmp_path: Path
) -> None:
    """With a letter wrong it was passed over without a word."""
    config = quiet(extra_files=[str(write_tasks(tmp_path / "one.jsonl", [numbered(1)]))])
    consolidate(run, 1, config)
    write_config(run.config, Config(data=config))
    (tmp_path / "one.jsonl").unlink()
    require_readable(config, run)
    for key, value in {
        "extra_files": [*config.extra_files, str(tmp_path / "tow.jsonl")],
        "other_runs": [str(tmp_path / "tow")],
        "seeds": str(tmp_path / "tow"),
    }.items():
        with pytest.raises(DataError, match=rf"^data\.{key}: {tmp_path}/tow.*; correct the path"):
            require_readable(replace(config, **{key: value}), run)


def test_sources_that_are_gone_in_a_later_cycle_are_told(run: RunDir, tmp_path: Path) -> None:
    """Seeds ended the run there; the others were passed over without a word."""
    seeds = write_tasks(tmp_path / "seeds.jsonl", [numbered(1)])
    mine = write_tasks(tmp_path / "mine.jsonl", [numbered(2)])
    config = quiet(seeds=str(seeds), extra_files=[str(mine)])
    consolidate(run, 1, config)
    write_tasks(run.shard(1), [numbered(10, source="selfplay", cycle=1, step=1)])
    merge_shard(run, 1, config)
    seeds.unlink()
    mine.unlink()
    report = consolidate(run, 2, config)
    assert report.tasks == 3
    assert f"data.seeds: {seeds} does not exist; its tasks stay in the pool" in report.sentence
    assert f"data.extra_files: {mine} does not exist; its tasks stay in the pool" in report.sentence


def test_a_named_file_of_which_no_task_holds_stops_the_run(run: RunDir, tmp_path: Path) -> None:
    wrong = write_tasks(
        tmp_path / "wrong.jsonl", [{"snippet": CODE, "input": "1", "output": "2", "task_type": "deduction"}]
    )
    config = quiet(extra_files=[str(wrong)], reexecute="once")
    require_readable(config, run)
    with pytest.raises(
        DataError,
        match=r"wrong\.jsonl yields no usable task: .*1 output_mismatch.*, row 1: output_mismatch, gives 1,",
    ):
        consolidate(run, 1, config)
    assert [record["reason"] for record in read_jsonl(run.pool / "rejected.jsonl")] == ["output_mismatch"]


def test_a_named_file_of_copies_was_of_use(run: RunDir, tmp_path: Path) -> None:
    one = write_tasks(tmp_path / "one.jsonl", [numbered(1)])
    two = write_tasks(
        tmp_path / "two.jsonl", [{**numbered(1).to_json(), "snippet": "def f(y):\n    return y * 1 + 1"}]
    )
    report = consolidate(run, 1, quiet(extra_files=[str(one), str(two)]))
    assert report.new.left_out == {"duplicate_renamed": 1}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "https://example.org/a.jsonl",
            r"https://example\.org/a\.jsonl is a URL; files are read from this machine, so download it",
        ),
        ("s3://bucket/a", "is a URL"),
        (
            "nobody/nothing",
            r"does not exist .*\(a data set of the Hugging Face hub has to be saved first: datasets\.load_dataset",
        ),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
def test_paths_that_are_none(run: RunDir, name: str, sentence: str) -> None:
    for key in ("extra_files", "evaluation_files", "probe_files"):
        with pytest.raises(DataError, match=rf"data\.{key}: .*{sentence}"):
            require_readable(quiet(**{key: [name]}), run)


def test_probes_of_any_format_are_asked(run: RunDir, tmp_path: Path) -> None:
    """The trainer reads the run's own copy, which is JSON Lines."""
    probes = written(tmp_path / "mine.csv.gz", gzip.compress(CSV.encode()))
    prepare_probes(run, quiet(probe_files=[str(probes)]))
    [copy] = probe_files_in(run.probes)
    assert copy.name == "mine.jsonl" and [record["input"] for record in read_jsonl(copy)] == ["0", "1", "2"]
    bad = written(tmp_path / "bad.csv", CSV + "a,b\n")
    with pytest.raises(
        DataError,
        match=r"bad\.csv, line \d+: no field output .*every row of a probe file",
    ):
        require_readable(quiet(probe_files=[str(bad)]), run)


def test_probe_rows_without_a_task_type_are_two_tasks_in_any_format(run: RunDir, tmp_path: Path) -> None:
    """CSV gave two and JSON Lines one, so that a score changed with the format of its file."""
    rows = [
        {"snippet": "def f(x):\n    return [x, x * 7]", "input": f"{n}", "output": f"[{n}, {7 * n}]"}
        for n in range(3)
    ]
    lines = written(tmp_path / "mine.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    table = written(tmp_path / "mine.csv", pd.DataFrame(rows).to_csv(index=False))
    assert probe_tasks(lines) == probe_tasks(table) and len(probe_tasks(lines)) == 6
    told = "3 rows without a task_type are two tasks each, of abduction and of deduction"
    assert f"mine.jsonl: {told}" in consolidate(run, 1, quiet(probe_files=[str(lines)])).sentence
    assert (
        twofold_rows(table) == f"mine.csv: {told}" and build_suite(f"probes={table}", SelfPlayConfig()).notes
    )
    [copy] = probe_files_in(run.probes)
    assert len(list(read_jsonl(copy))) == 6 and not twofold_rows(copy)
    copy.chmod(0o644)
    copy.write_bytes(lines.read_bytes())  # as an earlier version froze it: its trainer asks three
    assert [task.task_type.value for task in probe_tasks(copy)] == ["deduction"] * 3 and not twofold_rows(
        copy
    )


def test_probes_that_do_not_hold_stop_the_run_before_it_measures_itself_by_them(
    run: RunDir, tmp_path: Path
) -> None:
    wrong = {"snippet": CODE, "input": "1", "output": "2", "task_type": "deduction"}
    probes = write_tasks(tmp_path / "mine.jsonl", [numbered(3), wrong])
    config = quiet(probe_files=[str(probes)], reexecute="once")
    with pytest.raises(
        DataError,
        match=r"1 of 2 tasks of .*mine\.jsonl do not hold.*\(input '1', output '2'\): output_mismatch",
    ):
        consolidate(run, 1, config)
    written(probes, "\ufeff" + json.dumps(numbered(3).to_json()))
    consolidate(run, 1, config)  # corrected, under the same name
    assert len(list(read_jsonl(run.probes / "mine.jsonl"))) == 1


def test_a_probe_task_that_stands_there_twice_is_named(tmp_path: Path) -> None:
    """It counted twice, with an interval as of two tasks; `azr evaluate` refused the run's probes ever after."""
    row = {"task_type": "deduction", "snippet": "def f(x):\n    return x + 1", "input": "1", "output": "2"}
    mine = write_tasks(tmp_path / "mine.jsonl", [row, {**row, "input": "2", "output": "3"}, row])
    with pytest.raises(DataError, match=r"1 task of .*mine\.jsonl stands there twice, and would count twice"):
        consolidate(RunDir(tmp_path / "run"), 1, quiet(probe_files=[str(mine)]))


def test_what_cannot_be_read_cannot_be_kept_out(tmp_path: Path) -> None:
    path = written(tmp_path / "evaluation.jsonl", "\ufeff" + JSONL)
    assert len(evaluation_items([path])) == 3
    with pytest.raises(
        DataError, match=r"evaluation\.jsonl, line 4: no JSON.*cannot be kept out of training"
    ):
        evaluation_items([written(path, JSONL + "{")])


def test_all_ways_lead_to_the_same_pool(tmp_path: Path) -> None:
    pools = []
    for name, data in (("a.jsonl", JSONL), ("a.csv", CSV), ("a.json", "\ufeff" + json.dumps(RECORDS))):
        run = RunDir(tmp_path / name.replace(".", "_"))
        consolidate(run, 1, quiet(seeds="none", extra_files=[str(written(tmp_path / name, data))]))
        pools.append(load_pool(run))
    assert len(pools[0]) == 3 and pools[0] == pools[1] == pools[2]


def test_our_own_readers_take_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path / "a.json", '\ufeff{"a": 1}\n{"a": 2}\n')
    assert [record["a"] for record in read_jsonl(path, strict=True)] == [1, 2]
    assert read_json(written(path, '\ufeff{"a": 1}')) == {"a": 1}


def test_a_pattern_is_told_from_a_missing_file(tmp_path: Path) -> None:
    written(tmp_path / "a.jsonl", JSONL)
    for name in ("*.jsonl", "[ab].jsonl", "a?.jsonl"):
        _, [told] = configured_files([str(tmp_path / name)], "data.extra_files")
        assert f"patterns are not read; {tmp_path} takes all of its files" in told
    _, [told] = configured_files([str(tmp_path / "b.jsonl")], "data.extra_files")
    assert "patterns are not read" not in told


def test_files_that_were_put_together(tmp_path: Path) -> None:
    """Python's words for it are "Extra data" and "Unexpected UTF-8 BOM"; a second head was "not a literal"."""
    row = '{"snippet": "def f(x):\\n    return x", "input": "1", "output": "1"}'
    for text, told in (
        (f"\ufeff{row}\n\ufeff{row}\n", ["", ""]),
        (f"{row}\n{row}{row}\n", ["", "a second one follows on it"]),
        (f"{row},\n{row}\n", ["a comma behind the row", ""]),
    ):
        (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
        problems = [one.problem for one in read_rows(tmp_path / "a.jsonl")]
        assert len(problems) == len(told) and all(
            b in a and bool(a) == bool(b) for a, b in zip(problems, told, strict=True)
        )
    table = 'snippet,input,output\n"def f(x):\n    return x",1,1\n'
    (tmp_path / "a.csv").write_text(f"{table}\ufeff{table}", encoding="utf-8")
    assert [one.problem[:27] for one in read_rows(tmp_path / "a.csv")] == [
        "",
        "the columns' names again, a",
        "",
    ]
    (tmp_path / "a.csv").write_text(f"{table}input,output,snippet\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 4: the columns' names again, in another order"):
        list(read_rows(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("names", "refused"),
    [
        (("deduction", "mine"), True),
        (("all", "mine"), True),
        (("deduction",), False),
        (("deduction", "abduction"), False),
    ],
)
def test_a_probe_file_called_like_a_score_is_refused_where_it_would_hide_it(
    run: RunDir, tmp_path: Path, names: tuple[str, ...], refused: bool
) -> None:
    """``probe/deduction/accuracy`` was that of the file ``deduction`` alone, and the report called it that of all deduction
    tasks; ``all.jsonl`` decided the verdict in place of all files."""
    files = []
    for number, name in enumerate(names):
        kind = "abduction" if name == "abduction" else "deduction"
        task = {"snippet": CODE, "input": str(number), "output": str(number), "task_type": kind}
        files.append(str(write_tasks(tmp_path / f"{name}.jsonl", [task])))
    with pytest.raises(DataError, match="called like the score of") if refused else contextlib.nullcontext():
        require_readable(quiet(probe_files=files), run)
