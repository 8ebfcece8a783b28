"""The summary of an evaluation: a table of its scores, and what the comparisons of its models say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from azr.evaluate.scoring import Scores, cells
from azr.evaluate.statistics import Comparison, compare
from azr.evaluate.verdict import (
    EXPLANATION,
    LENIENT,
    Standing,
    compare_models,
    compare_together,
    sentence_together,
    sentences,
)


def compare_scores(first: Scores, second: Scores) -> Comparison | None:
    """Paired, in one style, on the items that both answered; None where they share none."""
    shared = [item_id for item_id in first.item_scores if item_id in second.item_scores]
    before, after = ([scores.item_scores[item_id] for item_id in shared] for scores in (first, second))
    return compare(before, after) if shared else None


def standing(results: Sequence[Scores]) -> Standing:
    """What ``azr.evaluate.verdict`` looks at, from a model's scores on one suite in all its styles."""
    ways: dict[str, Mapping[str, float]] = {}
    formed: Mapping[str, float] = {}
    for scores in results:
        ways[scores.way] = scores.item_scores
        if scores.lenient:
            ways[LENIENT], formed = scores.lenient_item_scores, scores.format_item_shares
    return Standing(results[0].model, ways, formed)


_COLUMNS = ["suite", "model", "style", "measure", "score", "95 % interval", "n", "format", "cut", "too long"]
_SIDES = "<<<<><>>>>"
"""To which side each column's texts stand."""


def score_table(results: Sequence[Scores]) -> str:
    """A plain table: a line for each suite, model, style and measure, and one for the lenient reading of
    answers in a frame."""
    rows = [_COLUMNS]
    for result in results:
        start, style = [result.suite, result.model], result.way
        form = "" if result.style != "frame" else f"{result.format_ok:.0%}"
        cut = "" if result.cut is None else f"{result.cut:.0%}"
        shares = [form, cut, str(result.too_long)]
        for name, estimate in result.estimates.items():
            rows.append([*start, style, name, *cells(estimate), *(["", "", ""] if "/" in name else shares)])
        for name, estimate in result.lenient.items():
            if "/" not in name:
                rows.append([*start, LENIENT, name, *cells(estimate), "", "", ""])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = "  ".join(f"{{:{side}{width}}}" for side, width in zip(_SIDES, widths, strict=True))
    head, *lines = (line.format(*row).rstrip() for row in rows)
    return "\n".join([head, "-" * len(head), *lines])


def legend(results: Sequence[Scores]) -> str:
    """A line on what the columns of ``score_table`` mean, for those who see them for the first time."""
    right = "valid proposals" if all(result.suite == "proposals" for result in results) else "right answers"
    several = "; pass@k: one of k answers is right" if any(result.samples > 1 for result in results) else ""
    readings = "; strict: an answer counts in the frame's format only, lenient: wherever it is"
    readings = readings if any(result.lenient for result in results) else ""
    return (
        f"pass@1: {right}{several}{readings}; n: items; format: has the think and answer tags; cut: ended by the length limit; "
        "too long: prompts over the limit"
    )


def notes(results: Sequence[Scores]) -> list[str]:
    """What has to be known beside the figures, a line each."""
    told = (f"{result.suite}, {result.model}: {note}" for result in results for note in result.notes)
    return list(dict.fromkeys(told))


TOGETHER = ("cruxeval-i", "cruxeval-o")
"""Suites that are also compared as one: the same programs under the same names, asked both ways."""


def verdict_lines(results: Sequence[Scores]) -> tuple[list[str], list[dict[str, Any]]]:
    """Sentences and records: every other model against the first, suite by suite, in the styles that both were asked alike."""
    lines: list[str] = []
    records: list[dict[str, Any]] = []
    together: dict[tuple[str, str], dict[str, tuple[Standing, Standing]]] = {}
    for suite, before, after in _model_pairs(results):
        unlike = [scores.style for scores in after if scores.otherwise]
        if unlike:
            lines.append(
                f"{suite}, {' and '.join(unlike)}: no verdict, since {after[0].model} was not asked as {before[0].model} was (see "
                "above); what these scores differ by does not compare the models"
            )
        first, other = ([each for each in model if each.style not in unlike] for model in (before, after))
        if not first or not other:
            continue
        pair = standing(first), standing(other)
        start, trained = (each.model for each in pair)
        verdict = compare_models(suite, *pair)
        if verdict is None:
            lines.append(
                f"{suite}: {trained} is not compared with {start}, since they were asked different items; "
                f"--suite {suite}=FILE gives both the same"
            )
            continue
        lines += sentences(verdict, _format_of(first), _format_of(other))
        asked = [set(scores.item_scores) for scores in (first[0], other[0])]
        if asked[0] != asked[1]:
            lines.append(
                f"{suite}: the scores of {start} and {trained} in the table are of different items, of which "
                f"they share {len(asked[0] & asked[1])}; --suite {suite}=FILE gives both the same"
            )
        records.append(asdict(verdict))
        if suite in TOGETHER:
            together.setdefault((start, trained), {})[suite] = pair
    for (start, trained), pairs in together.items():
        joint = compare_together(list(pairs.values())) if len(pairs) == len(TOGETHER) else None
        if joint is not None:
            lines.append(sentence_together(list(pairs), start, trained, *joint))
    return [*lines, *([EXPLANATION] if records else [])], records


def _model_pairs(results: Sequence[Scores]) -> Iterator[tuple[str, list[Scores], list[Scores]]]:
    """Suite by suite the first model and each other one, with their scores in all styles."""
    suites: dict[str, dict[str, list[Scores]]] = {}
    for scores in results:
        suites.setdefault(scores.suite, {}).setdefault(scores.model, []).append(scores)
    for suite, models in suites.items():
        first, *others = models.values()
        yield from ((suite, first, other) for other in others)


def _format_of(results: Sequence[Scores]) -> float:
    return next((scores.format_ok for scores in results if scores.lenient), 0.0)
