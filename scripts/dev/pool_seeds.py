#!/usr/bin/env python
"""Several seeds of one experiment as one comparison, from the verdicts that `azr evaluate` keeps of each item.

    python scripts/dev/pool_seeds.py OUT1/evaluate:cot-3@0:cot-3@60 OUT2/evaluate:cot-4@0:cot-4@86 \
        --suite cruxeval-o-native-cot --suite cruxeval-i-native-cot

Each seed is FOLDER:BEFORE:AFTER, the folder of an evaluation and the names of two of its models. The difference of an item
is its mean over suites and seeds, so the interval (bootstrap) and p (sign flip) are over items: what more seeds cannot
narrow is the choice of the items. Items that one of the seeds or suites lacks are an error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from azr.evaluate.statistics import compare


def scores(folder: Path, suites: Sequence[str]) -> dict[str, float]:
    """Mean score of each item over its answers and the suites."""
    found: dict[str, list[float]] = defaultdict(list)
    for suite in suites:
        for line in (folder / suite / "verdicts.jsonl").read_text().splitlines():
            verdict = json.loads(line)
            found[verdict["id"]].append(verdict["score"])
    if len({len(values) for values in found.values()}) != 1:
        raise ValueError(f"{folder}: {', '.join(suites)} do not have the same items and samples")
    return {item: sum(values) / len(values) for item, values in found.items()}


def pooled(seeds: Sequence[Sequence[dict[str, float]]]) -> tuple[list[float], list[float]]:
    """``(before, after)`` of each item, means over the seeds."""
    items = sorted(seeds[0][0])
    if any(sorted(model) != items for seed in seeds for model in seed):
        raise ValueError("the seeds do not have the same items")
    before, after = (
        [sum(seed[which][item] for seed in seeds) / len(seeds) for item in items] for which in (0, 1)
    )
    return before, after


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seeds", nargs="+", metavar="FOLDER:BEFORE:AFTER")
    parser.add_argument("--suite", dest="suites", action="append", required=True, metavar="SUITE-STYLE")
    args = parser.parse_args(arguments)
    seeds = []
    try:
        for text in args.seeds:
            folder, *models = text.rsplit(":", 2)
            if len(models) != 2:
                raise ValueError(f"{text!r} is not FOLDER:BEFORE:AFTER")
            seeds.append([scores(Path(folder) / model, args.suites) for model in models])
        if len(seeds) > 1:
            for text, seed in zip(args.seeds, seeds, strict=True):
                print(f"{text}: {line(*pooled([seed]))}")
        print(f"{'all' if len(seeds) > 1 else args.seeds[0]}: {line(*pooled(seeds))}")
    except (OSError, ValueError) as error:
        print(f"pool_seeds: {error}", file=sys.stderr)
        return 2
    return 0


def line(before: Sequence[float], after: Sequence[float]) -> str:
    found = compare(before, after)
    return (
        f"{100 * sum(before) / len(before):.1f} to {100 * sum(after) / len(after):.1f} %, {100 * found.difference:+.1f} points "
        f"(95 % {100 * found.low:+.1f} to {100 * found.high:+.1f}), p {found.p_value:.2g} ({found.test}), {found.n} items"
    )


if __name__ == "__main__":
    sys.exit(main())
