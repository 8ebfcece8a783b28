#!/usr/bin/env python
"""Does self-play learn? Runs the pipeline over seeds and controls, measures before and after on frozen tasks,
plots.

    python scripts/dev/learning_curve.py                          # everything: 4 arms x 3 seeds, hours on two cores
    python scripts/dev/learning_curve.py --arms full --seeds 1    # one arm, one seed; the others can follow later
    python scripts/dev/learning_curve.py --only-plot              # tables and picture from what is there

Each (arm, seed) is an ordinary run, runs/curve-ARM-SEED, started by ``bash scripts/run.sh`` and judged by
``scripts/evaluate.py``: sampled at temperature 1 (the main figure, fixed before anything was run) and greedy.
The same command goes on where it was interrupted; what is finished is not repeated, so remove runs/curve-*
after the model or the recipe changed.

Writes docs/learning_curve.csv (one row per arm, seed, probe set and decoding, with format validity and
accuracy given a valid format apart), docs/learning_curve.png, and prints paired tests over tasks.
"""

from __future__ import annotations

import _project

import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy import stats  # noqa: E402

from azr.errors import AzrError, RunError  # noqa: E402
from azr.report.metrics import read_metrics_table  # noqa: E402
from azr.run.metric_names import PROBE_ALL  # noqa: E402
from azr.run.rundir import RunDir  # noqa: E402
from azr.system.files import read_json, read_jsonl, write_bytes_atomic, write_text_atomic  # noqa: E402
from azr.system.terminal import outlive_the_terminal  # noqa: E402

ARMS = {
    "full": (),
    "solver_only": ("selfplay.train_propose=false",),
    "proposer_frozen": ("train.control=proposer_frozen",),
    "shuffled": ("train.control=shuffled_rewards",),
    "format_only": ("train.control=format_only",),
}
"""What each arm changes of the default run."""
PROBES = {
    "train_families": "data/probes/azr_tiny_train_families.jsonl",
    "heldout": "data/probes/azr_tiny_heldout.jsonl",
}
BEFORE = "curve-before"
"""Folder under ``runs/`` for the answers of the model that all runs begin with."""
DECODINGS = {
    "sampled": ("--temperature", "1.0", "--samples"),
    "greedy": ("--temperature", "0.0", "--samples"),
}


@dataclass(frozen=True)
class Cell:
    """One measurement of one model on one probe set."""

    arm: str
    seed: int
    probes: str
    decoding: str
    when: str
    """``before`` or ``after``."""
    scores: dict[str, float]
    """Share of right answers by task."""
    format_ok: float
    mean_tokens: float
    new_tasks: int

    @property
    def accuracy(self) -> float:
        return float(np.mean(list(self.scores.values())))

    def row(self) -> dict[str, Any]:
        """Of the CSV."""
        given = self.accuracy / self.format_ok if self.format_ok else 0.0
        return {
            **{name: getattr(self, name) for name in ("arm", "seed", "probes", "decoding", "when")},
            "accuracy": f"{self.accuracy:.4f}",
            "format": f"{self.format_ok:.4f}",
            "accuracy_given_format": f"{given:.4f}",
            "mean_tokens": f"{self.mean_tokens:.1f}",
            "tasks": len(self.scores),
            "new_tasks": self.new_tasks,
        }


def name_of(arm: str, seed: int) -> str:
    return f"curve-{arm.replace('_', '-')}-{seed}"


def run_pipeline(arm: str, seed: int, overrides: Sequence[str], limit_s: float) -> None:
    """Raises:
    RunError: the pipeline failed; its own output said why.
    """
    command = ["bash", "scripts/run.sh", f"name={name_of(arm, seed)}", f"seed={seed}", *ARMS[arm], *overrides]
    _call(command, limit_s)


def _call(command: Sequence[str], limit_s: float) -> None:
    print("+ " + " ".join(command), flush=True)
    try:
        status = subprocess.run(command, cwd=ROOT, timeout=limit_s, check=False).returncode
    except subprocess.TimeoutExpired as error:
        raise RunError(
            f"{' '.join(command)} took longer than {limit_s:.0f} s; raise --limit-s, or start again: it goes on"
        ) from error
    if status:
        raise RunError(
            f"{' '.join(command)} ended with status {status}; start again to go on after the cause is removed"
        )


def result_path(name: str, probes: str, decoding: str) -> Path:
    return ROOT / "runs" / name / "curve" / f"{probes}-{decoding}" / "result.json"


def measure(arm: str, seed: int, samples: int, limit_s: float) -> None:
    """Evaluates a run's newest checkpoint, once for each probe set and decoding, and once for all runs the
    model they began with."""
    name = name_of(arm, seed)
    for target, model in ((BEFORE, f"runs/{name}@0"), (name, f"runs/{name}")):
        for probes, path in PROBES.items():
            for decoding, settings in DECODINGS.items():
                out = result_path(target, probes, decoding)
                if not out.exists():
                    count = str(samples if decoding == "sampled" else 1)
                    command = [
                        sys.executable,
                        "scripts/evaluate.py",
                        model,
                        "--suite",
                        f"probes={path}",
                        *settings,
                        count,
                    ]
                    _call([*command, "--cpu-kv-cache-gib", "0.25", "--out", str(out.parent)], limit_s)


def new_tasks(run: RunDir) -> int:
    """Unique verified tasks that self-play added, over all cycles."""
    found = {
        record["task_id"] for shard in run.in_cycles("shard.jsonl").values() for record in read_jsonl(shard)
    }
    return len(found)


def measured_seeds(arm: str) -> list[int]:
    names = [
        re.fullmatch(name_of(arm, 0).removesuffix("0") + r"(\d+)", path.name)
        for path in (ROOT / "runs").glob("curve-*")
    ]
    return sorted(int(match[1]) for match in names if match)


def collect() -> list[Cell]:
    """Everything that was measured so far, of all arms and seeds under ``runs/``, whichever the command
    named."""
    cells = []
    for arm in ARMS:
        for seed in measured_seeds(arm):
            run = RunDir(ROOT / "runs" / name_of(arm, seed))
            count = new_tasks(run)
            for probes in PROBES:
                for decoding in DECODINGS:
                    for when, name in (("before", BEFORE), ("after", name_of(arm, seed))):
                        path = result_path(name, probes, decoding)
                        if path.exists():
                            result = read_json(path)["results"][0]
                            figures = result["item_scores"], result["format_ok"], result["mean_tokens"]
                            cells.append(Cell(arm, seed, probes, decoding, when, *figures, count))
    return cells


def write_csv(cells: Sequence[Cell], path: Path) -> None:
    write_text_atomic(path, pd.DataFrame([cell.row() for cell in cells]).to_csv(index=False))


def gain(
    cells: Sequence[Cell], arm: str, probes: str, decoding: str
) -> tuple[float, float, float, int] | None:
    """(gain, half width of its 95 % interval, p, seeds): per task the mean over seeds of after - before;
    paired t-test over tasks."""
    chosen = [cell for cell in cells if (cell.arm, cell.probes, cell.decoding) == (arm, probes, decoding)]
    pairs = []
    for seed in sorted({cell.seed for cell in chosen}):
        both = {cell.when: cell for cell in chosen if cell.seed == seed}
        if len(both) == 2:
            before, after = both["before"].scores, both["after"].scores
            pairs.append({task: after[task] - before[task] for task in before if task in after})
    if not pairs:
        return None
    tasks = sorted(set.intersection(*(set(pair) for pair in pairs)))
    change = np.array([np.mean([pair[task] for pair in pairs]) for task in tasks])
    half = 1.96 * change.std(ddof=1) / np.sqrt(len(change))
    p = float(stats.ttest_1samp(change, 0.0).pvalue) if change.any() else 1.0  # type: ignore[union-attr]
    return float(change.mean()), float(half), p, len(pairs)


def print_table(cells: Sequence[Cell]) -> None:
    print(
        f"{'arm':16} {'probes':15} {'decoding':9} {'before':>7} {'after':>7} {'gain':>16} {'p':>9} {'seeds':>5} {'new':>6}"
    )
    for arm in ARMS:
        for probes in PROBES:
            for decoding in DECODINGS:
                found = gain(cells, arm, probes, decoding)
                if found is None:
                    continue
                change, half, p, seeds = found
                chosen = [c for c in cells if (c.arm, c.probes, c.decoding) == (arm, probes, decoding)]
                before, after = (
                    np.mean([c.accuracy for c in chosen if c.when == when]) for when in ("before", "after")
                )
                tasks = int(np.mean([c.new_tasks for c in chosen]))
                print(
                    f"{arm:16} {probes:15} {decoding:9} {before:7.1%} {after:7.1%} "
                    f"{change:+7.1%} ± {half:5.1%} {p:9.2g} {seeds:5} {tasks:6}"
                )


def probe_points(metrics: Path) -> list[tuple[int, float]]:
    """(step, accuracy in %) of every evaluation of the frozen probes during a run."""
    table = read_metrics_table(metrics)
    return [
        (int(step), 100 * float(score))
        for step, score in zip(table.steps, table.column(PROBE_ALL), strict=True)
        if np.isfinite(score)
    ]


def plot(cells: Sequence[Cell], path: Path) -> None:
    """Left: greedy probe accuracy over the steps of every run, from its metrics. Right: gain of each arm,
    with intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for color, arm in enumerate(ARMS):
        label = arm
        for seed in sorted({cell.seed for cell in cells if cell.arm == arm}):
            points = probe_points(RunDir(ROOT / "runs" / name_of(arm, seed)).metrics)
            if points:
                left.plot(*zip(*points, strict=True), "o-", ms=3, color=f"C{color}", alpha=0.7, label=label)
                label = ""  # one entry in the legend for all seeds
    left.set(
        xlabel="training step",
        ylabel="accuracy on frozen tasks, %",
        title="During training (all probe sets, greedy)",
    )
    left.legend(frameon=False)
    places: dict[float, str] = {}
    for row, probes in enumerate(PROBES):
        for color, arm in enumerate(ARMS):
            found = gain(cells, arm, probes, "sampled")
            if found:
                place = -color - 5.0 * row
                right.errorbar(
                    100 * found[0], place, xerr=100 * found[1], fmt="o", color=f"C{color}", capsize=3
                )
                places[place] = f"{arm}, {probes}"
    right.axvline(0, color="grey", lw=0.8)
    right.set_yticks(list(places), list(places.values()), fontsize=8)
    right.set(xlabel="change in accuracy, points (sampled, 95 % interval over tasks)", title="After - before")
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130, format="png")
    write_bytes_atomic(path, buffer.getvalue())


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--samples", type=int, default=2, help="samples a task at temperature 1")
    parser.add_argument(
        "--limit-s", type=float, default=3600.0, help="longest time for one run or evaluation"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of the CSV and the picture")
    parser.add_argument("--only-plot", action="store_true")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="further settings of the runs")
    args = parser.parse_args()
    try:
        if not args.only_plot:
            for seed in args.seeds:
                for arm in args.arms:
                    run_pipeline(arm, seed, args.overrides, args.limit_s)
                    measure(arm, seed, args.samples, args.limit_s)
        cells = collect()
        if not cells:
            raise RunError("no measured runs under runs/curve-*; start without --only-plot")
        write_csv(cells, args.out / "learning_curve.csv")
        plot(cells, args.out / "learning_curve.png")
        print_table(cells)
        print(
            json.dumps(
                {"csv": str(args.out / "learning_curve.csv"), "png": str(args.out / "learning_curve.png")}
            )
        )
    except AzrError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
