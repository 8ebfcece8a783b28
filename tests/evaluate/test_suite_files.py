"""Suites from files in their authors' form, on items that are ours: what is asked, what is right, and what a
wrong file is told."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest

from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError, DataError
from azr.evaluate.answers import Answer
from azr.evaluate.evalplus import as_python
from azr.evaluate.humaneval import read_problems
from azr.evaluate.items import Rating, Speaker, Suite
from azr.evaluate.livecodebench import pickled_text, same_lines
from azr.evaluate.scoring import judge_all
from azr.evaluate.suites import SUITE_STYLES, build_suite, not_asked, styles_of, wanted_styles
from azr.sandbox import Sandbox

CONFIG = SelfPlayConfig(frame="chat")
PLAIN = Speaker(chat=False)


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as started:
        yield started


def write(path: Path, records: list[dict[str, Any]], *, array: bool = False) -> Path:
    text = json.dumps(records) if array else "".join(json.dumps(record) + "\n" for record in records)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def verdicts(suite: Suite, answers: list[tuple[str, str]], sandbox: Sandbox) -> list[Rating]:
    listed = [Answer(item_id, number, text) for number, (item_id, text) in enumerate(answers)]
    judged = judge_all(suite, suite.items, listed, sandbox, progress=False)
    by_number = {each.answer.sample: each.verdict for each in judged}
    return [by_number[number] for number in range(len(answers))]


# --------------------------------------------------------------------------------------------------------- MBPP

SANITIZED = [
    {"source_file": "x.ipynb", "task_id": number, "prompt": f"Write a function to add {number}.",
     "code": f"def add_it(x):\n    return x + {number}", "test_imports": ["import math"],
     "test_list": [f"assert add_it(1) == {number + 1}", f"assert add_it(math.floor(2.5)) == {number + 2}"]}
    for number in (2, 3, 4, 11, 12)
]  # fmt: skip


def test_mbpp_in_both_published_forms(tmp_path: Path, sandbox: Sandbox) -> None:
    plain_form = [
        {"text": each["prompt"], "code": each["code"], "task_id": each["task_id"], "test_setup_code": "import math",
         "test_list": each["test_list"], "challenge_test_list": []}
        for each in SANITIZED
    ]  # fmt: skip
    files = [
        write(tmp_path / "sanitized-mbpp.json", SANITIZED, array=True),
        write(tmp_path / "mbpp.jsonl", plain_form),
    ]
    for file in files:
        suite = build_suite(f"mbpp={file}", CONFIG, style="native")
        assert [item.item_id for item in suite.items] == ["mbpp/11", "mbpp/12"], "the test split"
        [(role, text)] = suite.items[0].prompt.messages
        assert role == "user"
        assert 'Write a function to add 11.\nassert add_it(1) == 12\n"""' in text
        assert suite.items[0].prompt.response_prefix.endswith("```python\n")
        right = "def add_it(x):\n    return x + 11\n```\nDone"
        found = verdicts(suite, [("mbpp/11", right), ("mbpp/12", right), ("mbpp/11", "no idea")], sandbox)
        assert [each.score for each in found] == [1, 0, 0]
        assert found[1].reason == "wrong"


def test_a_part_of_a_published_suite_is_told_from_the_whole(tmp_path: Path) -> None:
    """A download that broke off between two lines was scored as HumanEval."""
    rows = [dict(row) for row in read_problems()]
    part = write(tmp_path / "part.jsonl", rows[:7])
    own = write(tmp_path / "own.jsonl", [{**row, "task_id": f"mine/{n}"} for n, row in enumerate(rows[:7])])
    [note] = build_suite(f"humaneval={part}", CONFIG, style="native").notes
    assert "the file has 7 items, and HumanEval has 164, so this is no score to set beside" in note
    sums = [{"question": f"{n} and 1?", "answer": f"#### {n + 1}"} for n in range(1319)]
    pairs = [
        {"id": f"sample_{n}", "code": "def f(x):\n    return x", "input": f"{n}", "output": f"{n}"}
        for n in range(800)
    ]
    parts = {"gsm8k": sums, "cruxeval-i": pairs, "cruxeval-o": pairs}
    for name, items in parts.items():
        [note] = build_suite(f"{name}={write(tmp_path / f'{name}.jsonl', items[:1])}", CONFIG).notes
        assert "the file has 1 item, and " in note and f" has {len(items):,}, so" in note
    wholes = [f"{name}={write(tmp_path / f'{name}.jsonl', items)}" for name, items in parts.items()]
    for whole in ("humaneval", f"humaneval={own}", *wholes):
        assert not build_suite(whole, CONFIG).notes


def test_mbpp_for_a_model_that_continues_text(tmp_path: Path, sandbox: Sandbox) -> None:
    suite = build_suite(
        f"mbpp={write(tmp_path / 'm.json', SANITIZED, array=True)}", CONFIG, style="native", speaker=PLAIN
    )
    prompt = suite.items[0].prompt
    assert prompt.raw
    assert prompt.text.count("[BEGIN]") == 4, "three worked examples"
    assert prompt.text.endswith("[BEGIN]\n")
    assert "[DONE]" in suite.items[0].stop
    [found] = verdicts(suite, [("mbpp/11", "def add_it(x):\n    return x + 11\n")], sandbox)
    assert found.score == 1
    lacking = write(tmp_path / "few.json", SANITIZED[3:], array=True)
    recorded = build_suite(f"mbpp={lacking}", CONFIG, style="native", speaker=replace(PLAIN, asked=False))
    assert len(recorded.items) == len(suite.items), "nobody is asked"
    with pytest.raises(DataError, match=r"lacks the tasks 2, 3 and 4.*whole file"):
        build_suite(f"mbpp={lacking}", CONFIG, style="native", speaker=PLAIN)


def test_mbpp_in_the_frame(tmp_path: Path, sandbox: Sandbox) -> None:
    suite = build_suite(f"mbpp={write(tmp_path / 'm.json', SANITIZED, array=True)}", CONFIG, style="frame")
    block = "```python\ndef add_it(x):\n    return x + 11\n```"
    strict, loose = verdicts(
        suite,
        [("mbpp/11", f"<think>hm</think> <answer>{block}</answer>"), ("mbpp/11", f"<think>hm\n{block}")],
        sandbox,
    )
    assert (strict.score, strict.format_ok, strict.lenient) == (1, True, 1)
    assert (loose.score, loose.format_ok, loose.lenient) == (0, False, 1)


# ------------------------------------------------------------------------------------------------------ EvalPlus


def plus_record(
    task_id: str, entry: str, prompt: str, solution: str, base: list[Any], plus: Any, atol: float = 0
) -> dict[str, Any]:
    return {
        "task_id": task_id, "prompt": prompt, "entry_point": entry, "canonical_solution": solution, "base_input": base, "plus_input": plus,
        "atol": atol, "contract": "", "assertion": "",
    }  # fmt: skip


def test_humaneval_plus_demands_the_plus_inputs_too(tmp_path: Path, sandbox: Sandbox) -> None:
    prompt = 'def mean(xs: list) -> float:\n    """Mean of xs, 0.0 for none."""\n'
    record = plus_record(
        "HumanEval/900",
        "mean",
        prompt,
        "    return sum(xs) / len(xs) if xs else 0.0\n",
        [[[1, 2]]],
        [[[]], [[0.1, 0.2]]],
    )
    suite = build_suite(
        f"humaneval+={write(tmp_path / 'HumanEvalPlus.jsonl.gz', [record])}", CONFIG, style="native"
    )
    head = "def mean(xs):\n    "
    replies = [
        f"{head}return sum(xs) / len(xs) if xs else 0.0",
        f"{head}return sum(xs) / len(xs)",
        f"{head}return 1.5",
        f"{head}return sum(xs) / len(xs) + 1e-9 if xs else 0",
        f"class Yes(float):\n    __eq__ = lambda self, other: True\n{head}return Yes(1)",
    ]
    found = verdicts(suite, [("HumanEval/900", reply) for reply in replies], sandbox)
    assert [each.reason for each in found] == ["passed", "failed_plus", "wrong_plus", "passed", "refused"]
    assert (
        "Mean of xs"
        in build_suite(f"humaneval+={tmp_path / 'HumanEvalPlus.jsonl.gz'}", CONFIG, style="frame")
        .items[0]
        .prompt.text
    )


def test_mbpp_plus_turns_lists_back_and_keeps_its_special_rules(tmp_path: Path, sandbox: Sandbox) -> None:
    records = [
        plus_record("Mbpp/2", "similar_elements", '"""\nShared elements.\n"""\n',
                    "\ndef similar_elements(a, b):\n    return tuple(set(a) & set(b))\n",
                    [[[1, 2, 3], [2, 3]]], [[[7], [8]]]),
        plus_record("Mbpp/794", "text_starta_endb", '"""\nMatch.\n"""\n',
                    "\nimport re\ndef text_starta_endb(text):\n    return re.search('a.*?b$', text)\n", [["aabb"]], [["x"]]),
    ]  # fmt: skip
    suite = build_suite(f"mbpp+={write(tmp_path / 'MbppPlus.jsonl', records)}", CONFIG, style="native")
    found = verdicts(
        suite,
        [
            (
                "Mbpp/2",
                "def similar_elements(a, b):\n    assert type(a) is tuple\n    return [x for x in b if x in a]",
            ),
            ("Mbpp/2", "def similar_elements(a, b):\n    return [0]"),
            ("Mbpp/794", "def text_starta_endb(text):\n    return text.startswith('a')"),
            ("Mbpp/794", "import re\ndef text_starta_endb(text):\n    return re.match('a', text)"),
            ("Mbpp/794", "def text_starta_endb(text):\n    return 'Not matched!'"),
        ],
        sandbox,
    )
    assert [each.score for each in found] == [1, 0, 1, 1, 0]
    assert as_python("Mbpp/124", ["1.5", "2j"]) == [1.5, 2j]
    assert as_python("Mbpp/115", [[[1], []]]) == [[{1}, {}]]
    assert as_python("Mbpp/580", [[1, [2, [3]]]]) == [(1, (2, (3,)))]
    assert as_python("Mbpp/999", [[1]]) == [[1]]


# ------------------------------------------------------------------------------------------------- LiveCodeBench


def packed_tests(tests: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def lcb_record(
    question_id: str, public: list[dict[str, str]], private: str, *, starter: str = "", method: str = ""
) -> dict[str, Any]:
    return {
        "question_title": "T", "question_content": "Print the sum.", "platform": "x", "question_id": question_id, "contest_id": "c",
        "contest_date": "2024-01-01", "starter_code": starter, "difficulty": "easy", "public_test_cases": json.dumps(public),
        "private_test_cases": private, "metadata": json.dumps({"func_name": method} if method else {}),
    }  # fmt: skip


def test_livecodebench_programs_and_methods(tmp_path: Path, sandbox: Sandbox) -> None:
    stdin = [
        {"input": "2\n3 4\n", "output": "7\n", "testtype": "stdin"},
        {"input": "1\n5\n", "output": "5.0", "testtype": "stdin"},
    ]
    calls = [{"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}]
    starter = "class Solution:\n    def shifted(self, xs: List[int], by: int) -> List[int]:\n        "
    records = [
        lcb_record("q1", stdin[:1], packed_tests(stdin[1:])),
        lcb_record("q2", calls, json.dumps(calls), starter=starter, method="shifted"),
    ]
    suite = build_suite(f"livecodebench={write(tmp_path / 'test.jsonl', records)}", CONFIG, style="native")
    assert [role for role, _ in suite.items[0].prompt.messages] == ["system", "user"]
    assert "# YOUR CODE HERE" in suite.items[0].prompt.text
    assert starter in suite.items[1].prompt.text
    reads = "n = int(input())\nprint(sum(map(int, sys.stdin.read().split())))"
    found = verdicts(
        suite,
        [
            ("q1", f"```python\n{reads}\n```"),
            ("q1", "```python\nif __name__ == '__main__':\n    input()\n    print(7)\n```"),
            ("q1", "```python\n1 / 0\n```"),
            ("q2", f"```python\n{starter}return tuple(x + by for x in xs)\n```"),
            ("q2", f"```python\n{starter}return xs\n```"),
            ("q2", "```python\nprint(1)\n```"),
        ],
        sandbox,
    )
    assert [each.reason for each in found] == ["passed", "wrong", "failed", "passed", "wrong", "failed"]
    assert same_lines("1 2\n 3.0 \n", "1 2\n3")
    assert not same_lines("1\n2", "1")
    assert not same_lines("a", "b")


def test_a_pickle_is_not_opened() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return print, ("opened",)

    for protocol in range(2, 6):
        assert pickled_text(pickle.dumps("text ö", protocol)) == "text ö"
        for other in (Evil(), ["a"], {"a": "b"}, 3, ("a", "b")):
            with pytest.raises(DataError, match="not opened"):
                pickled_text(pickle.dumps(other, protocol))
    with pytest.raises(DataError, match="damaged"):
        pickled_text(pickle.dumps("text")[:-3])


def test_damaged_private_tests_are_refused(tmp_path: Path) -> None:
    public = [{"input": "1", "output": "1", "testtype": "stdin"}]
    wrong = {
        "neither JSON nor base64": "no base64!",
        "damaged, or larger": base64.b64encode(zlib.compress(b"x" * 9999)[:20]).decode(),
        "damaged pickle": base64.b64encode(zlib.compress(b"\x80\x04\x95")).decode(),
        "lacks 'output'": json.dumps([{"input": "1", "testtype": "stdin"}]),
        "not mixed": json.dumps([{"input": "1", "output": "1", "testtype": "functional"}]),
    }
    for message, private in wrong.items():
        file = write(tmp_path / "test.jsonl", [lcb_record("q", public, private)])
        with pytest.raises(DataError, match=message):
            build_suite(f"livecodebench={file}", CONFIG, style="native")


EXECUTION = {
    "question_id": "1", "id": "sample_0", "function_name": "countSeniors", "difficulty": "easy", "numsteps": 3,
    "code": "def countSeniors(details: List[str]) -> int:\n    return len([a for a in details if int(a[11:13]) > 60])",
    "input": "countSeniors(details = ['7868190130M7522', '5303914400F9211'])", "output": "1",
}  # fmt: skip


def test_livecodebench_execution(tmp_path: Path, sandbox: Sandbox) -> None:
    file = tmp_path / "execution.parquet"
    pandas.DataFrame([EXECUTION]).to_parquet(file)
    spec = f"livecodebench-execution={file}"
    native, cot, framed = (
        build_suite(spec, CONFIG, style=style) for style in ("native", "native-cot", "frame")
    )
    assert (
        "assert countSeniors(details = ['7868190130M7522', '5303914400F9211']) == ??"
        in native.items[0].prompt.text
    )
    assert "[THOUGHT]" in cot.items[0].prompt.text
    assert "def f(details" in framed.items[0].prompt.text
    reply = "[ANSWER]\nassert countSeniors(details = ['7868190130M7522', '5303914400F9211']) == {}\n"
    found = verdicts(native, [("sample_0", reply.format(1)), ("sample_0", reply.format(2))], sandbox)
    assert [each.score for each in found] == [1, 0]
    strict, bare = verdicts(
        framed,
        [
            ("sample_0", "<think>h</think><answer>```output\n1\n```</answer>"),
            ("sample_0", "So the output is 1."),
        ],
        sandbox,
    )
    assert (strict.score, strict.lenient) == (1, 1)
    assert (bare.score, bare.format_ok, bare.lenient) == (0, False, 1)


# --------------------------------------------------------------------------------------------- CRUXEval and GSM8K

CRUX = [
    {
        "code": "def f(d):\n    return {'{input}': d}",
        "input": "1",
        "output": "{'{input}': 1}",
        "id": "sample_0",
    }
]


def test_cruxeval_prompts_are_the_authors(tmp_path: Path, sandbox: Sandbox) -> None:
    file = write(tmp_path / "cruxeval.jsonl", CRUX)
    output = build_suite(f"cruxeval-o={file}", CONFIG, style="native", speaker=PLAIN)
    assert output.items[0].prompt.text.endswith(
        "[PYTHON]\ndef f(d):\n    return {'{input}': d}\nassert f(1) == ??\n[/PYTHON]\n[ANSWER]\n"
    ), "braces of programs stay as they are"
    given = build_suite(f"cruxeval-i={file}", CONFIG, style="native-cot")
    assert "assert f(??) == {'{input}': 1}\n[/PYTHON]\n[THOUGHT]" in given.items[0].prompt.text
    assert [
        each.score for each in verdicts(output, [("sample_0", " assert f(1) == {'{input}': True}")], sandbox)
    ] == [1]
    found = verdicts(
        given, [("sample_0", "hm\n[ANSWER]\nassert f(1.0) == x\n[/ANSWER]"), ("sample_0", "f(2)")], sandbox
    )
    assert [each.score for each in found] == [1, 0]


def test_expressions_are_evaluated_in_the_sandbox_and_cannot_call_for_the_answer(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    file = write(
        tmp_path / "c.jsonl",
        [{"code": "def f(x):\n    return x * 2", "input": "'ab'", "output": "'abab'", "id": "a"}],
    )
    output = build_suite(f"cruxeval-o={file}", CONFIG, style="native")
    replies = [
        "'ab' * 2",
        "''.join(['ab', 'ab'])",
        "f('ab')",
        "'ab' * 3",
        "'ab' *",
        "__import__('os').getcwd()",
    ]
    found = verdicts(
        output, [("a", f"[ANSWER]\nassert f('ab') == {reply}\n[/ANSWER]") for reply in replies], sandbox
    )
    assert [each.score for each in found] == [1, 1, 0, 0, 0, 0]
    given = build_suite(f"cruxeval-i={file}", CONFIG, style="native")
    replies = ["'a' + 'b'", "x='ab'.lower()", "'a') or ('abab'", "0 or 'abab') if 0 else ('abab'"]
    found = verdicts(given, [("a", f"assert f({reply}) == 'abab'") for reply in replies], sandbox)
    assert [each.score for each in found] == [1, 1, 0, 0]


def test_untagged_cruxeval_answers_count_when_read_leniently(tmp_path: Path, sandbox: Sandbox) -> None:
    suite = build_suite(f"cruxeval-o={write(tmp_path / 'c.jsonl', CRUX)}", CONFIG, style="frame")
    [found] = verdicts(suite, [("sample_0", "```output\n{'{input}': 1}\n```")], sandbox)
    assert (found.score, found.format_ok, found.lenient) == (0, False, 1)


def test_gsm8k(tmp_path: Path, sandbox: Sandbox) -> None:
    file = write(
        tmp_path / "gsm8k.jsonl", [{"question": "1,000 and 24?", "answer": "<<1000+24=1024>>so\n#### 1,024"}]
    )
    native = build_suite(f"gsm8k={file}", CONFIG, style="native")
    assert native.items[0].prompt.text.endswith("put your final answer within \\boxed{}.")
    plain = build_suite(f"gsm8k={file}", CONFIG, style="native", speaker=PLAIN)
    assert plain.items[0].prompt.text.count("A:") == 9
    framed = build_suite(f"gsm8k={file}", CONFIG, style="frame")
    [item] = native.items
    found = verdicts(
        native,
        [(item.item_id, "\\boxed{1024}"), (item.item_id, "it is 1024.00"), (item.item_id, "1000 24")],
        sandbox,
    )
    assert [each.score for each in found] == [1, 1, 0]
    strict, loose, thought = verdicts(
        framed,
        [
            (item.item_id, text)
            for text in (
                "<think>7</think><answer>1024</answer>",
                "1024",
                "<think>1024</think><answer>5</answer>",
            )
        ],
        sandbox,
    )
    assert (strict.score, loose.score, loose.lenient) == (1, 0, 1)
    assert (thought.score, thought.lenient) == (0, 0), "the answer tag comes first"


# ----------------------------------------------------------------------------------------------------- wrong files

NEEDS_FILE = [name for name in SUITE_STYLES if name not in ("probes", "proposals", "humaneval")]


@pytest.mark.parametrize("name", NEEDS_FILE)
def test_a_wrong_file_is_told_which_field_it_lacks(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its authors' file"):
        build_suite(name, CONFIG)
    with pytest.raises(DataError, match="does not exist"):
        build_suite(f"{name}={tmp_path / 'none.jsonl'}", CONFIG)
    with pytest.raises(DataError, match=r"^https://x\.org/a\.jsonl is a URL; .* download it first; "):
        build_suite(f"{name}=https://x.org/a.jsonl", CONFIG)
    (tmp_path / "hub").mkdir()
    file = write(tmp_path / "hub" / "test.jsonl", [{"title": "x"}])
    with pytest.raises(DataError, match=f"hub is a folder; name the file in it, as {file}"):
        build_suite(f"{name}={file.parent}", CONFIG)
    with pytest.raises(ConfigError, match="names no file; is a variable of the shell not set"):
        build_suite(f"{name}=", CONFIG)
    file = write(tmp_path / "other.jsonl", [{"title": "x"}])
    with pytest.raises(DataError, match=r"row 1: field '\w+' is missing; .*This record has title"):
        build_suite(f"{name}={file}", CONFIG)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="empty"):
        build_suite(f"{name}={tmp_path / 'empty.jsonl'}", CONFIG)
    (tmp_path / "broken.jsonl").write_text('{"code": \n{"a": 1}\n')
    with pytest.raises(DataError, match="line 1"):
        build_suite(f"{name}={tmp_path / 'broken.jsonl'}", CONFIG)


def test_a_field_of_another_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1: field 'code' is not text"):
        build_suite(f"cruxeval-o={write(tmp_path / 'c.jsonl', [{**CRUX[0], 'code': 3}])}", CONFIG)
    with pytest.raises(DataError, match=r"row 1: field 'test_list' is not a list"):
        build_suite(
            f"mbpp={write(tmp_path / 'm.jsonl', [{**SANITIZED[0], 'test_list': 'assert 1'}])}", CONFIG
        )
    with pytest.raises(DataError, match="no line #### NUMBER"):
        build_suite(f"gsm8k={write(tmp_path / 'g.jsonl', [{'question': 'x', 'answer': '5'}])}", CONFIG)


# ---------------------------------------------------------------------------------------------------------- styles


def test_styles_and_who_is_not_asked(tmp_path: Path) -> None:
    assert wanted_styles("cruxeval-i=x", []) == ("native", "native-cot", "frame")
    assert wanted_styles("cruxeval-i=x", ["frame", "native"]) == ("native", "frame")
    assert wanted_styles("probes", ["native"]) == ("frame",)
    tiny = Speaker(chat=False, context=1024)
    assert "the model has 1,024" in not_asked("native", tiny)
    assert not_asked("frame", tiny) == ""
    assert not_asked("native", Speaker()) == ""
    with pytest.raises(ConfigError, match="'poem'"):
        build_suite("humaneval", CONFIG, style="poem")


def test_a_file_in_place_of_a_suites_name_is_told_how_it_is_asked(tmp_path: Path, monkeypatch) -> None:
    """It was an unknown suite."""
    write(tmp_path / "mine=1.jsonl", [{}])
    monkeypatch.chdir(tmp_path)
    for name in ("mine=1.jsonl", str(tmp_path / "mine=1.jsonl")):
        with pytest.raises(ConfigError, match=f"--suite probes={name} asks the tasks that it holds"):
            styles_of(name)
    for name in ("mine", "mine,mbpp", ","):
        with pytest.raises(ConfigError, match=f"suite '{name}' is unknown; the suites are probes, "):
            styles_of(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("humaneval,mbpp", "--suite humaneval --suite mbpp"),
        ("HumanEval", "--suite humaneval"),
        ("human_eval", "--suite humaneval"),
        ("humaneval_plus, MBPP+", "--suite humaneval+ --suite mbpp+"),
        ("HumanEval=file", "--suite humaneval"),
    ],
)
def test_another_spelling_of_a_suite_is_told_the_right_one(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"is unknown; did you mean {re.escape(meant)}\\?$"):
        styles_of(name)
