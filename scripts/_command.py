"""What the files beside this one share: each starts one subcommand of the installed package."""

from __future__ import annotations

import os
import sys


def start(name: str) -> None:
    try:
        from azr.start import start as start_command
    except ModuleNotFoundError:
        project = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120
        sys.exit(
            f"{name}: azr is not installed for {sys.executable}. Take the environment that scripts/setup.sh makes ({project}/.venv), "
            f"install it into this one (pip install --no-deps -e '{project}'), or start `python -m azr {name}` in that folder"
        )
    start_command(name)
