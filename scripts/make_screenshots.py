"""Makes the pictures in docs/pictures from a real run: python scripts/make_screenshots.py runs/NAME

Needs Chromium (Debian and Ubuntu: apt install chromium).
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from azr.errors import AzrError
from azr.report.browser import Browser
from azr.report.html import write_report
from azr.report.screen import render
from azr.report.summary import read_summary
from azr.report.transcripts import PAGE_NAME

DOCS = Path(__file__).resolve().parent.parent / "docs" / "pictures"
COLUMNS = 80


def screen_svg(root: Path) -> str:
    """The live view at 80 columns as SVG."""
    console = Console(width=COLUMNS, record=True, force_terminal=True, color_system="truecolor", file=io.StringIO())
    console.print(render(read_summary(root), COLUMNS))
    return console.export_svg(title=f"python scripts/watch.py {root.name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of the pictures (default docs/pictures)")
    arguments = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder, Browser() as browser:
            report = write_report(arguments.run, output=Path(folder) / "report.html")
            output: Path = arguments.output
            browser.open(report, width=1240).screenshot(output / "report.png", height=1500)
            browser.open(report, width=1240, dark=True).screenshot(output / "report-dark.png", height=1500)
            browser.open(report, width=390, scale=2).screenshot(output / "report-phone.png", height=1400)
            transcripts = Path(folder) / PAGE_NAME
            if transcripts.exists():
                browser.open(transcripts, width=1240).screenshot(output / "transcripts.png", height=800)
            (output / "watch.svg").write_text(screen_svg(arguments.run), encoding="utf-8")
    except AzrError as error:
        print(f"make_screenshots: {error}", file=sys.stderr)
        return 2
    print(f"wrote {', '.join(sorted(path.name for path in arguments.output.iterdir()))} to {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
