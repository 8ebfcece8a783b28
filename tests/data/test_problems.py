"""MBPP- and HumanEval-like problems become tasks that hold when they are run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from data_helpers import quiet

from azr.cli.convert_problems import convert_problems
from azr.data.consolidate import consolidate
from azr.data.manifest import load_pool
from azr.data.problems import tasks_of_problem
from azr.errors import DataError
from azr.run.rundir import RunDir
from azr.system.files import read_jsonl

PROJECT = Path(__file__).resolve().parents[2]
MBPP = {
    "task_id": 1001,
    "text": "Write a function to keep the words of at least n letters.",
    "code": "def long_words(n, text):\r\n    return [word for word in text.split(' ') if len(word) >= n]",
    "test_list": [
        "assert long_words(3, 'a bcd ef ghij') == ['bcd', 'ghij']",
        "assert long_words(1,'x') == [ \"x\" ]",
        "assert set(long_words(1, 'x y')) == {'x', 'y'}",
    ],
}
HUMAN_EVAL = {
    "task_id": "Mine/0",
    "prompt": 'def halve(x: int, up=False) -> int:\n    """Half of x, rounded down, or up."""\n',
    "canonical_solution": "    return -(-x // 2) if up else x // 2\n",
    "test": "METADATA = {}\n\ndef check(candidate):\n"
    + "".join(
        f"    assert {claim}\n"
        for claim in ("candidate(7) == 3", "candidate(7, up=True) == 4", "candidate(0) is not None")
    ),
    "entry_point": "halve",
}


def test_problems_of_both_kinds() -> None:
    first, second, induction = tasks_of_problem(MBPP)
    assert first["snippet"].startswith("def f(n, text):\n")
    assert (first["input"], first["output"]) == ("3, 'a bcd ef ghij'", "['bcd', 'ghij']")
    assert (second["input"], second["output"]) == ("1, 'x'", "['x']")
    assert induction["message"] == MBPP["text"] and len(induction["inputs"]) == 2
    pairs = [(task["input"], task["output"]) for task in tasks_of_problem(HUMAN_EVAL)[:2]]
    assert pairs == [("7", "3"), ("7, up=True", "4")]
    assert tasks_of_problem(HUMAN_EVAL)[2]["message"] == "Half of x, rounded down, or up."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"test_list": ["assert long_words(1, open('x')) == []"]},
            "no assertion of the form: assert long_words",
        ),
        ({"test_list": ["assert long_words(1, 'x')"]}, "no assertion of the form"),
        ({"test_list": ["assert other(1) == 2"]}, "call no function that it defines"),
        ({"test_list": 7}, "test_list is not a list of texts"),
        ({"test_list": ["assert ("]}, "does not parse"),
        ({"code": None}, "field code is missing or not text"),
        ({"code": "f = 1\n" + str(MBPP["code"])}, "f already has a meaning"),
        ({"code": "(" * 500}, "does not parse"),
    ],
)
def test_problems_that_are_none(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        tasks_of_problem({**MBPP, **change})
    with pytest.raises(DataError, match="neither test_list"):
        tasks_of_problem({"a": 1})


def test_the_command_makes_a_file_that_a_run_takes(tmp_path: Path) -> None:
    problems, tasks = tmp_path / "problems.jsonl", tmp_path / "tasks.jsonl"
    problems.write_text("\n".join(json.dumps(record) for record in (MBPP, HUMAN_EVAL, {"a": 1})))
    command = [sys.executable, str(PROJECT / "scripts/convert_problems.py"), str(problems), str(tasks)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert (
        "6 records (4 of input and output, 2 of induction) from 2 of 3 problems\n  line 3: has neither test_list"
        in done.stdout
    )
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 2 and again.stderr == f"convert-problems: {tasks} exists; give another name\n"
    run = RunDir(tmp_path / "run")
    report = consolidate(run, 1, quiet(seeds="none", extra_files=[str(tasks)], reexecute="once"))
    assert report.new.left_out == {} and len(load_pool(run)) == 10 and len(list(read_jsonl(tasks))) == 6


def test_assertions_that_become_no_task_are_counted(tmp_path: Path) -> None:
    """Two of three were passed over, and the command said nothing."""
    asserts = ["assert g(1) == 2", "assert g(1) != 3", "assert abs(g(1) - 2) < 0.1"]
    problem = {"task_id": 1, "text": "x", "code": "def g(x):\n    return x + 1", "test_list": asserts}
    (tmp_path / "p.jsonl").write_text(json.dumps(problem) + "\n")
    told = convert_problems(tmp_path / "p.jsonl", tmp_path / "t.jsonl")
    assert "2 assertions of another form were passed over, the first: assert g(1) != 3" in told
