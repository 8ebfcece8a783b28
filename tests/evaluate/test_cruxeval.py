"""CRUXEval: scores against a straightforward re-computation with Python's own ``==``. Programs and answers
here are ours."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError, DataError
from azr.evaluate.cruxeval import cruxeval_suite
from azr.evaluate.evaluation import evaluate
from azr.evaluate.items import Asking
from azr.evaluate.options import Options
from azr.evaluate.recorded import recorded_answers
from azr.evaluate.scoring import judge_all, score
from azr.sandbox import Sandbox

PROGRAMS = [
    ("def f(nums):\n    return sorted(((nums.count(n), n) for n in nums), reverse=True)", "[1, 1, 3]", "[(2, 1), (2, 1), (1, 3)]"),
    ("def f(text, value):\n    return text.replace(value, '').strip()", "' a-b-c ', '-'", "'abc'"),
    ("def f(d):\n    return {k: v for k, v in sorted(d.items())}", "{'b': 1, 'a': 2}", "{'a': 2, 'b': 1}"),
    ("from collections import Counter\ndef f(s):\n    return dict(Counter(s))", "'aab'", "{'a': 2, 'b': 1}"),
    ("def f(a, b):\n    return a == b", "3, 3", "True"),
    ("def f(x):\n    return x / 2", "7", "3.5"),
    ("def f(xs):\n    return set(xs)", "[1, 2, 2]", "{1, 2}"),
    ("def f(s):\n    return s[::-1], len(s)", "'abc'", "('cba', 3)"),
    ("def f(xs):\n    xs.pop()\n    return xs", "[1]", "[]"),
    ("def f(n):\n    return [i * i for i in range(n)]", "4", "[0, 1, 4, 9]"),
    ("import re\ndef f(s):\n    return re.sub(r'\\d+', '#', s)", "'a12b3'", "'a#b#'"),
    ("def f(s):\n    return None if not s else s[0]", "''", "None"),
]  # fmt: skip
OUTPUT_ANSWERS = [
    "[(2,1),(2,1),(1,3)]", "\"abc\"", "{'b': 1, 'a': 2}", "{'a': 2}", "1", "3.50", "{2, 1}", "['cba', 3]",
    "[1]", "[0, 1, 4, 9]", "'a#b'", "None",
]  # fmt: skip
INPUT_ANSWERS = [
    "[3, 1, 1]", "'abc', '-'", "{'a': 2, 'b': 1}", "'aba'", "1, 2", "7.0", "[2]", "'cba'", "[]", "4", "'a1b'", "[]",
]  # fmt: skip


@pytest.fixture
def crux_file(tmp_path: Path) -> Path:
    path = tmp_path / "cruxeval.jsonl"
    records = [
        {"code": code, "input": given, "output": gold, "id": f"sample_{n}"}
        for n, (code, given, gold) in enumerate(PROGRAMS)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def write_answers(path: Path, answers: list[str], label: str) -> Path:
    lines = [
        {"id": f"sample_{n}", "completion": f"thinking</think><answer>```{label}\n{answer}\n```</answer>"}
        for n, answer in enumerate(answers)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def call(code: str, arguments: str) -> object:
    scope: dict[str, object] = {}
    exec(code, scope)  # our own program
    return eval(f"f({arguments})", scope)  # noqa: S307 - our own text


def outputs_right() -> list[bool]:
    """``assert output == answer``, as the benchmark has it."""
    return [eval(gold) == eval(answer) for (_, _, gold), answer in zip(PROGRAMS, OUTPUT_ANSWERS, strict=True)]  # noqa: S307


def inputs_right() -> list[bool]:
    """``assert output == f(answer)``."""
    right = []
    for (code, _, gold), answer in zip(PROGRAMS, INPUT_ANSWERS, strict=True):
        try:
            right.append(eval(gold) == call(code, answer))  # noqa: S307
        except Exception:  # noqa: BLE001 - a program that raises on the answer is a wrong answer
            right.append(False)
    return right


@pytest.mark.parametrize(
    ("name", "label", "answers", "expected"),
    [
        ("cruxeval-o", "output", OUTPUT_ANSWERS, outputs_right),
        ("cruxeval-i", "input", INPUT_ANSWERS, inputs_right),
    ],
)
def test_scores_agree_with_a_straightforward_recomputation(
    crux_file, tmp_path, name, label, answers, expected
) -> None:
    right = expected()
    assert 3 <= sum(right) <= 9, "both verdicts must occur"
    recorded = write_answers(tmp_path / "answers.jsonl", answers, label)
    result = evaluate(
        [],
        Options(
            suites=[f"{name}={crux_file}"],
            styles=["frame"],
            answers=recorded,
            out=tmp_path / "out",
        ),
        lambda _: None,
    )
    [scores] = result["results"]
    assert [scores["item_scores"][f"sample_{n}"] == 1 for n in range(len(PROGRAMS))] == right
    assert scores["estimates"]["pass@1"]["value"] == pytest.approx(sum(right) / len(right))
    verdicts = [
        json.loads(line)
        for line in (tmp_path / "out" / "answers" / name / "verdicts.jsonl").read_text().splitlines()
    ]
    assert [verdict["score"] == 1 for verdict in sorted(verdicts, key=lambda v: int(v["id"][7:]))] == right


def test_an_answer_that_injects_an_expression_is_wrong(crux_file: Path, tmp_path: Path) -> None:
    suite = cruxeval_suite(crux_file, Asking(SelfPlayConfig()), "cruxeval-i")
    hostile = ["1) or True or f(1", "__import__('os')", "*[1]", "", "lambda: 1", "[x for x in (1,)]"]
    recorded = write_answers(tmp_path / "hostile.jsonl", (hostile * 2)[: len(PROGRAMS)], "input")
    with Sandbox() as sandbox:
        judged = judge_all(
            suite,
            suite.items,
            recorded_answers(recorded, suite.items).answers.values(),
            sandbox,
            progress=False,
        )
    assert score(suite, "hostile", suite.items, judged).estimates["pass@1"].value == 0


def test_several_samples_give_the_unbiased_pass_at_k(crux_file: Path, tmp_path: Path) -> None:
    lines = []
    for n, (_, _, gold) in enumerate(PROGRAMS):
        for sample in range(4):
            answer = gold if sample < n % 5 else "'no such value'"
            lines.append(
                {"id": f"sample_{n}", "completion": f"hm</think> <answer>```output\n{answer}\n```</answer>"}
            )
    recorded = tmp_path / "samples.jsonl"
    recorded.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    options = Options(
        suites=[f"cruxeval-o={crux_file}"],
        styles=["frame"],
        answers=recorded,
        out=tmp_path / "out",
        ks=[1, 2, 4],
    )
    with pytest.raises(ConfigError, match=r"--k 8 .* has only 4 of 'sample_0'"):
        evaluate([], replace(options, ks=[8]), lambda _: None)
    [scores] = evaluate([], options, lambda _: None)["results"]
    counts = [n % 5 for n in range(len(PROGRAMS))]
    assert scores["samples"] == 4
    assert set(scores["estimates"]) == {"pass@1", "pass@2", "pass@4"}
    assert scores["estimates"]["pass@1"]["value"] == pytest.approx(sum(counts) / 4 / len(counts))
    pairs = [1 - (4 - c) * (3 - c) / 12 for c in counts]
    assert scores["estimates"]["pass@2"]["value"] == pytest.approx(sum(pairs) / len(pairs))
    assert scores["estimates"]["pass@4"]["value"] == pytest.approx(sum(c > 0 for c in counts) / len(counts))


def test_what_cannot_be_an_item_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(
        '{"code": "def f(x): return x", "input": "1", "output": "object()", "id": "a"}\n', encoding="utf-8"
    )
    with pytest.raises(DataError, match="a: its output is not a literal"):
        cruxeval_suite(path, Asking(SelfPlayConfig()), "cruxeval-o")
    path.write_text('{"code": "def f(x): return x", "input": "1", "id": "a"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="row 1: field 'output'"):
        cruxeval_suite(path, Asking(SelfPlayConfig()), "cruxeval-o")
    with pytest.raises(DataError, match="does not exist"):
        cruxeval_suite(tmp_path / "none.jsonl", Asking(SelfPlayConfig()), "cruxeval-i")


def test_recorded_answers_must_fit_the_suite(crux_file: Path, tmp_path: Path) -> None:
    suite = cruxeval_suite(crux_file, Asking(SelfPlayConfig()), "cruxeval-o")
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id": "sample_0", "completion": "x"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="no answer to 11 of 12 items"):
        recorded_answers(path, suite.items)
    assert len(recorded_answers(path, suite.items, partial=True).answers) == 1
    path.write_text(
        '{"item_id": "sample_0", "sample": 0, "completion": "x", "n_tokens": 1}\n', encoding="utf-8"
    )
    assert list(recorded_answers(path, suite.items, partial=True).answers) == [("sample_0", 0)], (
        "our own answers.jsonl"
    )
    path.write_text('{"id": "other", "completion": "x"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="no item 'other'"):
        recorded_answers(path, suite.items, partial=True)
    path.write_text('{"id": "sample_0"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="'completion' is missing"):
        recorded_answers(path, suite.items)
