"""What the files beside this one import before all that is not Python's own: a sentence in place of a traceback where this
Python lacks azr or one of its packages, and a line where its azr is that of another clone."""

from __future__ import annotations

import argparse
import os
import sys
from types import TracebackType

_HERE = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - for Pythons that azr does not start with, too
_CLONE = os.path.dirname(os.path.dirname(_HERE))  # noqa: PTH120


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """For a script's arguments; its ``description`` (the file's docstring) is printed as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _begin(name: str) -> None:
    """Of the script that Python was started with.

    Raises:
        SystemExit: this Python is none that azr works with, or lacks it.
    """
    try:
        from azr.start import check_start, missing_module
        from azr.system.strays import PROJECT
    except ModuleNotFoundError:
        sys.exit(
            f"{name}: azr is not installed for {sys.executable}. Take the environment that scripts/setup.sh makes ({_CLONE}/.venv), "
            f"or set PYTHONPATH={_CLONE}"
        )
    check_start(name)
    if PROJECT != _CLONE:
        sys.stderr.write(
            f"{name}: this is the azr of {PROJECT}; PYTHONPATH={_CLONE} takes that of the script's own clone\n"
        )
    traceback = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, ModuleNotFoundError):
            sys.stderr.write(f"{missing_module(name, error)}\n")
        else:
            traceback(kind, error, trace)

    sys.excepthook = tell


if os.path.dirname(os.path.realpath(sys.argv[0])) == _HERE:  # noqa: PTH120
    _begin(os.path.basename(sys.argv[0]))  # noqa: PTH119
