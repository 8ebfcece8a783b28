"""From answers to scores: judged in the sandbox and added up (``azr.evaluate.summary`` compares and prints them)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tqdm.asyncio import tqdm

from azr.evaluate.answers import Answer
from azr.evaluate.items import Item, Rating, Suite
from azr.evaluate.statistics import ScoreEstimate, pass_at_k, share_or_mean
from azr.evaluate.verdict import STRICT
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

    @property
    def way(self) -> str:
        """The style, and for the frame that its answers are read strictly, where they are read leniently too."""
        return STRICT if self.lenient else self.style


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
        f"{told}; pass@1 of the other {len(others)}, {scores.way}: {' ('.join(cells(rest)[:2])})",
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


def _pass_at_k(scores: list[float], k: int) -> float:
    """Partial scores (induction graded by accuracy) are averaged at k = 1 and count as right only when whole above."""
    if k == 1:
        return sum(scores) / len(scores)
    return pass_at_k(len(scores), sum(value >= 1 for value in scores), k)


def cells(estimate: ScoreEstimate) -> list[str]:
    """For a table: value, interval, number of items."""
    return [f"{estimate.value:.1%}", f"{estimate.low:.1%} to {estimate.high:.1%}", str(estimate.n)]
