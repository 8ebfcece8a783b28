"""The system-call filter of a program's process, as classic BPF, built with the standard library only.

An allow list: what a running Python program needs. Everything else fails with EPERM, and what only an attack
does (open a file for writing, sockets, new processes, signals, namespaces ...) ends the process with SIGSYS,
which cannot be caught. The filter is a binary search over call numbers: the kernel evaluates it for every
number when it is installed, so its depth is what installing costs.

The numbers are those of the kernel's ``unistd`` headers. aarch64 is written from them and has not been run.
"""

from __future__ import annotations

import os
import struct

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}

ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # files that are open, and memory
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62), "munmap": (11, 215),
    "mremap": (25, 216), "brk": (12, 214), "madvise": (28, 233),
    # signals to itself, and threads
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "futex": (202, 98), "sched_yield": (24, 124),
    # who it is, and what it has used
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "getrusage": (98, 165), "times": (100, 153),
    "getrlimit": (97, 163), "sysinfo": (99, 179), "uname": (63, 160), "getcpu": (309, 168),
    "sched_getaffinity": (204, 123),
    # time and waiting
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None),
    "clock_nanosleep": (230, 115), "nanosleep": (35, 101), "select": (23, None), "pselect6": (270, 72),
    "poll": (7, None), "ppoll": (271, 73), "restart_syscall": (219, 128),
    # its end
    "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
"""Call -> its number on (x86_64, aarch64); None where an architecture lacks it."""

NO_EXECUTABLE = {"mmap": (9, 222), "mprotect": (10, 226)}
"""Allowed unless the memory is to be executable."""

FATAL_TO_WRITE = {"open": (2, None, 1), "openat": (257, 56, 2)}
"""EPERM, and fatal when the flags (argument number last) ask for more than reading."""

FATAL: dict[str, tuple[int | None, int | None]] = {
    # new processes and programs
    "fork": (57, None), "vfork": (58, None), "clone": (56, 220), "clone3": (435, 435), "execve": (59, 221),
    "execveat": (322, 281),
    # signals to others, and their memory
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "kcmp": (312, 272),
    # sockets
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "accept": (43, 202), "accept4": (288, 242),
    "bind": (49, 200), "listen": (50, 201), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "recvfrom": (45, 207), "recvmsg": (47, 212), "recvmmsg": (299, 243), "shutdown": (48, 210),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "fsmount": (432, 432), "fsconfig": (431, 431), "fspick": (433, 433), "mount_setattr": (442, 442),
    # files, beside those that are open
    "creat": (85, None), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_setup": (206, 0), "io_submit": (209, 2), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262), "quotactl": (179, 60),
    # shared memory and queues
    "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # the kernel itself
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "iopl": (172, None), "ioperm": (173, None),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "acct": (163, 89),
}  # fmt: skip

GETRANDOM = (318, 278)
"""Allowed in the evaluate profile; without it unseeded randomness fails loudly."""

KEPT_BY_ZYGOTE = frozenset({"fork", "vfork", "clone", "clone3", "kill"})
"""What the forking process itself needs of the calls that are fatal to programs."""

_LOAD, _JUMP_EQUAL, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _EPERM = 0x7FFF0000, 0x80000000, 0x00050001
_X32_BIT = 0x40000000
_PROT_EXEC = 4
_MORE_THAN_READING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_APPEND | (os.O_TMPFILE & ~os.O_DIRECTORY)

Instruction = tuple[int, int, int, int]


def program_filter(machine: str, *, randomness: bool) -> bytes:
    """The strict filter of a program's process, as an array of ``struct sock_filter``.

    It stands on top of the zygote's, which the process inherits and which kills for most of the fatal calls: of two
    filters the kernel obeys the harsher, so here those are among the rest that fails, and the filter is shorter.

    Raises:
        KeyError: no numbers for this machine.
    """
    column = _COLUMN[machine]
    actions: dict[int, list[Instruction]] = {}
    for numbers in ALLOWED.values():
        _put(actions, numbers[column], [_ret(_ALLOW)])
    for name in KEPT_BY_ZYGOTE:
        _put(actions, FATAL[name][column], [_ret(_KILL)])
    for numbers in NO_EXECUTABLE.values():
        _put(actions, numbers[column], _if_argument(2, _PROT_EXEC, _EPERM, _ALLOW))
    for numbers in FATAL_TO_WRITE.values():
        _put(actions, numbers[column], _if_argument(numbers[2], _MORE_THAN_READING, _KILL, _EPERM))
    if randomness:
        _put(actions, GETRANDOM[column], [_ret(_ALLOW)])
    return _assemble(machine, actions, [_ret(_EPERM)])


def zygote_filter(machine: str) -> bytes:
    """The coarse filter of the forking process: what is fatal to programs is fatal to it, but fork and kill."""
    column = _COLUMN[machine]
    actions: dict[int, list[Instruction]] = {}
    for name, numbers in FATAL.items():
        if name not in KEPT_BY_ZYGOTE:
            _put(actions, numbers[column], [_ret(_KILL)])
    return _assemble(machine, actions, [_ret(_ALLOW)])


def _put(actions: dict[int, list[Instruction]], number: int | None, code: list[Instruction]) -> None:
    if number is not None:
        actions[number] = code


def _ret(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _if_argument(index: int, bits: int, then: int, otherwise: int) -> list[Instruction]:
    """Looks at the low half of an argument (little endian); the flag words tested have nothing in the high half."""
    return [(_LOAD, 0, 0, 16 + 8 * index), (_JUMP_SET, 0, 1, bits), _ret(then), _ret(otherwise)]


def _assemble(machine: str, actions: dict[int, list[Instruction]], default: list[Instruction]) -> bytes:
    """Checks the architecture, then searches the number in the sorted list of ranges."""
    ranges: list[tuple[int, list[Instruction]]] = [(0, actions.get(0, default))]
    for number in range(1, max(actions) + 2):
        code = actions.get(number, default)
        if code != ranges[-1][1]:
            ranges.append((number, code))
    head: list[Instruction] = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        _ret(_KILL),
        (_LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":
        head += [(_JUMP_GE, 0, 1, _X32_BIT), _ret(_KILL)]
    code = head + _search(ranges)
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _search(ranges: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    low, high = _search(ranges[:middle]), _search(ranges[middle:])
    if len(low) > 255:
        raise ValueError("a filter half longer than a BPF jump")
    return [(_JUMP_GE, len(low), 0, ranges[middle][0]), *low, *high]
