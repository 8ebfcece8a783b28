#!/usr/bin/env python3
"""How often the judges err, on synthetic series: prints the tables of docs/stagnation.md.

    python scripts/dev/bench_stagnation.py [--series 200] [--noise 0.02] [--autocorrelation 0.5] [--seed 1]
    python scripts/dev/bench_stagnation.py --recorded docs/real_weights_cot.csv runs/default/metrics.jsonl

Every series is a curve plus AR(1) noise and is judged evaluation by evaluation, as in a run. The lengths of answers
are judged step by step, with noise from that of recorded runs to several times as much. Exit status 1 if a required
rate is missed. Needs some two minutes on a quiet core. ``--recorded`` says instead what is noted of the answers of
recorded runs.
"""

from __future__ import annotations

import _project

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from azr.campaign.stagnation import (
    FALL_WIDTH,
    SHRINK_WIDTHS,
    Course,
    FloatArray,
    look,
    rolling_median,
    shrinkage,
    step_noise,
)
from azr.config.monitor import MonitorConfig
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.terminal import outlive_the_terminal
from azr.tasks import STREAMS, Role

EVALUATIONS = 160
STATED_WINDOWS = 2.5
"""A plateau must be found within this many windows after the rise (or the warm-up, if later) has ended."""
MAX_FALSE = 0.01
MIN_FOUND = 0.95
MAX_FALL_DELAY = 5
"""Evaluations within which a collapse must be seen."""

ANSWER_NOISES, ANSWER_AUTOCORRELATION = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5), 0.3
"""Of the logarithm of a step's mean length."""
REALISTIC_NOISE = 0.2
"""Up to here collapsed thoughts must be found: somewhat more noise than in the recorded runs."""
ANSWERS = 16
"""Of a stream and step: the noise of their accuracy."""
MAX_SHRINK_DELAY = 10
"""Steps within which collapsed thoughts must be seen."""

Curve = Callable[[np.random.Generator], tuple[FloatArray, int]]
"""Draws a noiseless series, [EVALUATIONS], and the index from which on it is over (flat, or collapsed)."""


@dataclass(frozen=True)
class Kind:
    name: str
    curve: Curve
    expect: str
    """``rising``: never stopped; ``flat``: found in time, and not before; ``falls``: fall seen in time, and
    no plateau before it."""


def kinds(rules: MonitorConfig) -> list[Kind]:
    t = np.arange(EVALUATIONS, dtype=np.float64)
    per_evaluation = rules.min_delta / rules.window_evaluations

    def improving(factor: float) -> Curve:
        return lambda rng: (0.1 + factor * per_evaluation * t, EVALUATIONS)

    def late(rng: np.random.Generator) -> tuple[FloatArray, int]:
        start = rng.integers(0, rules.warmup_evaluations + rules.patience_evaluations, endpoint=True)
        return 0.2 + 2 * per_evaluation * np.maximum(t - start, 0), EVALUATIONS

    def saturating(rng: np.random.Generator) -> tuple[FloatArray, int]:
        """Rises by 2 to 6 min_delta a window and stops rising."""
        stop = int(rng.integers(20, 60))
        return 0.2 + rng.uniform(2, 6) * per_evaluation * np.minimum(t, stop), stop

    def ramp(low: float, high: float) -> Curve:
        return lambda rng: (0.4 + rng.uniform(low, high) * per_evaluation * t, 0)

    def collapse(rng: np.random.Generator) -> tuple[FloatArray, int]:
        """Rises, then loses most of it within 1 to 6 evaluations."""
        start, length = int(rng.integers(30, 90)), int(rng.integers(1, 6))
        rise = 0.3 + 2 * per_evaluation * t
        return np.where(
            t < start, rise, np.maximum(rise[start] * (1 - (t - start + 1) / length), 0.02)
        ), start + length - 1

    def sawtooth(rng: np.random.Generator) -> tuple[FloatArray, int]:
        """Rises by 2 min_delta a window with teeth of 1 min_delta, as when each cycle's new data first cost a
        little."""
        period = int(rng.integers(8, 16))
        teeth = rules.min_delta * (((t + rng.integers(0, period)) % period) / period - 0.5)
        return 0.2 + 2 * per_evaluation * t + teeth, EVALUATIONS

    return [
        Kind("improving, 2 x min_delta a window", improving(2), "rising"),
        Kind("improving, 3 x min_delta a window", improving(3), "rising"),
        Kind("late take-off (inside warm-up + patience)", late, "rising"),
        Kind("sawtooth, rising 2 x min_delta a window", sawtooth, "rising"),
        Kind("plateau from the start", ramp(0, 0), "flat"),
        Kind("plateau after a rise", saturating, "flat"),
        Kind("slow ramp, up to 0.25 x min_delta a window", ramp(0, 0.25), "flat"),
        Kind("slow ramp, 0.25 to 0.5 x min_delta a window", ramp(0.25, 0.5), "flat"),
        Kind("collapse", collapse, "falls"),
    ]


def ar1(rng: np.random.Generator, phi: float, deviation: float) -> NDArray[np.float64]:
    """Stationary noise of standard deviation ``deviation``, [EVALUATIONS]."""
    noise = rng.normal(0, deviation, EVALUATIONS)
    for index in range(1, EVALUATIONS):
        noise[index] = phi * noise[index - 1] + np.sqrt(1 - phi**2) * noise[index]
    return noise


def first_plateau(series: FloatArray, rules: MonitorConfig) -> int | None:
    """Number of evaluations after which ``plateau`` first says stop. Keeps the flat count instead of looking
    back each time."""
    flat = 0
    for count in range(rules.warmup_evaluations + rules.window_evaluations, len(series) + 1):
        window = look(range(count), series[:count].tolist(), rules)
        if window is None or window.state is Course.UNSURE:
            continue
        flat = flat + 1 if window.state is Course.FLAT else 0
        if flat >= rules.patience_evaluations:
            return count
    return None


def first_fall(series: FloatArray, drop: float) -> int | None:
    """Number of evaluations after which ``fall`` first sees one; levels do not depend on what comes later, so
    once is enough."""
    levels = rolling_median(series, FALL_WIDTH).copy()  # pandas gives it read-only
    levels[: FALL_WIDTH - 1] = -np.inf
    fell = np.flatnonzero(levels < np.maximum.accumulate(levels) - drop)
    fell = fell[fell >= 2 * FALL_WIDTH - 1]
    return int(fell[0]) + 1 if len(fell) else None


@dataclass(frozen=True)
class Rates:
    found: float
    false: float
    delays: list[int]


def measure(kind: Kind, rules: MonitorConfig, drop: float, args: argparse.Namespace) -> Rates:
    rng = np.random.default_rng([args.seed, *kind.name.encode()])
    found = false = 0
    delays: list[int] = []
    for _ in range(args.series):
        curve, end = kind.curve(rng)
        series = np.clip(curve + ar1(rng, args.autocorrelation, args.noise), 0, 1)
        stop, fell = first_plateau(series, rules), first_fall(series, drop)
        event = fell if kind.expect == "falls" else stop
        earliest = max(end, rules.warmup_evaluations) if kind.expect == "flat" else end
        limit = MAX_FALL_DELAY if kind.expect == "falls" else STATED_WINDOWS * rules.window_evaluations
        if event is not None:
            delays.append(event - earliest)
            found += event - earliest <= limit
        if kind.expect == "rising":
            false += stop is not None or fell is not None
        elif kind.expect == "flat":
            false += (stop is not None and stop <= end) or fell is not None
        else:
            false += (stop is not None and stop <= end) or (fell is not None and fell < end - 6)
    return Rates(found / args.series, false / args.series, delays)


Answers = Callable[[np.random.Generator], tuple[FloatArray, FloatArray, int | None]]
"""Draws noiseless lengths and accuracies, [EVALUATIONS] each, and the index from which on the thoughts are gone."""


def answer_kinds() -> dict[str, Answers]:
    t = np.arange(EVALUATIONS, dtype=np.float64)

    def falling(start: float, length: float, share: float) -> FloatArray:
        """From 200 tokens to ``share`` of them, by the same factor in each step."""
        return 200 * share ** np.clip((t - start) / length, 0, 1)

    def collapse(rng: np.random.Generator) -> tuple[FloatArray, FloatArray, int]:
        start, length = int(rng.integers(40, 140)), int(rng.integers(1, 8))
        return falling(start, length, rng.uniform(0.2, 0.4)), np.full_like(t, 0.4), start + length

    def form(first: int, last: int) -> Answers:
        """Accuracy comes with the form, as answers become shorter."""

        def draw(rng: np.random.Generator) -> tuple[FloatArray, FloatArray, None]:
            start, length = int(rng.integers(first, last, endpoint=True)), int(rng.integers(5, 20))
            return falling(start, length, 0.4), 0.4 * np.clip((t - start) / length, 0, 1), None

        return draw

    return {
        "level": lambda rng: (np.full_like(t, 200.0), np.full_like(t, 0.4), None),
        "form learned at the start": form(0, 5),
        "form learned late": form(20, 100),
        "slow decline, half in 60 steps": lambda rng: (
            200 * 0.5 ** (t / 60),
            np.full_like(t, 0.4),
            None,
        ),
        "thoughts collapse": collapse,
    }


def measure_answers(
    name: str, draw: Answers, noise: float, rules: MonitorConfig, args: argparse.Namespace
) -> Rates:
    rng = np.random.default_rng([args.seed, *name.encode()])
    found = false = 0
    delays: list[int] = []
    for _ in range(args.answer_series):
        tokens, accuracy, end = draw(rng)
        tokens = tokens * np.exp(ar1(rng, ANSWER_AUTOCORRELATION, noise))
        first = first_shrinkage(tokens, rng.binomial(ANSWERS, accuracy) / ANSWERS, rules)
        if end is None or first is None:
            false += first is not None
            continue
        delays.append(first - end)
        found += -MAX_SHRINK_DELAY <= first - end <= MAX_SHRINK_DELAY
        false += first - end < -MAX_SHRINK_DELAY
    return Rates(found / args.answer_series, false / args.answer_series, delays)


def first_shrinkage(tokens: FloatArray, right: FloatArray, rules: MonitorConfig) -> int | None:
    """Number of steps after which ``shrinkage`` first sees one."""
    short = np.flatnonzero(shares(tokens, rules) < rules.thoughts_share) + 1  # without that there is none
    return next(
        (n for n in short.tolist() if shrinkage(tokens[:n].tolist(), right[:n].tolist(), rules)), None
    )


def shares(tokens: FloatArray, rules: MonitorConfig) -> FloatArray:
    """Median length of the latest steps over that of the window before, [n] -> [n]: the least over the widths of the
    latest; NaN before the first verdict."""
    least = np.full(len(tokens), np.nan)
    befores = rolling_median(tokens, rules.thoughts_window_steps)
    for width in SHRINK_WIDTHS:
        first = rules.thoughts_warmup_steps + rules.thoughts_window_steps + width - 1
        share = rolling_median(tokens, width)[first:] / befores[first - width : -width]
        least[first:] = np.fmin(least[first:], share)
    return least


def print_answers(rules: MonitorConfig, args: argparse.Namespace) -> bool:
    """Prints how often answers are called collapsed, by their noise; whether all that is required holds."""
    print(
        f"\n{args.answer_series} series of answers of each kind; a collapse is found within {MAX_SHRINK_DELAY} steps\n"
    )
    print(f"{'answers, with noise of':<46}" + "".join(f"{noise:>7.0%}" for noise in args.answer_noise))
    well = True
    for name, draw in tqdm(answer_kinds().items(), leave=False, disable=None, file=sys.stderr):
        rates = [measure_answers(name, draw, noise, rules, args) for noise in args.answer_noise]
        false = [rate.false <= MAX_FALSE for rate in rates]
        _print_row(
            f"{name}: false", [f"{rate.false:.1%}" for rate in rates], f"<= {MAX_FALSE:.0%}", all(false)
        )
        well &= all(false)
        if "collapse" in name:
            found = [
                rate.found >= MIN_FOUND or noise > REALISTIC_NOISE
                for rate, noise in zip(rates, args.answer_noise, strict=True)
            ]
            wanted = f">= {MIN_FOUND:.0%} up to {REALISTIC_NOISE:.0%}"
            _print_row(f"{name}: found in time", [f"{rate.found:.1%}" for rate in rates], wanted, all(found))
            _print_row(
                f"{name}: delay, median", [f"{np.median(rate.delays or np.nan):.0f}" for rate in rates]
            )
            well &= all(found)
    return well


def _print_row(name: str, cells: Sequence[str], wanted: str = "", holds: bool = True) -> None:
    verdict = f"   {wanted}: {'ok' if holds else 'MISSED'}" if wanted else ""
    print(f"{name:<46}" + "".join(f"{cell:>7}" for cell in cells) + verdict, flush=True)


def judge_recorded(files: Sequence[Path], rules: MonitorConfig) -> None:
    """Prints where collapsed thoughts are seen, and how low the answers were against the window before them, and how
    noisy after the warm-up."""
    for file in files:
        if file.suffix == ".csv":
            table = pd.read_csv(file)
        else:
            table = pd.DataFrame(
                [record.values | {"step": record.step} for record in read_metrics(RunDir(file.parent))]
            )
        for run, rows in table.groupby("run") if "run" in table else [(file.parent.name, table)]:
            for stream in (stream.name for stream in STREAMS if stream.role is Role.SOLVE):
                names = [f"{stream}/response_tokens_mean", f"{stream}/accuracy"]
                if not {*names} <= {*rows}:
                    continue
                known = rows.dropna(subset=names)
                tokens, right = (known[name].to_numpy(dtype=np.float64) for name in names)
                words, seen = "not noted", first_shrinkage(tokens, right, rules)
                if seen and (one := shrinkage(tokens[:seen].tolist(), right[:seen].tolist(), rules)):
                    step, onset = (int(known["step"].iloc[index]) for index in (seen - 1, one.onset))
                    words = f"noted at step {step}, from step {onset} on ({one.before:.0f} to {one.now:.0f} tokens)"
                later = np.log(np.maximum(tokens[rules.thoughts_warmup_steps :], 1))
                noise = step_noise(later) if len(later) > 1 else np.nan
                low = "too few steps"
                if np.isfinite(levels := shares(tokens, rules)).any():
                    low = f"lowest {np.nanmin(levels):.2f} (step {int(known['step'].iloc[int(np.nanargmin(levels))])})"
                print(f"{run}, {len(known)} steps, {stream}: {words}, {low}, noise {noise:.2f}")


def main() -> int:
    rules = MonitorConfig()
    parser = _project.argument_parser(__doc__)
    parser.add_argument("--series", type=int, default=200, help="series of each kind")
    parser.add_argument("--noise", type=float, default=0.02, help="standard deviation of one evaluation")
    parser.add_argument(
        "--autocorrelation", type=float, default=0.5, help="of the noise, from one evaluation to the next"
    )
    parser.add_argument(
        "--answer-noise", nargs="+", type=float, default=ANSWER_NOISES, help="of the log of their length"
    )
    parser.add_argument("--answer-series", type=int, default=1000, help="of each kind and noise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recorded", nargs="+", type=Path, metavar="FILE", help="CSV or metrics.jsonl")
    args = parser.parse_args()
    if args.recorded:
        judge_recorded(args.recorded, rules)
        return 0

    print(f"rules: {rules}")
    print(
        f"noise: AR(1), standard deviation {args.noise}, autocorrelation {args.autocorrelation}; {args.series} series of each kind"
    )
    stated = f"{STATED_WINDOWS} windows = {STATED_WINDOWS * rules.window_evaluations:.0f} evaluations"
    print(f"a plateau counts as found within {stated}, a fall within {MAX_FALL_DELAY}\n")
    print(f"{'series':<46}{'found in time':>14}{'false':>8}{'delay: median':>15}{'95 %':>6}   required")
    missed = False
    for kind in tqdm(kinds(rules), leave=False, disable=None, file=sys.stderr):
        rates = measure(kind, rules, rules.regression_delta, args)
        rising = kind.expect == "rising"
        ok = rates.false <= MAX_FALSE and (rising or rates.found >= MIN_FOUND)
        missed |= not ok
        found = "" if rising else f"{rates.found:.1%}"
        middle = "" if rising or not rates.delays else f"{np.median(rates.delays):.0f}"
        late = "" if rising or not rates.delays else f"{np.quantile(rates.delays, 0.95):.0f}"
        wanted = f"false <= {MAX_FALSE:.0%}" + ("" if rising else f", found >= {MIN_FOUND:.0%}")
        print(
            f"{kind.name:<46}{found:>14}{rates.false:>8.1%}{middle:>15}{late:>6}   {wanted}: {'ok' if ok else 'MISSED'}",
            flush=True,
        )
    return int(not print_answers(rules, args) or missed)


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
