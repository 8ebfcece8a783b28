"""Control groups (cgroup v1 and v2) around this process: how many cores, processes and threads they allow."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
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
