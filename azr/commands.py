"""How a user calls the commands: as they called this one."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path


def command(name: str) -> str:
    """``azr NAME`` where this process was started by ``azr``; else the clone's script, or where azr is not installed, which
    a script needs, its module."""
    if Path(sys.argv[0]).name == "azr":
        return f"azr {name}"
    return f"python scripts/{name}.py" if any(metadata.distributions(name="azr")) else f"python -m azr {name}"
