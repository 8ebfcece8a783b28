#!/usr/bin/env python
"""Several seeds of one experiment as one comparison, from the verdicts that `azr evaluate` keeps of each item.

    python scripts/dev/pool_seeds.py OUT1/evaluate:cot-3@0:cot-3@60 OUT2/evaluate:cot-4@0:cot-4@86 \
        --suite cruxeval-o-native-cot --suite cruxeval-i-native-cot

Each seed is FOLDER:BEFORE:AFTER, the folder of an evaluation and the names of two of its models; LABEL= may stand before it.
The difference of an item is its mean over suites and seeds, so the interval (bootstrap) and p (sign flip) are over items:
what more seeds cannot narrow is the choice of the items. Items that one of the seeds or suites lacks are an error.

``--picture FILE.png`` draws the difference of each seed with its interval, and of its suites; nothing is pooled then, so
the seeds may be of different experiments and models.
"""

from __future__ import annotations

import _project

import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
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
    parser = _project.argument_parser(__doc__)
    parser.add_argument("seeds", nargs="+", metavar="FOLDER:BEFORE:AFTER")
    parser.add_argument("--suite", dest="suites", action="append", required=True, metavar="SUITE-STYLE")
    parser.add_argument("--picture", type=Path, metavar="FILE.png")
    args = parser.parse_args(arguments)
    seeds: dict[str, tuple[Path, Path]] = {}
    try:
        for text in args.seeds:
            label, _, rest = text.rpartition("=")
            folder, *models = rest.rsplit(":", 2)
            if len(models) != 2:
                raise ValueError(f"{text!r} is not FOLDER:BEFORE:AFTER")
            before, after = (Path(folder).resolve() / model for model in models)
            if (before, after) in seeds.values() or (label or text) in seeds:
                raise ValueError(f"{text}: this seed is named twice")
            require_asked_alike(before, after, args.suites)
            seeds[label or text] = before, after
        found = {name: [scores(model, args.suites) for model in models] for name, models in seeds.items()}
        if len(seeds) > 1:
            for name, seed in found.items():
                print(f"{name}: {line(*pooled([seed]))}")
        if args.picture:
            draw(args.picture, args.suites, seeds)
        else:
            print(f"{'all' if len(seeds) > 1 else next(iter(seeds))}: {line(*pooled(list(found.values())))}")
    except (OSError, ValueError) as error:
        print(f"pool_seeds: {error}", file=sys.stderr)
        return 2
    return 0


def draw(path: Path, suites: Sequence[str], seeds: Mapping[str, tuple[Path, Path]]) -> None:
    """A row for each seed: the difference in the mean of all suites with its 95 % interval, and in each suite alone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.45 * len(seeds)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(seeds), 0, -1)
    for marker, asked in (
        ("o", suites),
        *((marker, [suite]) for marker, suite in zip("<>^v", suites, strict=False)),
    ):
        every = [compare(*pooled([[scores(model, asked) for model in models]])) for models in seeds.values()]
        points = [100 * each.difference for each in every]
        if asked is suites:
            spread = [
                [100 * (each.difference - each.low) for each in every],
                [100 * (each.high - each.difference) for each in every],
            ]
            axes.errorbar(
                points,
                rows,
                xerr=spread,
                fmt=marker,
                capsize=4,
                label="mean of both" if len(suites) == 2 else "mean",
            )
        else:
            axes.scatter(
                points, rows, marker=marker, s=28, facecolors="none", edgecolors="0.4", label=asked[0]
            )
    axes.axvline(0.0, color="0.6", linewidth=1)
    axes.set_yticks(rows, list(seeds))
    axes.set_xlabel("points gained against the start, 95 % interval")
    axes.grid(axis="x", alpha=0.25)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=120)


def line(before: Sequence[float], after: Sequence[float]) -> str:
    found = compare(before, after)
    return (
        f"{100 * sum(before) / len(before):.1f} to {100 * sum(after) / len(after):.1f} %, {100 * found.difference:+.1f} points "
        f"(95 % {100 * found.low:+.1f} to {100 * found.high:+.1f}), p {found.p_value:.2g} ({found.test}), {found.n} items"
    )


if __name__ == "__main__":
    sys.exit(main())
