"""Checks that a command makes before anything else is imported: is this a suitable Python on a suitable
system, does a file shadow a module, can every file name be encoded?

Only ``os`` and ``sys`` here, in a syntax that earlier versions of Python read too.
"""

from __future__ import annotations

import os
import sys

from azr.system.strays import PROJECT, refuse_strays

OLDEST, NEWEST = (3, 10), (3, 12)


def entry() -> None:
    """What ``azr`` starts. Ends the process."""
    start("")


def start(name: str) -> None:
    """What ``azr_single_gpu_pipeline.py`` and the files in ``scripts/`` start: the command ``name``, or the one that
    the first argument names. Ends the process."""
    check_start(name or "azr")
    try:
        from azr import cli
        from azr.system.terminal import outlive_the_terminal
    except ModuleNotFoundError as error:
        sys.exit(missing_module(name or "azr", error))
    outlive_the_terminal()
    status = cli.run_command(name, sys.argv[1:]) if name else cli.main()
    if status == cli.INTERRUPTED:
        # ended by the signal itself: a shell then ends its loop or script too, and after an exit status goes on
        sys.excepthook = lambda *_: None
        raise KeyboardInterrupt
    sys.exit(status)


def check_start(name: str) -> None:
    """Ends the process with a sentence where the command cannot work, or restarts it with file names in UTF-8."""
    if sys.platform != "linux":  # Windows has no fcntl, and no other system the pinned packages
        sys.exit(
            f"{name}: Linux is needed, and {sys.executable} is a Python for {sys.platform}. "
            "On Windows, install and start it inside WSL2 (docs/howto/wsl2.md)"
        )
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"{name}: Python 3.10, 3.11 or 3.12 is needed, and {sys.executable} is {found}. {_environment()}"
        )
    refuse_strays(name)
    if not os.path.isdir(os.path.join(PROJECT, "configs", "recipe")):  # noqa: PTH112
        sys.exit(
            f"{name}: azr was installed without the files of its project ({PROJECT} has no configs/recipe), as by `pip install .`. "
            "Clone the project, and install it there with -e: `pip install -r requirements.txt -e .`, or `bash scripts/run.sh`"
        )
    tell_other_project(name)
    if sys.getfilesystemencoding() == "ascii" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.environ.setdefault("PYTHONIOENCODING", "ascii")  # the terminal's own
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def tell_other_project(name: str) -> None:
    """A line where the azr that runs is not the one of the project that the user stands in, or whose file was
    started: an environment that was copied with its project still leads to the old one."""
    for place in (".", os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "..")):  # noqa: PTH100, PTH120
        try:
            folder = os.path.realpath(place)
        except OSError:  # the working folder is gone, which is told later
            continue
        if folder != PROJECT and os.path.isfile(os.path.join(folder, "azr", "start.py")):  # noqa: PTH113
            print(
                f"{name}: this is the azr of {PROJECT}, and its runs are there, not in {folder}; "
                f"`bash {folder}/scripts/setup.sh` gives that folder an environment of its own",
                file=sys.stderr,
            )
            return


def missing_module(name: str, error: ModuleNotFoundError) -> str:
    """The sentence about a package that this Python does not have."""
    return f"{name}: the package {error.name} is not installed for {sys.executable}. {_environment()}"


def _environment() -> str:
    python = f"{PROJECT}/.venv/bin/python"
    if os.path.exists(python):  # noqa: PTH110
        return f"Start it with {python}, or `source {PROJECT}/.venv/bin/activate` first"
    return f"`bash {PROJECT}/scripts/setup.sh` makes an environment, and `bash {PROJECT}/scripts/run.sh` starts a run in it"
