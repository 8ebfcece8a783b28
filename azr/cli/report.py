"""Writes the report of a run, or one page that compares several: azr report runs/NAME [runs/OTHER ...]"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from azr.cli import command_parser, place_to_write
from azr.config.paths import find
from azr.errors import RunError
from azr.report.html import COMPARISON_NAME, write_comparison, write_report

OTHER_FORMATS = (".pdf", ".md", ".txt", ".csv", ".json", ".png", ".svg", ".docx")


def main(words: Sequence[str]) -> int:
    parser = command_parser("report", __doc__)
    parser.add_argument(
        "runs",
        type=find,
        nargs="+",
        metavar="RUN",
        help="run directory; several are compared on one page",
    )
    parser.add_argument(
        "--output",
        type=place_to_write,
        help="file to write (default: report.html in the run, or comparison.html here)",
    )
    arguments = parser.parse_args(words)
    if len({run.resolve() for run in arguments.runs}) < len(arguments.runs):
        raise RunError("a run is named twice, and would be compared with itself; name each once")
    if arguments.output and arguments.output.suffix.lower() in OTHER_FORMATS:
        raise RunError(
            f"--output {arguments.output}: a report is an HTML page; write {arguments.output.with_suffix('.html')}, which a browser "
            "prints as PDF (azr plot-metrics writes single curves as PNG and CSV)"
        )
    if len(arguments.runs) == 1:
        path = _write_report(arguments.runs[0], arguments.output)
    else:
        path = write_comparison(arguments.runs, arguments.output or Path(COMPARISON_NAME))
    print(f"wrote {path} ({path.stat().st_size / 2**20:.1f} MiB)")
    return 0


def _write_report(run: Path, output: Path | None) -> Path:
    try:
        return write_report(run, output=output)
    except OSError as error:
        if output is None and error.errno in (errno.EACCES, errno.EROFS) and not os.access(run, os.W_OK):
            raise RunError(
                f"{run} cannot be written by this user; name another place: --output FILE"
            ) from error
        raise
