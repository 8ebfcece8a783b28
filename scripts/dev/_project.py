"""What the files beside this one import before all that is not Python's own: they take the ``azr`` of the clone that they lie
in, installed or not, and say in a sentence what else is missing."""

from __future__ import annotations

import os
import sys
from types import TracebackType

_HERE = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - for Pythons that azr does not start with, too
_PROJECT = os.path.dirname(os.path.dirname(_HERE))  # noqa: PTH120
if _PROJECT not in sys.path:
    sys.path.insert(1, _PROJECT)  # behind the script's own folder


def _begin(name: str) -> None:
    """Of the script that Python was started with, and of its child processes.

    Raises:
        SystemExit: this Python is none that azr works with.
    """
    from azr.start import check_start, missing_module

    check_start(name)
    os.environ["PYTHONPATH"] = os.pathsep.join([_PROJECT, *filter(None, [os.environ.get("PYTHONPATH")])])
    traceback = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, ModuleNotFoundError):
            sys.stderr.write(f"{missing_module(name, error)}\n")
        else:
            traceback(kind, error, trace)

    sys.excepthook = tell


if os.path.dirname(os.path.realpath(sys.argv[0])) == _HERE:  # noqa: PTH120
    _begin(os.path.basename(sys.argv[0]))  # noqa: PTH119
