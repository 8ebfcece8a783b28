"""Writes the report of a run, or one page that compares several: python scripts/report.py runs/NAME [runs/OTHER ...]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from azr.errors import AzrError
from azr.report.html import write_comparison, write_report
from azr.terminal import outlive_the_terminal, tolerate_any_encoding


def main() -> int:
    tolerate_any_encoding()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directory; more than one are compared in one page")
    parser.add_argument("--output", type=Path, help="file to write (default: report.html in the run, or comparison.html here)")
    arguments = parser.parse_args()
    try:
        if len(arguments.runs) == 1:
            path = write_report(arguments.runs[0], output=arguments.output)
        else:
            path = write_comparison(arguments.runs, arguments.output or Path("comparison.html"))
    except (AzrError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    print(f"wrote {path} ({path.stat().st_size / 2**20:.1f} MiB)")
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
