"""A step's outcomes as metrics, each with one documented name (docs/metrics.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from azr.run import metric_names as names
from azr.selfplay.outcomes import Outcome, ProposeOutcome, RowOutcome, SolveOutcome
from azr.tasks import Stream, TaskType


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are known."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def step_metrics(outcomes: Sequence[RowOutcome]) -> dict[str, float]:
    """Metrics of one step's rows. What cannot be said (no valid proposal, so no accuracy) is left out."""
    proposals = [outcome for outcome in outcomes if isinstance(outcome, ProposeOutcome)]
    solutions = [outcome for outcome in outcomes if isinstance(outcome, SolveOutcome)]
    solutions += [outcome.solved for outcome in proposals if outcome.solved is not None]
    samples = [sample for outcome in proposals for sample in outcome.samples]
    found: dict[str, float | None] = {}
    for stream in sorted({outcome.stream for outcome in (*proposals, *solutions)}):
        own_proposals = [outcome for outcome in proposals if outcome.stream == stream]
        own_solutions = [outcome for outcome in solutions if outcome.stream == stream]
        found |= _common(stream, [*own_proposals, *own_solutions])
        found |= _propose(stream, own_proposals) if own_proposals else _solve(stream, own_solutions)
    found |= _data(proposals, samples)
    responses = (*proposals, *solutions, *samples)
    found[names.GENERATED_TOKENS] = sum(outcome.completion.n_tokens for outcome in responses)
    found |= _sandbox(proposals, solutions, samples)
    return {name: float(value) for name, value in found.items() if value is not None}


def _common(stream: Stream, outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    paid = [outcome.reward for outcome in outcomes if outcome.reward is not None]
    lengths = [outcome.completion.n_tokens for outcome in outcomes]
    return {
        f"{stream.name}/count": len(outcomes),
        names.reward(stream.name): mean(paid),
        f"{stream.name}/reward_min": min(paid, default=None),
        f"{stream.name}/reward_max": max(paid, default=None),
        names.format_ok(stream.name): mean(outcome.format_ok for outcome in outcomes),
        names.response_tokens(stream.name): mean(lengths),
        f"{stream.name}/response_tokens_max": max(lengths),
        f"{stream.name}/response_cut": mean(not outcome.completion.finished for outcome in outcomes),
        f"{stream.name}/reflects": mean(outcome.reflects for outcome in outcomes),
    }


def _propose(stream: Stream, outcomes: Sequence[ProposeOutcome]) -> dict[str, float | None]:
    estimated = [outcome for outcome in outcomes if outcome.samples]
    found: dict[str, float | None] = {
        names.valid(stream.task_type): mean(outcome.valid for outcome in outcomes),
        names.accuracy(stream.name): mean(outcome.accuracy for outcome in estimated),
        f"{stream.name}/learnability": mean(outcome.learnability for outcome in estimated),
        f"{stream.name}/all_solved": mean(outcome.accuracy == 1 for outcome in estimated),
        f"{stream.name}/none_solved": mean(outcome.accuracy == 0 for outcome in estimated),
        f"{stream.name}/program_lines": mean(
            len(outcome.task.code.splitlines()) for outcome in outcomes if outcome.task
        ),
    }

    if stream.task_type is TaskType.INDUCTION:
        found[f"{stream.name}/progress"] = mean(
            outcome.rejection.progress if outcome.rejection else 1.0 for outcome in outcomes
        )
    for term in sorted({term for outcome in outcomes for term in outcome.terms}):
        found[f"{stream.name}/{term}"] = mean(outcome.terms.get(term) for outcome in outcomes)
    refused = Counter(outcome.rejection.reason for outcome in outcomes if outcome.rejection)
    for reason, count in refused.items():
        found[f"{stream.name}/rejected/{reason}"] = count
    return found


def _solve(stream: Stream, outcomes: Sequence[SolveOutcome]) -> dict[str, float | None]:
    right = [outcome for outcome in outcomes if outcome.score >= 1]
    found: dict[str, float | None] = {
        names.accuracy(stream.name): mean(outcome.score for outcome in outcomes),
        f"{stream.name}/right_tokens_mean": mean(outcome.completion.n_tokens for outcome in right),
        f"{stream.name}/wrong_tokens_mean": mean(
            outcome.completion.n_tokens for outcome in outcomes if outcome.score < 1
        ),
        f"{stream.name}/distinct_tasks": len({outcome.task_id for outcome in outcomes}),
    }
    for reason, count in Counter(outcome.reason for outcome in outcomes).items():
        found[f"{stream.name}/verdict/{reason}"] = count
    return found


def _data(proposals: Sequence[ProposeOutcome], samples: Sequence[SolveOutcome]) -> dict[str, float | None]:
    """Counts over all propose streams; ``data/accepted`` and duplicates are added by the buffer's owner."""
    estimated = [outcome for outcome in proposals if outcome.samples]
    return {
        names.PROPOSED: len(proposals),
        names.VALID: sum(outcome.valid for outcome in proposals),
        names.REPETITION: mean(outcome.repetition for outcome in proposals),
        names.GUESSABLE: mean(outcome.guessable for outcome in proposals),
        names.ALL_SOLVED: mean(outcome.accuracy == 1 for outcome in estimated),
        names.NONE_SOLVED: mean(outcome.accuracy == 0 for outcome in estimated),
        "samples/count": len(samples),
        "samples/saved": sum(outcome.wanted_samples for outcome in proposals) - len(samples),
        "samples/accuracy": mean(sample.score for sample in samples),
        "samples/format_ok": mean(sample.format_ok for sample in samples),
    }


def _sandbox(
    proposals: Sequence[ProposeOutcome], solutions: Sequence[SolveOutcome], samples: Sequence[SolveOutcome]
) -> dict[str, float | None]:
    waits = [outcome.seconds.get("execute", 0.0) for outcome in (*proposals, *solutions)]
    reasons = [outcome.reason for outcome in (*solutions, *samples)]
    reasons += [outcome.rejection.reason for outcome in proposals if outcome.rejection]
    return {
        names.SANDBOX_WAIT: mean(wait or None for wait in waits),  # of the rows that ran a program
        "sandbox/wait_s_max": max(waits, default=0.0) or None,
        "sandbox/timeouts": reasons.count("timeout"),
    }
