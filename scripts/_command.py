"""What the files beside this one share: each starts one subcommand of the installed package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn


def start(name: str) -> NoReturn:
    try:
        from azr import cli
    except ModuleNotFoundError as error:
        if error.name != "azr":
            raise
        project = Path(__file__).resolve().parents[1]
        sys.exit(
            f"{name}: azr is not installed for {sys.executable}. Take the environment that scripts/setup.sh makes ({project}/.venv), "
            f"or install it into this one: pip install --no-deps -e '{project}'"
        )
    cli.start(name)
