"""Plots metrics of a run over its steps, as a picture and as a CSV: azr plot-metrics RUN METRIC ... --out
FILE.png

    azr plot-metrics runs/default propose-abduction/valid solve-abduction/accuracy --window 5 --out mine.png
    azr plot-metrics runs/full samples/accuracy --beside runs/form-only --window 5 --out arms.png

Names are those of docs/metrics.md, patterns with * too; a CSV of the same values is written beside the picture,
with what ``--also`` names beside them. ``--window`` draws means over so many steps beside the points. The
report shows the usual ones; this is for figures of your own. ``--beside`` draws the same metrics of
further runs into the same figure.
"""

from __future__ import annotations

import fnmatch
import io
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from azr.cli import command_parser, place_to_write
from azr.cli.numbers import count
from azr.config.paths import find
from azr.errors import ConfigError, RunError
from azr.report.metrics import FloatArray, MetricsTable, read_metrics_table
from azr.report.summary_reader import require_run
from azr.system.files import refuse_foreign, write_bytes_atomic, write_text_atomic

MAX_LINES = 20


def moving_mean(values: FloatArray, window: int) -> FloatArray:
    """Mean of each value and the ``window - 1`` before it, as far as there are any; missing values are left out."""
    return np.asarray(pd.Series(values).rolling(window, min_periods=1).mean())


def logged(table: MetricsTable, patterns: list[str]) -> list[str]:
    """The names that the run logged and that match, each once.

    Raises:
        RunError: a pattern matches none.
    """
    known = sorted(name for name in table.columns if table.has(name))
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = fnmatch.filter(known, pattern)
        if not matching:
            words = [word for word in re.split(r"\W+", pattern) if len(word) > 2]
            near = sorted(known, key=lambda name: -sum(word in name for word in words))
            near = near[:8] if near and any(word in near[0] for word in words) else []
            raise RunError(
                f"the run logged no {pattern}; "
                + (f"nearest: {', '.join(near)}; " if near else "")
                + f"it logged {len(known)} metrics, which docs/metrics.md explains"
            )
        found |= dict.fromkeys(matching)
    return list(found)


def as_csv(tables: Mapping[str, MetricsTable], names: list[str]) -> str:
    """One line a step of a run; a metric that a run did not log is empty there."""
    parts = (
        pd.DataFrame({"run": run, "step": table.steps, **{name: table.column(name) for name in names}})
        for run, table in tables.items()
    )
    # digits that count: a learning rate or a mismatch of 5e-07 is not 0
    return pd.concat(parts).to_csv(index=False, float_format="%.6g")


def picture(tables: Mapping[str, MetricsTable], names: list[str], window: int) -> bytes:
    os.environ.pop("MPLBACKEND", None)  # a notebook's own, which matplotlib refuses outside of it
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    lines = [(run, name) for run, table in tables.items() for name in names if table.has(name)]
    for number, (run, name) in enumerate(lines):
        color, second = f"C{number}", number >= 10  # matplotlib begins again with its ten colours
        steps, values = tables[run].steps, tables[run].column(name)
        label = name if len(tables) == 1 else run if len(names) == 1 else f"{run}: {name}"
        if window > 1:
            axes.plot(steps, values, ".", color=color, alpha=0.35)
            axes.plot(steps, moving_mean(values, window), "--" if second else "-", color=color, label=label)
        else:
            axes.plot(steps, values, "x" if second else ".", color=color, label=label)
    title = [names[0]] if len(tables) > 1 and len(names) == 1 else []
    title += [f"points: single steps; lines: means of {window}"] if window > 1 else []
    axes.set(xlabel="training step", title="\n".join(title))
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130, format="png")
    return buffer.getvalue()


def main(words: Sequence[str]) -> int:
    parser = command_parser("plot-metrics", __doc__)
    parser.add_argument("run", type=find, help="a run's directory")
    parser.add_argument("metrics", nargs="+", metavar="METRIC")
    parser.add_argument("--also", nargs="+", default=[], metavar="METRIC", help="write only the CSV")
    parser.add_argument("--beside", nargs="+", default=[], type=find, metavar="RUN", help="further runs")
    parser.add_argument("--window", type=count, default=1, metavar="STEPS")
    parser.add_argument(
        "--out", type=place_to_write, required=True, help="the picture; the CSV has the same name"
    )
    options = parser.parse_args(words)
    if options.out.suffix != ".png" or options.out.is_dir():
        raise ConfigError(
            f"--out {options.out}: the picture is a PNG file; name one that ends in .png (its CSV is written beside it)"
        )
    csv_file = options.out.with_suffix(".csv")
    # any picture begins alike, so its CSV says whose it is
    refuse_foreign(options.out, b"\x89PNG" if csv_file.is_file() else b"\x89PNG without its CSV")
    refuse_foreign(csv_file, b"run,step,")
    runs = [options.run, *options.beside]
    if len({run.resolve() for run in runs}) < len(runs):
        raise RunError("a run is named twice; name each once")
    for run in runs:
        require_run(run)
    own_names = len({run.name for run in runs}) == len(runs)
    tables = {run.name if own_names else str(run): read_metrics_table(run / "metrics.jsonl") for run in runs}
    first = next(iter(tables.values()))
    drawn, also = logged(first, options.metrics), logged(first, options.also)
    if (lines := len(drawn) * len(tables)) > MAX_LINES:
        raise RunError(
            f"{lines} lines in one picture cannot be told apart; name at most {MAX_LINES}, and the rest after --also"
        )
    for run, table in tables.items():
        if lacking := [name for name in drawn if not table.has(name)]:
            print(f"{run} logged no {', '.join(lacking)}: not in the picture")
    write_bytes_atomic(options.out, picture(tables, drawn, options.window))
    write_text_atomic(csv_file, as_csv(tables, list(dict.fromkeys([*drawn, *also]))))
    print(f"wrote {options.out} and {csv_file}")
    return 0
