"""Memory as memory groups allow it: nested, of both versions, with the page cache counted as available."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr.config.sandbox import SandboxConfig
from azr.sandbox import pool
from azr.system.resources import HostMemory, host_memory, process_limit, usable_cores

GIB = 2**30
MIB = 2**20


def write(root: Path, files: dict[str, object]) -> Path:
    files = {
        "proc/meminfo": f"MemTotal: {64 * MIB} kB\nMemFree: {MIB} kB\nMemAvailable: {60 * MIB} kB\n",
        **files,
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def v2(folder: str, limit: object, used: int, inactive_file: int) -> dict[str, object]:
    base = f"sys/fs/cgroup{folder}"
    stat = f"anon 1\nfile {2 * inactive_file}\ninactive_file {inactive_file}"
    return {f"{base}/memory.max": limit, f"{base}/memory.current": used, f"{base}/memory.stat": stat}


def v1(folder: str, limit: object, used: int, inactive_file: int) -> dict[str, object]:
    base = f"sys/fs/cgroup/memory{folder}"
    stat = f"inactive_file 5\ntotal_inactive_file {inactive_file}"
    return {
        f"{base}/memory.limit_in_bytes": limit,
        f"{base}/memory.usage_in_bytes": used,
        f"{base}/memory.stat": stat,
    }


def test_without_groups_it_is_the_machine_s(tmp_path: Path) -> None:
    assert host_memory(write(tmp_path, {})) == HostMemory(64 * GIB, 60 * GIB)


@pytest.mark.parametrize("make", [v1, v2])
def test_the_page_cache_of_a_container_is_available(tmp_path: Path, make) -> None:
    write(tmp_path, {"proc/self/cgroup": "4:memory:/\n0::/", **make("", 16 * GIB, 15 * GIB, 12 * GIB)})
    assert host_memory(tmp_path) == HostMemory(16 * GIB, 13 * GIB)


def test_the_smallest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    files = (
        v2("", "max", 50 * GIB, 0)
        | v2("/user.slice", 20 * GIB, 19 * GIB, 4 * GIB)
        | v2("/user.slice/job", 30 * GIB, GIB, 0)
    )
    assert host_memory(write(tmp_path, {"proc/self/cgroup": "0::/user.slice/job", **files})) == HostMemory(
        20 * GIB, 5 * GIB
    )


def test_nested_groups_of_the_first_version(tmp_path: Path) -> None:
    files = (
        v1("", 2**63 - 4096, 40 * GIB, 0)
        | v1("/slurm", 32 * GIB, 30 * GIB, 25 * GIB)
        | v1("/slurm/job", 8 * GIB, 2 * GIB, GIB)
    )
    write(tmp_path, {"proc/self/cgroup": "9:cpu:/other\n4:memory:/slurm/job", **files})
    assert host_memory(tmp_path) == HostMemory(8 * GIB, 7 * GIB)


def test_a_container_shows_its_own_group_as_the_top(tmp_path: Path) -> None:
    write(tmp_path, {"proc/self/cgroup": "4:memory:/docker/0123", **v1("", 4 * GIB, GIB, 0)})
    assert host_memory(tmp_path) == HostMemory(4 * GIB, 3 * GIB)
    write(tmp_path, {"proc/self/cgroup": "0::/../../other", **v2("", 4 * GIB, GIB, 0)})
    assert host_memory(tmp_path) == HostMemory(4 * GIB, 3 * GIB)


def test_a_throttle_is_a_limit_and_nothing_is_below_zero(tmp_path: Path) -> None:
    files = v2("/job", "max", 9 * GIB, 0) | {"sys/fs/cgroup/job/memory.high": 8 * GIB}
    assert host_memory(write(tmp_path, {"proc/self/cgroup": "0::/job", **files})) == HostMemory(8 * GIB, 0)


def test_this_machine() -> None:
    here = host_memory()
    assert 0 < here.available <= here.total


@pytest.mark.parametrize(("group", "top"), [("0::/a/b", ""), ("8:pids:/a/b", "/pids")])
def test_the_smallest_limit_of_processes_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, top: str
) -> None:
    """The doctor knew ``ulimit -u`` only, and a container's ``--pids-limit`` is a control group's."""
    monkeypatch.setattr("resource.getrlimit", lambda kind: (10**6, 10**6))
    monkeypatch.setattr("os.getuid", lambda: 1000)
    write(tmp_path, {"proc/self/cgroup": group, f"sys/fs/cgroup{top}/a/b/pids.max": "max"})
    assert process_limit(tmp_path) == (10**6, "ulimit -u")
    write(tmp_path, {f"sys/fs/cgroup{top}/a/pids.max": 200, f"sys/fs/cgroup{top}/pids.max": 300})
    assert process_limit(tmp_path) == (200, f"{tmp_path}/sys/fs/cgroup{top}/a/pids.max")
    monkeypatch.setattr("resource.getrlimit", lambda kind: (100, 100))
    assert process_limit(tmp_path) == (100, "ulimit -u")
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert process_limit(tmp_path) == (200, f"{tmp_path}/sys/fs/cgroup{top}/a/pids.max"), "root is exempt"


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/", {"": "max 100000"}, 16),
        ("0::/system.slice/azr.service", {"": "max 100000", "/system.slice/azr.service": "200000 100000"}, 2),
        ("0::/a/b", {"/a": "350000 100000", "/a/b": "800000 100000"}, 3),
        ("0::/a", {"/a": "50000 100000"}, 1),
        ("4:cpu,cpuacct:/docker/1", {"/cpu/docker/1": (200000, 100000), "/cpu": (-1, 100000)}, 2),
    ],
)
def test_a_quota_of_processor_time_counts_on_the_way_up(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: str,
    files: dict[str, str | tuple[int, int]],
    cores: int,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16))
    written: dict[str, object] = {"proc/self/cgroup": groups}
    for folder, value in files.items():
        base = f"sys/fs/cgroup{folder}"
        if isinstance(value, str):
            written[f"{base}/cpu.max"] = value
        else:
            written |= {f"{base}/cpu.cfs_quota_us": value[0], f"{base}/cpu.cfs_period_us": value[1]}
    assert usable_cores(write(tmp_path, written)) == cores


def test_the_sandbox_goes_by_that_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16))
    monkeypatch.setattr(pool, "usable_cores", lambda: 5)
    assert len(pool.plan_workers(SandboxConfig())) == 4
