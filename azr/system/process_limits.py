"""What ``ulimit`` lets this process and its children have: raised as far as it may be, or told."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable

from azr.errors import ConfigError

FILES_WANTED = 4096
FILES_NEEDED = 1200
"""Open files of one process: Ray, its workers and the warm interpreter's children, which put descriptors
aside at 600 and above."""
ADDRESSES_NEEDED = 16 << 30
"""Bytes of address space: processes of the tiny model's run reach 14 GiB (VmPeak) on a CPU. With 6 GB Ray's
do not come up, and are waited for in vain."""
DATA_NEEDED = 6 << 30
"""Bytes of private memory: 4.1 GiB (VmData) in that run."""
STACK_BYTES = 8 << 20
"""Of a process, as systems allow it by default."""
JUDGED_LATER = (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_MEMLOCK)
"""Files by ``azr.budget.advice``, processes at a start, both with what else limits them; memory is locked only where that
is allowed."""


def raise_limits(say: Callable[[str], None]) -> None:
    """Of open files, processes, the size of a file, locked memory, address space, processor time and stack.

    Args:
        say: called with a sentence for a limit that stays too low for some runs.

    Raises:
        ConfigError: a hard limit is too low for any run.
    """
    if (files := _raised(resource.RLIMIT_NOFILE, FILES_WANTED)) < FILES_NEEDED:
        raise ConfigError(
            f"a process may open {files} files here, and a run needs {FILES_NEEDED}; raise the hard limit "
            "(`ulimit -Hn` says it; /etc/security/limits.conf, LimitNOFILE= of a service, --ulimit nofile= of a container)"
        )
    for which in JUDGED_LATER:
        _raised(which)
    # libraries reserve much more of the address space, and of its private part, than they use
    for which, option, needed in (
        (resource.RLIMIT_AS, "-v", ADDRESSES_NEEDED),
        (resource.RLIMIT_DATA, "-d", DATA_NEEDED),
    ):
        if (hard := _raised(which)) < needed:
            raise ConfigError(
                f"a process may address {hard / 2**30:.1f} GiB here, and a run's processes reserve {needed >> 30} GiB or more, "
                f"most of which they never use; lift the limit (`ulimit {option} unlimited`; of a batch system, h_vmem or pvmem)"
            )
    if (seconds := _raised(resource.RLIMIT_CPU)) < math.inf:
        say(
            f"A process may compute for {seconds / 60:.0f} min here (ulimit -t), after which the system ends it, the trainer too; the run "
            "then goes on from its last checkpoint. Lift the limit for a longer run."
        )
    _allow_stack(say)


def _raised(which: int, wanted: float = math.inf) -> float:
    """Raises a soft limit to ``wanted``, as far as the hard one allows, and returns the hard one; infinite for none."""
    soft, hard = resource.getrlimit(which)
    most = math.inf if hard == resource.RLIM_INFINITY else hard
    reachable = min(wanted, most)
    if soft != resource.RLIM_INFINITY and soft < reachable:
        resource.setrlimit(which, (hard if reachable == most else int(reachable), hard))
    return most


def file_size_gib() -> float:
    """The largest file that this process and its children may write; infinite where nothing limits it."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit / 2**30


def _allow_stack(say: Callable[[str], None]) -> None:
    """To what is usual, as far as this user may. The sandbox judges programs with it."""
    hard = _raised(resource.RLIMIT_STACK, STACK_BYTES)
    if hard >= STACK_BYTES:
        return
    try:
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, STACK_BYTES))
    except (ValueError, OSError):  # only root may
        say(
            f"A process has a stack of {int(hard) >> 10} KiB here (ulimit -s), so programs that need a deeper one count as crashed; "
            f"`ulimit -s {STACK_BYTES >> 10}` in a new shell, before the run"
        )
