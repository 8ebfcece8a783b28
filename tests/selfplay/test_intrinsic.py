import pytest
from selfplay_helpers import task

from azr.config.selfplay import IntrinsicConfig
from azr.selfplay.intrinsic import cognitive_complexity, edit_distance, halstead, program_terms
from azr.selfplay.type_counts import MAX_VALUES, TypeCounts, type_of

PLAIN = "def f(x):\n    return x"
KNOTTY = (
    "def f(x):\n    t = 0\n    for i in range(x):\n        if i % 2:\n            for j in range(i):\n"
    "                if j % 3 and i > 2 or j == 1:\n                    t += i * j - x ** 2\n    return t"
)


def test_measures_order_programs_by_difficulty():
    assert 0 == cognitive_complexity(PLAIN) < cognitive_complexity(KNOTTY)
    assert 0 <= halstead(PLAIN) < halstead(KNOTTY) <= 1


@pytest.mark.parametrize(
    "broken", ["def f(", "", "x" * 10, "\x00", "def f(x):\n\treturn x\n        return y"]
)
def test_measures_of_broken_programs_are_zero(broken):
    assert (
        cognitive_complexity(broken) == 0
        and halstead(broken) >= 0
        and 0 <= edit_distance(broken, [PLAIN]) <= 1
    )


def test_edit_distance():
    assert edit_distance(PLAIN, [PLAIN]) == 0
    near, far = edit_distance(PLAIN, ["def f(x):\n    return x + 1"]), edit_distance(PLAIN, [KNOTTY])
    assert 0 < near < far < 1
    assert edit_distance(PLAIN, [PLAIN, KNOTTY]) == pytest.approx(far / 2)
    assert edit_distance(PLAIN, []) == 0


def test_only_enabled_terms_are_computed_and_capped():
    assert program_terms(task(KNOTTY), [task(PLAIN)], IntrinsicConfig()) == {}
    terms = program_terms(
        task(KNOTTY), [task(PLAIN)], IntrinsicConfig(complexity=100.0, complexity_max=0.3, edit_distance=0.5)
    )
    assert (
        terms["complexity"] == 0.3
        and 0 < terms["edit_distance"] <= 0.5
        and set(terms) == {"complexity", "edit_distance"}
    )


def test_types():
    assert [type_of(text) for text in ("1", "1, 2", "'a'", "[1]", "Counter()", "", "None")] == [
        "int",
        "tuple",
        "str",
        "list",
        "str",
        "str",
        "NoneType",
    ]


def test_rarity():
    counts = TypeCounts()
    assert counts.rarity("output", "1", hierarchical=False) == 1
    for text in ["1"] * 6 + ["2", "'a'", "'b'", "'c'"]:
        counts.add("output", text)
    assert counts.rarity("output", "1", hierarchical=False) == pytest.approx(0.4)
    assert counts.rarity("output", "'z'", hierarchical=False) == 1
    assert counts.rarity("output", "2", hierarchical=True) == pytest.approx(
        0.5 * (1 - 7 / 10) + 0.5 * (1 - 1 / 7)
    )
    again = TypeCounts.from_json(counts.to_json())
    assert again.metrics() == counts.metrics() and counts.metrics()["types/output/distinct_types"] == 2


def test_counts_are_bounded():
    counts = TypeCounts()
    for number in range(MAX_VALUES + 5000):
        counts.add("input", str(number))
    assert counts.metrics()["types/input/distinct_values"] <= MAX_VALUES
