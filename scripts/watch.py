"""Shows a run in the terminal, while it goes on or afterwards: python scripts/watch.py runs/NAME"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from azr.config.report import ReportConfig
from azr.errors import AzrError
from azr.report.live import LiveView, is_plain
from azr.report.screen import plain_line, render
from azr.report.summary import Status, read_summary
from azr.terminal import outlive_the_terminal, output_is_lost, tolerate_any_encoding


def main() -> int:
    tolerate_any_encoding()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run directory, such as runs/NAME")
    parser.add_argument("--once", action="store_true", help="show the present state and end")
    parser.add_argument("--refresh", type=float, default=2.0, metavar="S", help="seconds between redraws (default 2)")
    arguments = parser.parse_args()
    config = ReportConfig(refresh_s=arguments.refresh)
    try:
        config.validate()
        if arguments.once:
            summary, console = read_summary(arguments.run), Console()
            shown = plain_line(summary) if is_plain(console, config) else render(summary, console.width)
            console.print(shown, markup=False, highlight=False, soft_wrap=isinstance(shown, str))
            return 0
        with LiveView(arguments.run, config) as view, contextlib.suppress(KeyboardInterrupt):
            while not output_is_lost():
                summary = view.update()
                if summary is not None and summary.status in (Status.FINISHED, Status.FAILED):
                    break
                time.sleep(min(0.2, config.refresh_s))
    except AzrError as error:
        print(f"watch: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
