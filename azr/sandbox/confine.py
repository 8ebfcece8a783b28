"""Kernel confinement of the zygote and its programs, through ctypes: needs no package and no privilege.

Each layer is applied if this kernel gives it and named in the report; what must hold is not decided here but by the
probe child, which tries to read, write, connect, fork and kill (``zygote.run_probes``). Standard library only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys

from azr.sandbox import seccomp

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP = 1, 4, 22
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_RESTRICT = 444, 446
_LANDLOCK_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_LANDLOCK_FILES_LATEST = (1 << 16) - 1
_LANDLOCK_NETWORK = 3
_LANDLOCK_SCOPES = 3

MACHINE = platform.machine()

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
_libc.syscall.restype = ctypes.c_long
_libc.unshare.argtypes = [ctypes.c_int]
# looked up once, holding the interpreter's lock and without a copy of errno: each would cost a program's process pages
_fast_prctl = ctypes.PyDLL(None).prctl
_fast_prctl.argtypes = _libc.prctl.argtypes


class ConfineError(OSError):
    """A layer that this process cannot go without failed."""


def prctl(option: int, value: int, third: int = 0) -> None:
    if _libc.prctl(option, value, third, 0, 0) != 0:
        number = ctypes.get_errno()
        raise ConfineError(number, f"prctl({option}): {os.strerror(number)}")


def die_with_parent() -> None:
    """SIGKILL when the thread that started this process ends. Every change of credentials clears it, so call
    it last."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def offer_to_oom_killer() -> bool:
    """Makes the kernel's out-of-memory killer prefer this process to the trainer."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        return False
    return True


def drop_root(uid: int) -> bool:
    """Gives up root for good when we have it; True if it had to.

    Raises:
        OSError: this (container's) root cannot become that user.
    """
    if os.geteuid() != 0 and os.getuid() != 0:
        return False
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    prctl(_PR_SET_DUMPABLE, 1)
    return True


def new_namespaces() -> bool:
    """Own user, network, process, IPC, host name and mount namespaces; all or none."""
    flags = _CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWPID | _CLONE_NEWIPC | _CLONE_NEWUTS | _CLONE_NEWNS
    return _libc.unshare(flags) == 0


def empty_root() -> bool:
    """Makes the root directory an empty one: that of a process in /proc which then ends. Needs a user namespace."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    try:
        # inside a process namespace our child's number differs from the one that the old /proc shows
        os.chroot(f"/proc/{_outer_pid(pid)}/fdinfo")
        os.chdir("/")
        done = True
    except OSError:
        done = False
    finally:
        os.close(writing)
        os.waitpid(pid, 0)
    return done


def _outer_pid(pid: int) -> int:
    """Number of our child in the namespace that the mounted /proc belongs to."""
    with open("/proc/thread-self/children") as file:
        children = [int(number) for number in file.read().split()]
    return children[-1] if children else pid


def no_new_privileges() -> None:
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """No core dump, no ptrace, no reading of /proc/PID/environ by others of the same user."""
    prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def drop_capabilities() -> bool:
    """Gives up what a user namespace granted."""
    for capability in range(64):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    data = ctypes.create_string_buffer(struct.pack("<6I", 0, 0, 0, 0, 0, 0))
    return MACHINE in _SYS_CAPSET and _libc.syscall(_SYS_CAPSET[MACHINE], header, data) == 0


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 without it. Asked of the system call: WSL2 has no /sys/kernel/security."""
    return max(0, _libc.syscall(_SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1)))


def landlock() -> int:
    """Denies every file access (and, if the kernel can, TCP and signals to others); returns the ABI used, 0
    for none."""
    version = landlock_version()
    if not version:
        return 0
    attributes = struct.pack("<Q", _LANDLOCK_FILES.get(version, _LANDLOCK_FILES_LATEST))
    if version >= 4:
        attributes += struct.pack("<Q", _LANDLOCK_NETWORK)
    if version >= 6:
        attributes += struct.pack("<Q", _LANDLOCK_SCOPES)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    ruleset = _libc.syscall(_SYS_LANDLOCK_CREATE, buffer, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    if ruleset < 0:
        return 0
    done = _libc.syscall(_SYS_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0)) == 0
    os.close(ruleset)
    return version if done else 0


class _SockFprog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


class Filter:
    """A seccomp filter ready to install; building it is done once, installing it in every program's process."""

    def __init__(self, code: bytes) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        self._program = _SockFprog(len(code) // 8, ctypes.addressof(self._code))
        self._address = ctypes.addressof(self._program)

    def install(self) -> bool:
        return _fast_prctl(_PR_SET_SECCOMP, 2, self._address, 0, 0) == 0


def load_filters() -> tuple[Filter, tuple[Filter, Filter]] | None:
    """The coarse filter of the zygote, and the strict ones of the selfplay and the evaluate profile; None on a machine
    whose numbers we lack."""
    if MACHINE not in seccomp.AUDIT_ARCH or sys.byteorder != "little":
        return None
    selfplay, evaluate = (seccomp.program_filter(MACHINE, randomness=allowed) for allowed in (False, True))
    return Filter(seccomp.zygote_filter(MACHINE)), (Filter(selfplay), Filter(evaluate))


STACK_BYTES = 8 << 20
"""What systems allow by default."""


def limit_zygote() -> None:
    """Limits that hold for the zygote and everything it forks."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    resource.setrlimit(resource.RLIMIT_MSGQUEUE, (0, 0))
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]  # a verdict must not depend on the user's ulimit -s
    stack = STACK_BYTES if hard == resource.RLIM_INFINITY else min(STACK_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))


def limit_program(cpu_s: float, memory_mib: int) -> None:
    """Limits of one program's process. CPU is counted in whole seconds here; the zygote's clock is finer."""
    seconds = int(cpu_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
