"""Verdicts on planted truths: what was put in is what is found, and the choice of the best style flatters
nobody."""

from __future__ import annotations

import numpy as np
import pytest

from azr.evaluate import statistics
from azr.evaluate import verdict as verdict_module
from azr.evaluate.scoring import Scores
from azr.evaluate.summary import verdict_lines
from azr.evaluate.verdict import (
    BETTER,
    FORM,
    LENIENT,
    SAME,
    STRICT,
    WORSE,
    Standing,
    _dealt,
    compare_models,
    in_best_way,
    sentences,
)

TASKS = 600


def coins(random: np.random.Generator, share: float, n: int = TASKS) -> np.ndarray:
    return (random.random(n) < share).astype(float)


def standing(model: str, native: np.ndarray | None, solved: np.ndarray, formatted: np.ndarray) -> Standing:
    """A model that solves ``solved`` in the frame, and has its format on ``formatted``."""

    def by_task(values: np.ndarray) -> dict[str, float]:
        return {f"task-{number}": float(value) for number, value in enumerate(values)}

    strict, lenient = by_task(solved * formatted), by_task(solved)
    ways = {} if native is None else {"native": by_task(native)}
    return Standing(model, ways | {STRICT: strict, LENIENT: lenient}, by_task(formatted))


def test_a_model_that_lost_only_its_form_is_a_matter_of_form() -> None:
    random = np.random.default_rng(1)
    solved = coins(random, 0.6)
    lost, whole = (
        standing("lost", None, solved, coins(random, 0.2)),
        standing("whole", None, solved, coins(random, 0.98)),
    )
    for start, trained, change in ((lost, whole, "gained"), (whole, lost, "lost")):
        verdict = compare_models("suite", start, trained)
        assert verdict is not None
        assert verdict.form is not None
        assert verdict.word == FORM
        assert abs(verdict.comparison.difference) < 0.02, "no gain"
        assert abs(verdict.form.strict.difference) > 0.4
        assert verdict.form.share == pytest.approx(verdict.form.strict.difference)
        headline, form = sentences(verdict, 0.2, 0.98)
        assert headline.startswith("suite: form only")
        assert f"clearly {change}" in form


def test_a_model_against_itself_is_no_difference() -> None:
    random = np.random.default_rng(2)
    model = standing("model", coins(random, 0.5), coins(random, 0.55), coins(random, 0.8))
    verdict = compare_models("suite", model, model)
    assert verdict is not None
    assert verdict.word == SAME
    assert (verdict.comparison.difference, verdict.comparison.p_value) == (0, 1)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_gain_of_eight_points_is_found_with_its_interval(sign: int) -> None:
    random = np.random.default_rng(3)
    before = coins(random, 0.5)
    # 12 of 100 tasks are won and 4 lost
    after = np.where(before == 1, coins(random, 0.92), coins(random, 0.24))
    start = standing("start", before, coins(random, 0.3), coins(random, 0.1))
    trained = standing("trained", coins(random, 0.4), after, np.ones(TASKS))
    verdict = compare_models("suite", start, trained) if sign > 0 else compare_models("suite", trained, start)
    assert verdict is not None
    assert verdict.word == (BETTER if sign > 0 else WORSE)
    assert verdict.comparison.low < sign * 0.08 < verdict.comparison.high
    best = {verdict.start.model: verdict.start.way, verdict.trained.model: verdict.trained.way}
    assert best == {"start": "native", "trained": "frame, strict"}


def test_the_choice_of_the_best_way_flatters_nobody() -> None:
    """A start with one way against a model with four that are equally good: the naive difference of the best
    is above 0."""
    random = np.random.default_rng(4)
    tasks = [str(number) for number in range(60)]
    naive, ours = [], []
    for _ in range(300):
        start, *ways = (dict(zip(tasks, coins(random, 0.5, 60), strict=True)) for _ in range(5))
        first = Standing("start", {"native": start})
        second = Standing("trained", {str(number): scores for number, scores in enumerate(ways)})
        naive.append(max(sum(scores.values()) for scores in ways) / 60 - sum(start.values()) / 60)
        ours.append(np.mean(in_best_way(second, tasks)[1]) - np.mean(in_best_way(first, tasks)[1]))
    standard_error = float(np.std(ours)) / np.sqrt(len(ours))
    assert np.mean(naive) > 0.05
    assert abs(np.mean(ours)) < 3 * standard_error


def test_models_of_equal_skill_are_rarely_told_apart_whatever_style_is_chosen(monkeypatch) -> None:
    """Two styles that are nearly equal: 9 % of these pairs were "better" or "worse", and the 95 % interval held the
    difference of 0 in 88 %, since neither knew that other tasks could have led to another style."""
    monkeypatch.setattr(statistics, "RESAMPLES", 500)
    monkeypatch.setattr(verdict_module, "CHOICES", 200)
    random = np.random.default_rng(5)
    tasks = [str(number) for number in range(300)]

    def model(name: str, skill: np.ndarray) -> Standing:
        answers = ((random.random(300) < share * skill).astype(float) for share in (1, 0.96))
        ways = {str(number): dict(zip(tasks, each, strict=True)) for number, each in enumerate(answers)}
        return Standing(name, ways)

    clear, held = [], []
    for _ in range(400):
        skill = random.beta(0.5, 0.6, 300)
        found = compare_models("suite", model("start", skill), model("trained", skill))
        assert found is not None
        clear.append(found.word != SAME)
        held.append(found.comparison.low <= 0 <= found.comparison.high)
    assert np.mean(clear) < 0.07
    assert np.mean(held) > 0.93


def test_a_style_that_is_best_by_far_leaves_the_exact_test_as_it_is() -> None:
    random = np.random.default_rng(6)
    tasks = [str(number) for number in range(300)]
    start, trained = (dict(zip(tasks, coins(random, share, 300), strict=True)) for share in (0.5, 0.62))
    far = dict.fromkeys(tasks, 0.0)
    one, two = (
        compare_models("suite", *(Standing("m", {"a": each, **rest}) for each in (start, trained)))
        for rest in ({}, {"b": far})
    )  # fmt: skip
    assert one is not None and two is not None and one.comparison == two.comparison
    assert one.comparison.test == "exact McNemar"


def test_models_without_a_shared_task_have_no_verdict() -> None:
    first, second = (Standing("m", {"native": {task: 1.0}}) for task in "ab")
    assert compare_models("suite", first, second) is None


def test_one_task_is_enough_for_a_verdict() -> None:
    model = Standing("m", {"native": {"a": 1.0}})
    verdict = compare_models("suite", model, model)
    assert verdict is not None
    assert verdict.word == SAME


def test_two_equally_good_styles_do_not_hide_a_gain_in_the_starts_style() -> None:
    """The trained model is right on half of the tasks in either style, and in each part of the tasks the style
    that is better elsewhere is the worse one."""
    tasks = [str(number) for number in range(100)]
    parts = _dealt(tasks)
    cot = {
        task: float(part in (0, 1) or (part == 4 and int(task) % 2))
        for task, part in zip(tasks, parts, strict=True)
    }
    frame = {task: 1 - score for task, score in cot.items()}
    before = {task: float(part == 0) for task, part in zip(tasks, parts, strict=True)}
    start = Standing("start", {"native-cot": before, "frame": dict.fromkeys(tasks, 0.0)})
    trained = Standing("trained", {"native-cot": cot, "frame": frame})

    verdict = compare_models("suite", start, trained)

    assert verdict is not None
    assert verdict.same_way is not None
    assert verdict.same_way.way == "native-cot"
    assert verdict.same_way.comparison.difference == pytest.approx(np.mean(list(cot.values())) - 0.2)
    assert verdict.comparison.difference < verdict.same_way.comparison.difference - 0.2
    assert any("both in start's best style (native-cot)" in line for line in sentences(verdict, 0.0, 0.0))


def test_both_cruxevals_are_also_compared_as_one() -> None:
    def scores(suite: str, model: str, right: int) -> Scores:
        return Scores(suite, model, 1, {}, {}, 1.0, 0.0, 1.0, {str(n): float(n < right) for n in range(100)})

    suites = ("cruxeval-i", "cruxeval-o")
    results = [scores(suite, *model) for suite in suites for model in (("start", 30), ("trained", 36))]

    lines, records = verdict_lines(results)
    [joint] = [line for line in lines if " together (" in line]
    alone = records[0]["comparison"]["p_value"]
    assert joint.startswith(
        "cruxeval-i and cruxeval-o together (100 tasks), trained against start: each in its best style +6.0 points"
    )
    assert joint.count(f"p = {alone:.3g}") == 2, "a task that is asked twice is no second task"
    assert not any(" together (" in line for line in verdict_lines(results[:2])[0])


def test_cruxevals_without_a_shared_program_are_not_compared_as_one() -> None:
    results = [
        Scores(suite, model, 1, {}, {}, 1.0, 0.0, 1.0, {f"{suite}-{n}": float(n < 3) for n in range(9)})
        for suite in ("cruxeval-i", "cruxeval-o")
        for model in ("start", "trained")
    ]
    lines, records = verdict_lines(results)
    assert len(records) == 2
    assert not any(" together (" in line for line in lines)


def test_models_that_were_asked_otherwise_get_no_verdict() -> None:
    """A model that was cut off after half as many tokens was "worse", p = 2e-06."""

    def scores(style: str, model: str, right: int, otherwise: str = "") -> Scores:
        each = {str(n): float(n < right) for n in range(100)}
        return Scores("suite", model, 1, {}, {}, 1.0, 0.0, 1.0, each, style=style, otherwise=otherwise)

    cut = scores("frame", "cut", 30, "not asked as start is: answers within 24, not 48 tokens")
    [told], records = verdict_lines([scores("frame", "start", 60), cut])
    assert told.startswith("suite, frame: no verdict, since cut was not asked as start was") and not records

    start = [scores("native", "start", 10), scores("frame", "start", 60)]
    lines, [record] = verdict_lines([*start, scores("native", "cut", 40), cut])
    assert lines[0] == told
    assert record["word"] == BETTER and record["start"]["way"] == record["trained"]["way"] == "native"
