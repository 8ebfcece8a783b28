"""Layers of confinement that this machine lacks, and what would provide them: a kernel setting or a container
option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from azr.system.files import text_of


@dataclass(frozen=True)
class Missing:
    layer: str
    without: str
    """What is weaker without it."""
    fix: str


_CONTAINER_FILES = (".dockerenv", "run/.containerenv")


def missing_layers(layers: Sequence[str], root: Path = Path("/")) -> list[Missing]:
    """
    Args:
        layers: names of those in force, as a zygote reports them.
        root: where ``proc`` and the files that mark a container lie.
    """
    container = any((root / name).exists() for name in _CONTAINER_FILES)
    found = []
    if not any(layer.startswith("seccomp") for layer in layers):
        found.append(Missing("seccomp", "programs may make any system call", _seccomp_fix(root)))
    if "namespaces" not in layers:
        without = "programs see the machine's network, processes and files"
        found.append(Missing("namespaces", without, _namespaces_fix(root, container)))
    elif "empty_root" not in layers:
        fix = "/proc as the kernel gives it, without hidepid and without a container's masks"
        found.append(Missing("empty_root", "programs see the machine's files", fix))
    if not any(layer.startswith("landlock") for layer in layers):
        found.append(
            Missing("landlock", "files are protected by one layer fewer", _landlock_fix(root, container))
        )
    return found


def _seccomp_fix(root: Path) -> str:
    if (root / "proc/sys/kernel/seccomp/actions_avail").exists():
        return "an x86-64 or ARM64 machine, and a container whose own seccomp profile allows prctl(PR_SET_SECCOMP)"
    return "a kernel with CONFIG_SECCOMP_FILTER (gVisor and some old kernels have none), on x86-64 or ARM64"


def _namespaces_fix(root: Path, container: bool) -> str:
    if _setting(root, "kernel/unprivileged_userns_clone") == "0":
        return "unprivileged user namespaces: sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if _setting(root, "user/max_user_namespaces") == "0":
        return "user namespaces: sudo sysctl -w user.max_user_namespaces=15000"
    if _setting(root, "kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "unprivileged user namespaces (Ubuntu 23.10 and later): sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    if container:
        return (
            "CAP_SYS_ADMIN, or a seccomp profile that allows unshare: "
            "docker run --security-opt seccomp=unconfined (or --cap-add SYS_ADMIN)"
        )
    return "a kernel with CONFIG_USER_NS that lets a user call unshare"


def _landlock_fix(root: Path, container: bool) -> str:
    version = _setting(root, "kernel/osrelease").split(".")[:2]
    old = [part for part in version if part.isdigit()]
    if len(old) == 2 and (int(old[0]), int(old[1])) < (5, 13):
        return f"Linux 5.13 or later (this is {'.'.join(version)})"
    fix = "Landlock in the kernel's list of security modules: lsm=landlock,... on its command line"
    return f"{fix}; or a container whose seccomp profile allows landlock_create_ruleset" if container else fix


def _setting(root: Path, name: str) -> str:
    """A sysctl; empty where this kernel has none of that name."""
    return text_of(root / "proc/sys" / name).strip()
