"""From answers to scores: judged in the sandbox, added up, compared, printed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tqdm.asyncio import tqdm

from azr.evaluate.answers import Answer
from azr.evaluate.items import Item, Rating, Suite
from azr.evaluate.statistics import Comparison, ScoreEstimate, compare, pass_at_k, share_or_mean
from azr.evaluate.verdict import (
    EXPLANATION,
    Standing,
    Way,
    compare_models,
    compare_together,
    sentence_together,
    sentences,
)
from azr.sandbox import Sandbox

TOO_LONG = Rating(0.0, "prompt_too_long", False, "")
IN_FLIGHT = 64
"""Answers judged at once; the sandbox queues what it cannot run yet."""


@dataclass(frozen=True)
class Judged:
    """One answer with its verdict."""

    answer: Answer
    verdict: Rating

    def to_json(self) -> dict[str, Any]:
        return {"id": self.answer.item_id, "sample": self.answer.sample, **asdict(self.verdict)}


@dataclass(frozen=True)
class Scores:
    """What a model scored on a suite."""

    suite: str
    model: str
    samples: int
    """Answers per item."""
    estimates: dict[str, ScoreEstimate]
    """``pass@1`` ...; for one answer an item pass@1 is the accuracy. By kind as ``pass@1/<kind>`` where there
    are several kinds."""
    reasons: dict[str, int]
    """Answers by verdict."""
    format_ok: float
    """Share of answers with the think and answer tags."""
    cut: float | None
    """Share of answers cut at the response limit; None for recorded ones that do not say it."""
    mean_tokens: float
    """Tokens of an answer. As format and cut, over the answers that were given: not over prompts that were
    too long to be asked."""
    item_scores: dict[str, float]
    """Mean score of each item's answers: what a paired comparison takes."""
    left_out: Sequence[str] = ()
    too_long: int = 0
    """Items whose prompt, as first drafted, did not fit the model's limit; ``notes`` say what became of them."""
    style: str = "frame"
    lenient: dict[str, ScoreEstimate] = field(default_factory=dict)
    """In a frame: as ``estimates``, for the answer wherever it stands."""
    lenient_item_scores: dict[str, float] = field(default_factory=dict)
    format_item_shares: dict[str, float] = field(default_factory=dict)
    """Share of each item's answers that have the format."""
    notes: Sequence[str] = ()
    """Sentences for people: how the items were made, and what was done about prompts that do not fit."""
    trained_on: Sequence[str] = ()
    """Items whose program a compared run, or one that made a compared model, trains on."""
    untouched: ScoreEstimate | None = None
    """pass@1 of the other items, where there are both."""
    otherwise: str = ""
    """How the model was asked that the first one was not: the two scores are then not compared."""


def judge_all(
    suite: Suite, items: Sequence[Item], answers: Iterable[Answer], sandbox: Sandbox, *, progress: bool = True
) -> list[Judged]:
    """Judges every answer; equal answers to an item are judged once.

    Raises:
        SandboxError: the sandbox itself failed.
    """
    judging = _judge_all(suite, items, list(answers), sandbox, progress)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(judging)
    with ThreadPoolExecutor(1) as thread:  # a notebook has a loop of its own, in which no other can run
        return thread.submit(asyncio.run, judging).result()


async def _judge_all(
    suite: Suite, items: Sequence[Item], answers: list[Answer], sandbox: Sandbox, progress: bool
) -> list[Judged]:
    by_id = {item.item_id: item for item in items}
    wanted = [answer for answer in answers if answer.item_id in by_id]
    slots = asyncio.Semaphore(IN_FLIGHT)
    verdicts: dict[tuple[str, str], asyncio.Task[Rating]] = {}

    async def judge(item: Item, text: str) -> Rating:
        async with slots:
            return await suite.judge(item, text, sandbox)

    async def one(answer: Answer) -> Judged:
        if answer.prompt_too_long:
            return Judged(answer, TOO_LONG)
        key = answer.item_id, answer.completion
        if key not in verdicts:
            verdicts[key] = asyncio.ensure_future(judge(by_id[answer.item_id], answer.completion))
        return Judged(answer, await verdicts[key])

    shown = {"desc": f"judge {suite.name}", "unit": "answer", "disable": None if progress else True}
    # all are awaited: a failed sandbox fails each of them, and asyncio prints a traceback for each that nobody looks at
    judged = await tqdm.gather(*map(one, wanted), return_exceptions=True, **shown)  # type: ignore[call-arg]  (not in the stubs)
    for error in judged:
        if isinstance(error, Exception):
            raise error
    return sorted(judged, key=lambda each: (each.answer.item_id, each.answer.sample))


def score(
    suite: Suite,
    model: str,
    items: Sequence[Item],
    judged: Sequence[Judged],
    ks: Sequence[int] = (1,),
    max_prompt_tokens: int = 0,
) -> Scores:
    """Adds up. ``ks`` beyond the number of answers per item are left out.

    Items without an answer are not part of the score.

    Args:
        max_prompt_tokens: the limit that prompts had to keep to, for the sentences on it; 0: there was none.
    """
    grouped: dict[str, list[Rating]] = {}
    for each in judged:
        grouped.setdefault(each.answer.item_id, []).append(each.verdict)
    strict = _each(grouped, lambda verdict: verdict.score)
    lenient = _each(grouped, lambda verdict: verdict.score if verdict.lenient is None else verdict.lenient)
    two_readings = any(each.verdict.lenient is not None for each in judged)

    asked = [each for each in judged if not each.answer.prompt_too_long]
    given = max(1, len(asked))
    unasked = {each.answer.item_id for each in judged if each.answer.prompt_too_long}

    return Scores(
        suite=suite.name,
        model=model,
        samples=min(map(len, grouped.values())),
        estimates=_estimates(items, strict, ks),
        reasons=dict(Counter(each.verdict.reason for each in judged).most_common()),
        format_ok=sum(each.verdict.format_ok for each in asked) / given,
        cut=sum(not each.answer.finished for each in asked) / given,
        mean_tokens=sum(each.answer.n_tokens for each in asked) / given,
        item_scores=_means(strict),
        left_out=list(suite.left_out),
        too_long=len(unasked | {item.item_id for item in items if item.remedy and item.item_id in grouped}),
        style=suite.style,
        lenient=_estimates(items, lenient, ks) if two_readings else {},
        lenient_item_scores=_means(lenient) if two_readings else {},
        format_item_shares=_means(_each(grouped, lambda verdict: float(verdict.format_ok))),
        notes=[*suite.notes, *_length_notes(items, grouped, unasked, max_prompt_tokens)],
    )


def _each(
    grouped: Mapping[str, Sequence[Rating]], value: Callable[[Rating], float]
) -> dict[str, list[float]]:
    return {item_id: [value(verdict) for verdict in verdicts] for item_id, verdicts in grouped.items()}


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {item_id: sum(scores) / len(scores) for item_id, scores in values.items()}


def _estimates(
    items: Sequence[Item], scores: Mapping[str, list[float]], ks: Sequence[int]
) -> dict[str, ScoreEstimate]:
    """pass@k of all items, and of each kind where there are several."""
    samples = min(map(len, scores.values()))
    kinds: dict[str, list[str]] = {}
    for item in items:
        if item.item_id in scores:
            kinds.setdefault(item.kind, []).append(item.item_id)
    estimates = {}
    for k in sorted({k for k in (1, *ks) if k <= samples}):
        per_item = {item_id: _pass_at_k(values, k) for item_id, values in scores.items()}
        estimates[f"pass@{k}"] = share_or_mean(list(per_item.values()))
        if len(kinds) > 1:
            for kind, ids in sorted(kinds.items()):
                estimates[f"pass@{k}/{kind}"] = share_or_mean([per_item[item_id] for item_id in ids])
    return estimates


def without_trained(scores: Scores, trained_on: Collection[str]) -> Scores:
    """The scores with what is left of them without these items, and a note on it."""
    told = "have the program of a task that a run of these models trains on, but for names and layout"
    known, untouched, told = _set_apart(scores, trained_on, told)
    if not known:
        return scores
    return replace(scores, notes=[*scores.notes, told], trained_on=known, untouched=untouched)


def without_picking(scores: Scores, picked_on: Collection[str]) -> Scores:
    """The scores with a note on what is left of them without these items, by which a checkpoint was picked."""
    told = "are those by whose scores the best checkpoint was picked, so its lead on them is in part luck"
    known, _, told = _set_apart(scores, picked_on, told)
    return replace(scores, notes=[*scores.notes, told]) if known else scores


def _set_apart(
    scores: Scores, apart: Collection[str], why: str
) -> tuple[list[str], ScoreEstimate | None, str]:
    """Which items are among these, pass@1 of the others (None where there are none), and both in words."""
    known = [item_id for item_id in scores.item_scores if item_id in apart]
    others = [value for item_id, value in scores.item_scores.items() if item_id not in apart]
    told = f"{len(known)} of {len(scores.item_scores)} tasks {why}"
    if not others:
        return known, None, told
    rest = share_or_mean(others)
    return (
        known,
        rest,
        f"{told}; pass@1 of the other {len(others)}, {_way_name(scores)}: {' ('.join(_cells(rest)[:2])})",
    )


def _length_notes(
    items: Sequence[Item], answered: Collection[str], unasked: Collection[str], limit: int
) -> list[str]:
    """What was done about prompts over the limit of ``limit`` tokens; none where all fitted."""
    notes = []
    remedies = Counter(item.remedy for item in items if item.remedy and item.item_id in answered)
    if remedies:
        how = ", ".join(f"{remedy} ({count})" for remedy, count in sorted(remedies.items(), reverse=True))
        notes.append(
            f"{sum(remedies.values())} of {len(answered)} requests were longer than the model's limit of {limit} tokens; "
            f"they were drawn again as in training, with {how}"
        )
    if unasked:
        notes.append(
            f"{len(unasked)} of {len(answered)} prompts are longer than the model's limit of {limit} tokens; "
            "they were not asked and count as wrong"
        )
    return notes


def compare_scores(first: Scores, second: Scores) -> Comparison | None:
    """Paired, in one style, on the items that both answered; None where they share none."""
    shared = [item_id for item_id in first.item_scores if item_id in second.item_scores]
    before, after = ([scores.item_scores[item_id] for item_id in shared] for scores in (first, second))
    return compare(before, after) if shared else None


def standing(results: Sequence[Scores]) -> Standing:
    """What ``azr.evaluate.verdict`` looks at, from a model's scores on one suite in all its styles."""
    ways = [Way(_way_name(scores), scores.item_scores) for scores in results]
    framed = next((scores for scores in results if scores.lenient), None)
    if framed is None:
        return Standing(results[0].model, ways, {}, {}, {})
    strict, lenient = framed.item_scores, framed.lenient_item_scores
    ways.insert(results.index(framed) + 1, Way("frame, lenient", lenient))
    return Standing(framed.model, ways, strict, lenient, framed.format_item_shares)


def _way_name(scores: Scores) -> str:
    return "frame, strict" if scores.lenient else scores.style


def _pass_at_k(scores: list[float], k: int) -> float:
    """Partial scores (induction graded by accuracy) are averaged at k = 1 and count as right only when whole above."""
    if k == 1:
        return sum(scores) / len(scores)
    return pass_at_k(len(scores), sum(value >= 1 for value in scores), k)


_COLUMNS = ["suite", "model", "style", "measure", "score", "95 % interval", "n", "format", "cut", "too long"]
_SIDES = "<<<<><>>>>"
"""To which side each column's texts stand."""


def score_table(results: Sequence[Scores]) -> str:
    """A plain table: a line for each suite, model, style and measure, and one for the lenient reading of
    answers in a frame."""
    rows = [_COLUMNS]
    for result in results:
        start, style = [result.suite, result.model], _way_name(result)
        form = "" if result.style != "frame" else f"{result.format_ok:.0%}"
        cut = "" if result.cut is None else f"{result.cut:.0%}"
        shares = [form, cut, str(result.too_long)]
        for name, estimate in result.estimates.items():
            rows.append([*start, style, name, *_cells(estimate), *(["", "", ""] if "/" in name else shares)])
        for name, estimate in result.lenient.items():
            if "/" not in name:
                rows.append([*start, "frame, lenient", name, *_cells(estimate), "", "", ""])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = "  ".join(f"{{:{side}{width}}}" for side, width in zip(_SIDES, widths, strict=True))
    head, *lines = (line.format(*row).rstrip() for row in rows)
    return "\n".join([head, "-" * len(head), *lines])


def _cells(estimate: ScoreEstimate) -> list[str]:
    return [f"{estimate.value:.1%}", f"{estimate.low:.1%} to {estimate.high:.1%}", str(estimate.n)]


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
