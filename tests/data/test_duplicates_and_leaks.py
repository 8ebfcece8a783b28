"""Which copies are found, which of them stays, and what counts as a leak."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from data_helpers import LONG, numbered, quiet, task, write_tasks
from datasketch import MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Indel

from azr.config.sandbox import SandboxConfig
from azr.data.behaviour import BehaviourStore, bank, drop_behavioural, sandbox_outputs, signature, type_text
from azr.data.contamination import EvaluationItem, LeakIndex, evaluation_items, fingerprint_sources
from azr.data.duplicates import LSH_BANDS_ROWS, NearIndex, drop_duplicates
from azr.data.fingerprints import PERMUTATIONS, fingerprint_all, gram_hashes, make_fingerprint, tokens_of
from azr.data.spread import PARALLEL_FROM
from azr.sandbox.values import parse_arguments
from azr.tasks import Task, TaskType

RENAMED = (
    LONG.replace("total", "amount")
    .replace("seen", "table")
    .replace("    amount = n\n", "    # start\n    amount = n\n")
)
EDITED = LONG.replace("item * index", "item + index")
OTHER = """def f(items, n):
    stack = []
    for item in reversed(items):
        while stack and stack[-1] < item:
            stack.pop()
        stack.append(item - n)
    text = "".join(str(value) for value in stack)
    return text.replace("1", "one").split("0")
"""


def split(tasks: list[Task], **changes: object) -> tuple[list[Task], list[tuple[str, str]]]:
    prints = fingerprint_all(item.program for item in tasks)
    kept, dropped = drop_duplicates(tasks, prints, quiet(**changes))
    return kept, [(item.reason.value, item.copy_of) for item in dropped]


@pytest.mark.parametrize(
    ("code", "argument", "reason"),
    [
        (LONG + "\n", "[1,2],  3", "duplicate_exact"),
        (RENAMED, "[1, 2], 3", "duplicate_renamed"),
        (EDITED, "[4], 4", "duplicate_near"),
    ],
)
def test_copies_are_found_and_named(code: str, argument: str, reason: str) -> None:
    first, copy = task(LONG, "[1, 2], 3", accuracy=0.5), task(code, argument)
    kept, dropped = split([copy, first, task(OTHER, "[1, 2], 3")])
    assert first in kept and len(kept) == 2
    assert dropped == [(reason, first.task_id)]


def test_the_better_copy_stays() -> None:
    mastered = task(LONG, "[1], 1", accuracy=1.0, cycle=3, step=9)
    middle = task(RENAMED, "[1], 1", accuracy=0.5, cycle=1, step=1)
    newer = task(EDITED, "[1], 1", accuracy=0.25, cycle=2, step=5)
    kept, dropped = split([mastered, middle, newer])
    assert kept == [newer]
    assert {copy_of for _, copy_of in dropped} == {newer.task_id}


LINES = (
    "n += len(items)",
    "items = items[n:]",
    "n = n * 3 - 1",
    "items.append(n)",
    "items = sorted(items)",
    "n = max(items, default=n)",
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(LINES), min_size=8, max_size=14), min_size=2, max_size=12),
    st.sampled_from((0.6, 0.8, 0.9)),
)
def test_the_filter_before_the_edit_distance_loses_nothing(
    bodies: list[list[str]], similarity: float
) -> None:
    prints = [
        make_fingerprint("def f(items, n):\n    " + "\n    ".join(body) + "\n    return items, n\n")
        for body in bodies
    ]
    index, plain = NearIndex(similarity), MinHashLSH(num_perm=PERMUTATIONS, params=LSH_BANDS_ROWS)
    for number, print_ in enumerate(prints):
        near = [
            str(other)
            for other in sorted(plain.query(print_.minhash()))  # type: ignore[arg-type]
            if Indel.normalized_similarity(print_.tokens, prints[other].tokens, score_cutoff=similarity) > 0
        ]
        assert index.find(print_) == (near[0] if near else "")
        index.add(print_, str(number))
        plain.insert(number, print_.minhash())  # type: ignore[arg-type]


def test_the_index_grows() -> None:
    index = NearIndex(0.9)
    distinct = [
        make_fingerprint(f"def f(x):\n    return x.{'abcdefghij'[i // 120]}{i}({', '.join(['x'] * 20)})")
        for i in range(1200)
    ]
    for number, print_ in enumerate(distinct):
        index.add(print_, str(number))
    assert [index.find(distinct[number]) != "" for number in (0, 1023, 1024, 1199)] == [True] * 4


def test_programs_spread_over_processes_come_back_in_order() -> None:
    sources = [f"def f(x):\n    return x + {number}" for number in range(PARALLEL_FROM + 1)] + ["def f("]
    alone, spread = fingerprint_all(sources, workers=1), fingerprint_all(sources, workers=2)
    assert list(alone) == list(spread) == sources
    assert all(replace(alone[s], signature=0) == replace(spread[s], signature=0) for s in sources)  # type: ignore[arg-type]
    assert all((alone[source].signature == spread[source].signature).all() for source in sources)


def test_fingerprints_and_leaks_in_one_pass(tmp_path: Path) -> None:
    items = write_tasks(tmp_path / "eval.jsonl", [{"code": LONG}])
    prints, leaks = fingerprint_sources([RENAMED, OTHER, "def f(", RENAMED], [items], 0.6)
    assert list(prints) == [RENAMED, OTHER, "def f("] and leaks == {RENAMED: "eval.jsonl:1"}
    assert prints[OTHER].canonical == make_fingerprint(OTHER).canonical


def test_short_programs_are_not_called_near_copies() -> None:
    kept, dropped = split([numbered(index) for index in range(10)])
    assert len(kept) == 10 and not dropped


def test_caps_per_program_and_per_shape() -> None:
    inputs = [task(LONG, f"[{index}], 1") for index in range(5)]
    assert [reason for reason, _ in split(inputs, max_inputs_per_program=3)[1]] == ["program_cap"] * 2
    constants = [task(f"def f(x):\n    return x * {index}", "1") for index in range(5)]
    assert [reason for reason, _ in split(constants, max_per_shape=4)[1]] == ["shape_cap"]
    assert not split(inputs + constants, max_inputs_per_program=0, max_per_shape=0)[1]


def test_other_task_types_are_no_copies() -> None:
    both = [task(LONG, "[1], 1"), replace(task(LONG, "[1], 1"), task_type=TaskType.ABDUCTION)]
    assert len(split(both)[0]) == 2


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_a_fingerprint(source: str) -> None:
    prints = make_fingerprint(source)
    assert prints.signature.shape == (128,)
    assert make_fingerprint(source).canonical == prints.canonical


def test_tokens_hide_own_names_and_keep_everything_else() -> None:
    left, shape = tokens_of('v1 = v2 + 10\nv1.append("it\'s")')
    right, same_shape = tokens_of("v7 = v7 + 11\nv1.append('x')")
    assert len(left) == len(right) == 12
    assert Indel.distance(left, right) == 4 and shape.replace("v1", "v7").count("0") == same_shape.count("0")
    assert len(gram_hashes(left)) == 8 and len(gram_hashes(left[:3])) == 1 and len(gram_hashes("")) == 0


@pytest.mark.parametrize(
    "code", [LONG, RENAMED, EDITED, LONG.replace("def f", "def helper") + "\n\n" + OTHER]
)
def test_leaks_are_found_verbatim_renamed_edited_and_embedded(code: str) -> None:
    index = LeakIndex([EvaluationItem("eval.jsonl:7", LONG)], 0.6)
    assert index.leaks([make_fingerprint(code), make_fingerprint(OTHER)]) == ["eval.jsonl:7", ""]


def test_programs_are_found_whatever_the_columns_are_called(tmp_path: Path) -> None:
    rows = [
        {"question": "Sort it.", "answer": f"Like this:\n```python\n{OTHER}```\n"},
        {
            "prompt": "def f(items, n):\n    '''Doc.'''\n",
            "canonical_solution": "    return sorted(items)[:n]\n",
            "test": "assert True",
        },
        {"nested": {"list": [LONG, "no program"]}},
    ]
    items = evaluation_items([write_tasks(tmp_path / "mixed.jsonl", rows)])
    assert [item.name for item in items] == ["mixed.jsonl:1", "mixed.jsonl:2", "mixed.jsonl:3"]
    assert items[1].source.endswith("sorted(items)[:n]\n")


def test_signatures_and_banks() -> None:
    found = signature(task(argument="[1, 2], 'a', {'k': (1, 2.5)}"))
    assert found is not None and found[0] == "list[int], str, dict[str, tuple[int, float]]"
    assert type_text([]) == "list[any]" and type_text([1, "a"]) == "list[any]"
    assert signature(task(argument="x=1")) is None and signature(task(argument="open('x')")) is None
    inputs = bank(*found)
    assert inputs == bank(*found) and len(set(inputs)) > 10
    one, other = (signature(task(argument=text)) for text in ("b'a', [1]", "b'b', [2]"))
    assert one is not None and other is not None and one[0] == other[0] and bank(*one) != bank(*other), (
        "bytes are not drawn"
    )
    for text in inputs:
        positional, _ = parse_arguments(text)
        assert [type(value).__name__ for value in positional] == ["list", "str", "dict"]


def test_same_behaviour_in_other_code_is_found_and_remembered(tmp_path: Path) -> None:
    loop = task(
        "def f(s, n):\n    out = ''\n    for ch in s:\n        out = ch + out\n    return out * (n % 3) + s",
        "'abc', 2",
        "'cbacbaabc'",
    )
    slices = task("def f(s, n):\n    return s[::-1] * (n % 3) + s", "'abcd', 1", "'dcbaabcd'", accuracy=0.5)
    markup = task(
        "def f(s, n):\n    return (s[::-1] * (n % 3) + s).replace('<b>', '')", "'<b>', 0", "''", accuracy=0.4
    )
    predicate = [
        task(f"def f(s):\n    return {text}", "'a'", "False") for text in ("len(s) > 90", "s.count('q') > 9")
    ]
    tasks = [loop, slices, markup, *predicate]
    prints = fingerprint_all(item.program for item in tasks)
    outputs = sandbox_outputs(SandboxConfig())
    kept, dropped = drop_behavioural(tasks, prints, BehaviourStore(tmp_path / "b.jsonl"), outputs)
    assert [(item.task, item.copy_of) for item in dropped] == [(loop, slices.task_id)]
    assert markup in kept, "it differs on its own input, which no random text holds"
    assert all(item in kept for item in predicate), "predicates agree by chance"

    def never(pairs: object) -> object:
        raise AssertionError(f"executed again: {pairs}")

    again, _ = drop_behavioural(tasks, prints, BehaviourStore(tmp_path / "b.jsonl"), never)  # type: ignore[arg-type]
    assert again == kept
    settled, _ = drop_behavioural(
        tasks, prints, BehaviourStore(tmp_path / "new"), never, settled={item.task_id for item in tasks}
    )  # type: ignore[arg-type]
    assert len(settled) == len(tasks)
