"""Shows a run in the terminal, in progress or finished: azr watch runs/NAME"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from rich.console import Console

from azr.cli import command_parser
from azr.cli.numbers import above_zero
from azr.config.paths import find
from azr.config.report import ReportConfig
from azr.errors import DataError
from azr.report.live import LiveView, plain_state, wants_plain_text
from azr.report.screen import plain_line, render
from azr.report.summary import RunStatus
from azr.report.summary_reader import read_summary
from azr.system.terminal import output_is_lost


def main(words: Sequence[str]) -> int:
    parser = command_parser("watch", __doc__)
    parser.add_argument("run", type=find, help="run directory, such as runs/NAME")
    parser.add_argument("--once", action="store_true", help="show the current state and exit")
    parser.add_argument(
        "--refresh", type=above_zero, default=2.0, metavar="S", help="seconds between redraws (default 2)"
    )
    arguments = parser.parse_args(words)
    config = ReportConfig(refresh_s=arguments.refresh)
    config.validate()
    if arguments.once:
        summary, console = read_summary(arguments.run), Console()
        plain = wants_plain_text(console, config)
        shown = f"{plain_state(summary)}\n{plain_line(summary)}" if plain else render(summary, console.width)
        console.print(shown, markup=False, highlight=False, soft_wrap=isinstance(shown, str))
        return 0
    with LiveView(arguments.run, config) as view, contextlib.suppress(KeyboardInterrupt):
        while not output_is_lost():
            if not arguments.run.is_dir():  # what was read of it would go on looking as if it ran
                raise DataError(
                    f"{arguments.run} is no longer there: it was renamed, moved or removed, or its disk went away; to go on, watch it "
                    "under the name that it has now"
                )
            summary = view.update()
            if summary is not None and summary.status in (RunStatus.FINISHED, RunStatus.FAILED):
                break
            time.sleep(min(0.2, config.refresh_s))
    return 0
