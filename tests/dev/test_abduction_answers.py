"""What is counted of answers to input tasks, on five whose kinds are known."""

from __future__ import annotations

from pathlib import Path

import abduction_answers
from azr.system.files import write_jsonl_atomic


def test_copies_and_named_answers_are_counted(tmp_path: Path) -> None:
    rows = [
        ("a", "it is [1, 2]</think><answer>[1,2]", "[1,2]", 1.0, None),  # a copy, named
        ("b", 'the text "x y"</think>', "'x y'", 1.0, None),  # another value, named in other quotes
        ("c", "no idea</think>", "[3]", 0.0, 1.0),  # right when read leniently
        ("d", "[4] without an end", "[4]", 0.0, 0.0),  # no thought of its own
        ("e", "nothing</think>", None, 0.0, None),
    ]
    write_jsonl_atomic(tmp_path / "answers.jsonl", [{"item_id": r[0], "completion": r[1]} for r in rows])
    keys = ("id", "answer", "score", "lenient")
    write_jsonl_atomic(
        tmp_path / "verdicts.jsonl", [dict(zip(keys, (r[0], *r[2:]), strict=True)) for r in rows]
    )
    outputs = {"a": "[1, 2]", "b": "'y'", "c": "[]", "d": "[]", "e": "None"}
    assert abduction_answers.kinds(tmp_path, outputs) == abduction_answers.Kinds(5, 1, 0.5, 2)
