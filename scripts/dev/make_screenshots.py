"""Makes the pictures in docs/pictures from a real run: python scripts/dev/make_screenshots.py runs/NAME

Needs Chromium (Debian and Ubuntu: apt install chromium). The live view is drawn at 80 columns, as a terminal
shows it.
"""

from __future__ import annotations

import _project  # noqa: F401

import argparse
import io
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from azr.errors import AzrError, DataError
from azr.report.html import write_report
from azr.report.screen import render
from azr.report.summary import RunStatus
from azr.report.summary_reader import read_summary
from azr.report.transcripts import PAGE_NAME
from azr.system.terminal import outlive_the_terminal
from browser import Browser

DOCS = Path(__file__).resolve().parents[2] / "docs" / "pictures"
COLUMNS = 80
MAX_BYTES = 300_000
"""Of one picture; the repository carries them for ever."""


def screen_svg(root: Path) -> str:
    """The live view at 80 columns as SVG, without the font that rich would fetch from the network."""
    console = Console(
        width=COLUMNS, record=True, force_terminal=True, color_system="truecolor", file=io.StringIO()
    )
    console.print(render(read_summary(root), COLUMNS))
    svg = console.export_svg(title=f"python scripts/watch.py runs/{root.resolve().name}", unique_id="watch")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", "'DejaVu Sans Mono', Menlo, Consolas, monospace")


def make_pictures(run: Path, output: Path) -> list[Path]:
    """Writes the pictures, and returns their paths.

    Raises:
        DataError: the run trained no step, so that its pictures would show nothing; or a picture is too
            large.
        BrowserError: there is no Chromium, or it failed.
    """
    if read_summary(run).status is RunStatus.EMPTY or not read_summary(run).table.trained:
        raise DataError(f"{run} trained no step yet; pictures of it would be empty")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        report = write_report(run, output=Path(folder) / "report.html")
        browser.open(report, width=1240).screenshot(output / "report.png", height=1180)
        browser.open(report, width=1240, dark=True).screenshot(output / "report-dark.png", height=1180)
        browser.open(report, width=390, scale=1.5).screenshot(output / "report-phone.png", height=1400)
        transcripts = report.with_name(f"{report.stem}-{PAGE_NAME}")
        browser.open(transcripts, width=1240).screenshot(output / "transcripts.png", height=800)
    (output / "watch.svg").write_text(screen_svg(run), encoding="utf-8")
    paths = sorted([*output.glob("*.png"), *output.glob("*.svg")])
    large = [path.name for path in paths if path.stat().st_size > MAX_BYTES]
    if large:
        raise DataError(f"{', '.join(large)}: larger than {MAX_BYTES // 1000} kB")
    return paths


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument(
        "--output", type=Path, default=DOCS, help="folder of the pictures (default docs/pictures)"
    )
    arguments = parser.parse_args()
    try:
        paths = make_pictures(arguments.run, arguments.output)
    except (AzrError, OSError) as error:
        print(f"make_screenshots: {error}", file=sys.stderr)
        return 2
    for path in paths:
        print(f"{path.name:<20} {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
