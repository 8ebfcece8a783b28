#!/usr/bin/env python
"""How often would the verdict be right, and how often wrong by chance? Drawn from answers that a model really
gave.

    python scripts/evaluate.py RUN@0 RUN --suite probes=data/probes/azr_tiny_train_families.jsonl --temperature 1 --samples 8 --out DIR
    python scripts/dev/verdict_power.py DIR/result.json --answers 8

Each trial draws, without putting back, so many of each task's answers as the verdict uses. Both halves from
the first model: how often a model is told from itself, which must not be. From the first and the second: how
often the change between them is seen.
"""

from __future__ import annotations

import _project

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from azr.report.series import Z_99
from azr.system.files import read_json

TRIALS = 20_000


def main(argv: Sequence[str] | None = None) -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("result", type=Path, help="result.json of scripts/evaluate.py with two models")
    parser.add_argument("--answers", type=int, required=True, help="answers a task in it (--samples)")
    args = parser.parse_args(argv)
    first, second = (dict(each["item_scores"]) for each in read_json(args.result)["results"][:2])
    tasks = sorted(first)
    right = [
        np.rint(args.answers * np.array([scores[task] for task in tasks])).astype(int)
        for scores in (first, second)
    ]
    print(
        f"{len(tasks)} tasks, {right[0].mean() / args.answers:.1%} and {right[1].mean() / args.answers:.1%} right"
    )
    print("tasks  answers a task   a model against itself: learned, worse   the two: learned, worse")
    rng = np.random.default_rng(1)
    for count in (120, 240, 400):
        for answers in (1, 2, 4):
            if count <= len(tasks) and 2 * answers <= args.answers:
                null = rates(right[0], right[0], args.answers, count, answers, rng, same=True)
                seen = rates(right[0], right[1], args.answers, count, answers, rng, same=False)
                print(
                    f"{count:5}  {answers:14}   {null[0]:23.2%}, {null[1]:14.2%}   {seen[0]:10.2%}, {seen[1]:7.2%}"
                )
    return 0


def rates(
    before: np.ndarray,
    after: np.ndarray,
    given: int,
    count: int,
    answers: int,
    rng: np.random.Generator,
    *,
    same: bool,
) -> tuple[float, float]:
    """Shares of trials that end with "learned" and with "worse"."""
    found = np.zeros(2)
    for _ in range(TRIALS):
        chosen = rng.choice(len(before), count, replace=False)
        one = rng.hypergeometric(before[chosen], given - before[chosen], answers)
        rest = (before[chosen] - one, given - answers) if same else (after[chosen], given)
        two = rng.hypergeometric(rest[0], rest[1] - rest[0], answers)
        changes = np.append((two - one) / answers, (1.0, -1.0))  # as azr/train/probes.py counts
        z = changes[:-2].mean() / np.sqrt(changes.var(ddof=1) / len(changes))
        found += (z > Z_99, z < -Z_99)
    return float(found[0] / TRIALS), float(found[1] / TRIALS)


if __name__ == "__main__":
    sys.exit(main())
