"""How a user calls the commands: as they called this one."""

from __future__ import annotations

import sys
from pathlib import Path


def command(name: str) -> str:
    """``azr NAME`` where this process was started by ``azr``; else the clone's script, which needs no installed
    package."""
    return f"azr {name}" if Path(sys.argv[0]).name == "azr" else f"python scripts/{name}.py"
