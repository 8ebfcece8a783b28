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
import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from azr.evaluate.statistics import compare

ALIKE = ("suite", "max_prompt_tokens", "max_response_tokens", "temperature", "top_p", "dtype")
"""What the request.json beside the answers of both models of a seed has to say alike."""


def scores(folder: Path, suites: Sequence[str]) -> dict[str, float]:
    """Mean of each item over the suites, of each suite over its answers.

    Raises:
        ValueError: the suites do not ask about the same items, or one is named twice.
    """
    if len(set(suites)) < len(suites):
        raise ValueError("a suite is named twice")
    means = [_item_means(folder / suite / "verdicts.jsonl") for suite in suites]
    if any(each.keys() != means[0].keys() for each in means):
        raise ValueError(f"{folder}: {', '.join(suites)} do not have the same items and samples")
    return {item: sum(each[item] for each in means) / len(means) for item in means[0]}


def _item_means(path: Path) -> dict[str, float]:
    found: dict[str, list[float]] = defaultdict(list)
    for line in path.read_text().splitlines():
        verdict = json.loads(line)
        found[verdict["id"]].append(verdict["score"])
    if len({len(values) for values in found.values()}) != 1:
        raise ValueError(f"{path}: the items do not have the same samples")
    return {item: sum(values) / len(values) for item, values in found.items()}


def require_asked_alike(before: Path, after: Path, suites: Sequence[str]) -> None:
    """Raises: ValueError: the two models of a seed were asked in other words, with other limits or another number type."""
    for suite in suites:
        with contextlib.suppress(OSError):  # recorded answers have no such file
            first, other = (
                json.loads((model / suite / "request.json").read_text()) for model in (before, after)
            )
            differs = [
                f"{key} {first.get(key)}, {other.get(key)}"
                for key in ALIKE
                if first.get(key) != other.get(key)
            ]
            if differs:
                raise ValueError(
                    f"{before.name} and {after.name} were not asked {suite} alike: {'; '.join(differs)}"
                )


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
    seeds, places = [], set()
    try:
        for text in args.seeds:
            folder, *models = text.rsplit(":", 2)
            if len(models) != 2:
                raise ValueError(f"{text!r} is not FOLDER:BEFORE:AFTER")
            before, after = (Path(folder).resolve() / model for model in models)
            if (before, after) in places:
                raise ValueError(f"{text}: this seed is named twice")
            places.add((before, after))
            require_asked_alike(before, after, args.suites)
            seeds.append([scores(model, args.suites) for model in (before, after)])
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
