"""Is the trained model better, and than what? Pure functions of scores by task.

A model that learnt to answer in the frame's format scores higher in the frame without knowing more, and a
start that is asked in a style it does not know scores lower than it can. So what counts is each model in
*its* best way of being asked and read, task by task; what changed in form is a finding of its own.

Choosing the best of several ways flatters whoever has more of them that are nearly equal. Therefore no task
takes part in the choice that it is scored by: the tasks are split into ``FOLDS`` parts, and those of a part
are scored in the way that was best on the other parts, for both models alike. That is fair on average, but
it costs a model with two equally good ways some points when each happens to be better on other parts. So the
models are also compared with both in the way that is best for the start alone, a choice that training has no
part in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from azr.evaluate.statistics import Comparison, compare, widened
from azr.system.hashes import text_hash
from azr.wording import counted

FOLDS = 5
CHOICES = 1000
"""Resamples of the tasks in which the choice of the best way is made anew."""
CLEAR = 0.05
"""p-values below it count as clear."""
BETTER, WORSE, SAME, FORM = "better", "worse", "no difference", "form only"
Word = Literal["better", "worse", "no difference", "form only"]


Scored = Mapping[str, float]
"""By task."""
STRICT, LENIENT = "frame, strict", "frame, lenient"


@dataclass(frozen=True)
class Standing:
    """A model on a suite."""

    model: str
    ways: Mapping[str, Scored]
    """How the model was asked and its answers read -> its score on each task. ``STRICT`` and ``LENIENT`` are those inside the
    frame, where answers are read in both."""
    format: Scored = field(default_factory=dict)
    """Share of each task's answers that had the frame's format; empty where the model was not asked in the frame, or is read
    in one way only."""


@dataclass(frozen=True)
class Best:
    """A model in its best way."""

    model: str
    way: str
    """The way chosen most often."""
    score: float
    """Mean over the tasks, each in the way that was best on the others."""
    others: tuple[str, ...]
    """Ways that were best on some of the parts."""


@dataclass(frozen=True)
class Form:
    """What changed in form. Differences are those of the trained model to the start, inside the frame."""

    format: Comparison
    strict: Comparison
    lenient: Comparison

    @property
    def clear(self) -> bool:
        return self.format.p_value < CLEAR

    @property
    def share(self) -> float:
        """Of the strict difference, what is form."""
        return self.strict.difference - self.lenient.difference


@dataclass(frozen=True)
class SameWay:
    """Both models in the way that is best for the start."""

    way: str
    start: float
    trained: float
    comparison: Comparison


@dataclass(frozen=True)
class SuiteVerdict:
    suite: str
    word: Word
    start: Best
    trained: Best
    comparison: Comparison
    same_way: SameWay | None
    """None where the trained model was not asked in that way."""
    form: Form | None


def compare_models(suite: str, start: Standing, trained: Standing) -> SuiteVerdict | None:
    """The verdict on one suite; None where the models share no task."""
    shared = sorted(_tasks(start) & _tasks(trained))
    if not shared:
        return None
    before, first = in_best_way(start, shared)
    after, second = in_best_way(trained, shared)
    comparison = widened(compare(first, second), _spread_by_choice([(start, trained)], shared))
    form = _form(start, trained, shared)
    if comparison.p_value < CLEAR:
        word: Word = BETTER if comparison.difference > 0 else WORSE
    else:
        word = FORM if form is not None and form.clear else SAME
    return SuiteVerdict(suite, word, before, after, comparison, _same_way(start, trained, shared), form)


def _same_way(start: Standing, trained: Standing, tasks: Sequence[str]) -> SameWay | None:
    way = _best_way(start.ways, tasks)
    if way not in trained.ways:
        return None
    before, after = ([each.ways[way][task] for task in tasks] for each in (start, trained))
    return SameWay(way, sum(before) / len(tasks), sum(after) / len(tasks), compare(before, after))


def _best_way(ways: Mapping[str, Scored], tasks: Sequence[str]) -> str:
    """The first of equals."""
    return max(ways, key=lambda way: sum(ways[way][task] for task in tasks))


def _tasks(standing: Standing) -> set[str]:
    """Tasks that were asked in every way."""
    return set.intersection(*map(set, standing.ways.values()))


def in_best_way(standing: Standing, tasks: Sequence[str]) -> tuple[Best, list[float]]:
    """The best way, and the score of each task in the way that was best on the other parts."""
    parts = _dealt(tasks)
    chosen: dict[int, str] = {}
    for part in set(parts):
        others = [task for task, own in zip(tasks, parts, strict=True) if own != part] or tasks
        chosen[part] = _best_way(standing.ways, others)
    scores = [standing.ways[chosen[part]][task] for task, part in zip(tasks, parts, strict=True)]
    ways = [way for way, _ in Counter(chosen[part] for part in parts).most_common()]
    return Best(standing.model, ways[0], sum(scores) / len(scores), tuple(ways[1:])), scores


def _dealt(tasks: Sequence[str]) -> list[int]:
    """The part of each task: equally many in each, by chance, and the same in every evaluation of these tasks."""
    part = {task: rank % FOLDS for rank, task in enumerate(sorted(tasks, key=text_hash))}
    return [part[task] for task in tasks]


def _spread_by_choice(pairs: Sequence[tuple[Standing, Standing]], tasks: Sequence[str]) -> float:
    """How much wider than for ways fixed beforehand the error of the difference between (start, trained) is, because
    the ways were chosen by these tasks; 1 where one way of each is best by far.

    In resamples of the tasks the difference is taken twice: with the ways as they were chosen, and chosen anew. A resample
    has the chance of the tasks and that of resampling, so the choice varies in it more than in new tasks: of the variance
    that it adds, half counts. That share was chosen by simulation and is not derived: with it, models of equal skill come
    out clear about as often as ``CLEAR`` says (tests/evaluate/test_verdict.py), with all of it too rarely.
    """
    # [resamples, tasks]: how often each task was drawn
    weights = np.random.default_rng(0).poisson(1.0, (CHOICES, len(tasks))).astype(np.float64)
    parts = np.array(_dealt(tasks))
    ones = np.ones((1, len(tasks)))

    def by_part(of: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Sums [resamples, parts, ways]."""
        return np.stack([of[:, parts == part] @ scores[parts == part] for part in range(FOLDS)], axis=1)

    fixed, anew = np.zeros(CHOICES), np.zeros(CHOICES)
    for pair in pairs:
        for sign, standing in zip((-1, 1), pair, strict=True):
            scores = np.array([[way[task] for way in standing.ways.values()] for task in tasks])
            sums = by_part(weights, scores)
            for total, others in ((fixed, by_part(ones, scores)), (anew, sums)):
                chosen = (others.sum(axis=1, keepdims=True) - others).argmax(axis=2)
                chosen = np.broadcast_to(chosen, (CHOICES, FOLDS))[:, :, None]
                total += sign * np.take_along_axis(sums, chosen, axis=2).sum(axis=(1, 2))
    drawn = np.maximum(weights.sum(axis=1), 1)
    spread_fixed, spread_anew = (float((total / drawn).std()) for total in (fixed, anew))
    if spread_fixed == 0 or spread_anew <= spread_fixed:
        return 1.0
    return float(np.sqrt((1 + (spread_anew / spread_fixed) ** 2) / 2))


def _form(start: Standing, trained: Standing, tasks: Sequence[str]) -> Form | None:
    if not start.format or not trained.format:
        return None

    def compared(before: Scored, after: Scored) -> Comparison:
        return compare([before[task] for task in tasks], [after[task] for task in tasks])

    return Form(
        format=compared(start.format, trained.format),
        strict=compared(start.ways[STRICT], trained.ways[STRICT]),
        lenient=compared(start.ways[LENIENT], trained.ways[LENIENT]),
    )


def compare_together(
    pairs: Sequence[tuple[Standing, Standing]],
) -> tuple[Comparison, Comparison | None] | None:
    """Start and trained model on several suites that ask about the same tasks: each in its best way, and both in the
    start's (None where one was not asked in it). Ways are chosen suite by suite. What is compared is each task's mean
    over the suites, because a task's answers in two suites are no two independent tasks. None where the suites share
    no task.
    """
    best: list[list[Scored]] = []
    same: list[list[Scored]] = []
    for start, trained in pairs:
        tasks = sorted(_tasks(start) & _tasks(trained))
        chosen = (in_best_way(standing, tasks)[1] for standing in (start, trained))
        best.append([dict(zip(tasks, scores, strict=True)) for scores in chosen])
        if (way := _best_way(start.ways, tasks)) in trained.ways:
            same.append([start.ways[way], trained.ways[way]])
    shared = sorted(set.intersection(*(set(start) for start, _ in best)))
    if not shared:
        return None
    chosen_freely = widened(_compare_means(best, shared), _spread_by_choice(pairs, shared))
    return chosen_freely, _compare_means(same, shared) if len(same) == len(pairs) else None


def _compare_means(suites: Sequence[Sequence[Scored]], tasks: Sequence[str]) -> Comparison:
    """Of (start, trained) by suite."""
    before, after = (
        [sum(suite[side][task] for suite in suites) / len(suites) for task in tasks] for side in (0, 1)
    )
    return compare(before, after)


def sentences(verdict: SuiteVerdict, start_format: float, trained_format: float) -> list[str]:
    """The verdict in words, and a line on form where there is a frame.

    Args:
        start_format, trained_format: shares of all answers inside the frame that had its format.
    """
    comparison, start, trained = verdict.comparison, verdict.start, verdict.trained
    lines = [
        f"{verdict.suite}: {_HEADLINES[verdict.word]}. Each in its best style: {trained.model} {trained.score:.1%} ({_way(trained)}), "
        f"{start.model} {start.score:.1%} ({_way(start)}); difference {_points(comparison)} on {counted(comparison.n, 'task')}, "
        f"better on {comparison.only_second}, worse on {comparison.only_first}; {comparison.test} p = {comparison.p_value:.3g}"
    ]
    same = verdict.same_way
    if same is not None and {(start.way, *start.others), (trained.way, *trained.others)} != {(same.way,)}:
        lines.append(
            f"{verdict.suite}, both in {start.model}'s best style ({same.way}): {trained.model} {same.trained:.1%}, {start.model} "
            f"{same.start:.1%}; difference {_points(same.comparison)}; {same.comparison.test} p = {same.comparison.p_value:.3g}"
        )
    if verdict.form is not None:
        form = verdict.form
        change = "clearly gained" if form.format.difference > 0 else "clearly lost"
        said = f"{change if form.clear else 'no clear change'} (p = {form.format.p_value:.3g})"
        lines.append(
            f"{verdict.suite}, form: answers in the frame's format {start_format:.0%} -> {trained_format:.0%}, {said}; inside the frame "
            f"read strictly {form.strict.difference * 100:+.1f} points, of which {form.share * 100:+.1f} are form and "
            f"{form.lenient.difference * 100:+.1f} remain when read leniently"
        )
    return lines


def sentence_together(
    suites: Sequence[str], start: str, trained: str, best: Comparison, same: Comparison | None
) -> str:
    """The comparison of several suites at once, in words."""
    parts = [f"each in its best style {_points(best)}, {best.test} p = {best.p_value:.3g}"]
    if same is not None:
        parts.append(f"both in {start}'s best style {_points(same)}, p = {same.p_value:.3g}")
    where = f"{' and '.join(suites)} together ({counted(best.n, 'task')})"
    return f"{where}, {trained} against {start}: {'; '.join(parts)}"


_HEADLINES = {
    BETTER: "better",
    WORSE: "worse",
    SAME: "no difference that these tasks can show",
    FORM: "form only, no difference in what is solved that these tasks can show",
}


def _way(best: Best) -> str:
    return f"{best.way}; {', '.join(best.others)} on some parts" if best.others else best.way


def _points(comparison: Comparison) -> str:
    return f"{comparison.difference * 100:+.1f} points (95 % interval {comparison.low * 100:+.1f} to {comparison.high * 100:+.1f})"


EXPLANATION = (
    "Verdicts compare each model in its best style and reading, task by task. So that this choice favours neither model, "
    f"the tasks are split into {FOLDS} parts, and each part is scored in the style that was best on the other parts."
)
