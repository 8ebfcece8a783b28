"""What this process may use: the machine's cores, memory, processes and threads, within what the control groups (cgroup v1
and v2) around it allow."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from azr.system.files import text_of


def groups_of(controller: str, root: Path = Path("/")) -> Iterator[tuple[Path, int]]:
    """Folders of the groups that this process is in, innermost first, and the version (1 or 2) of each. Those that a
    container does not show are left out.

    Args:
        controller: ``memory``, ``pids`` ...
        root: where ``proc`` and ``sys`` lie.
    """
    mounted = root / "sys/fs/cgroup"
    for line in text_of(root / "proc/self/cgroup").splitlines() or ["0::/", f"1:{controller}:/"]:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller in controllers.split(","):
            top, version = mounted / controller, 1
        elif not controllers:
            top, version = mounted, 2
        else:
            continue
        folder = top / path.strip("/")
        for group in (folder, *folder.parents):
            # seen from another namespace a path may begin with /..
            if group.is_dir() and ".." not in group.parts:
                yield group, version
            if group == top:
                break


def group_value(path: Path) -> int | None:
    """None where there is no such file, or it says ``max``."""
    try:
        return int(path.read_text(encoding="ascii", errors="replace"))
    except (OSError, ValueError):
        return None


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: those of its affinity mask, and no more than the smallest CPU quota of the groups
    around it (``docker --cpus``, ``CPUQuota=`` of systemd) makes whole; at least one."""
    counts = [len(os.sched_getaffinity(0))]
    for folder, version in groups_of("cpu", root):
        names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        with contextlib.suppress(OSError, ValueError):  # no limit is the word "max", or -1
            text = " ".join((folder / name).read_text(encoding="ascii") for name in names)
            quota, period = map(int, text.split())
            counts += [quota // period] if quota > 0 < period else []
    return max(1, min(counts))


def process_limit(root: Path = Path("/")) -> tuple[int, str] | None:
    """The smallest limit on processes and threads, and what sets it: ``ulimit -u``, or ``pids.max`` of a control group;
    None without any."""
    limits: list[tuple[int, str]] = []
    own = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if own != resource.RLIM_INFINITY and os.getuid() != 0:  # the kernel exempts root
        limits.append((own, "ulimit -u"))
    for folder, _ in groups_of("pids", root):
        if (limit := group_value(folder / "pids.max")) is not None:
            limits.append((limit, f"{folder}/pids.max"))
    return min(limits, default=None)


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
    """The smallest of the machine's memory and of the limits of all groups from this process's own up. What a group holds
    of files that nobody has used lately counts as available: the kernel gives it up before it lets a program fail.

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
