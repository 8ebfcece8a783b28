"""Host memory that this process may use: the machine's, and what every memory group (cgroup v1 and v2) around
it allows.

What a group holds of files that nobody has used lately counts as available: the kernel gives it up before it
lets a program fail.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from azr.system.control_groups import group_value, groups_of
from azr.system.files import text_of


@dataclass(frozen=True)
class HostMemory:
    """In bytes."""

    total: int
    available: int


_FILES = {
    1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
    2: (("memory.max", "memory.high"), "memory.current", "inactive_file"),
}
"""Version of memory groups -> files of limits, file of what is used, and the field of ``memory.stat`` that is cache."""


def host_memory(root: Path = Path("/")) -> HostMemory:
    """The smallest of the machine's memory and of the limits of all groups from this process's own up.

    Args:
        root: where ``proc`` and ``sys`` lie.
    """
    values = _fields(root / "proc/meminfo")
    if "MemTotal:" in values:
        total = values["MemTotal:"] * 1024
        available = values.get("MemAvailable:", values.get("MemFree:", 0)) * 1024
    else:
        total = available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for folder, version in groups_of("memory", root):
        limit_files, used_file, cache_field = _FILES[version]
        limits = [limit for name in limit_files if (limit := group_value(folder / name)) is not None]
        if limits and min(limits) < total:
            total = min(limits)
        if limits:
            used = group_value(folder / used_file) or 0
            cache = _fields(folder / "memory.stat").get(cache_field, 0)
            available = min(available, max(0, min(limits) - max(0, used - cache)))
    return HostMemory(total, min(total, available))


def _fields(path: Path) -> dict[str, int]:
    """``name number ...`` lines; empty where there is no such file."""
    lines = [line.split() for line in text_of(path).splitlines()]
    return {parts[0]: int(parts[1]) for parts in lines if len(parts) > 1 and parts[1].isdigit()}
