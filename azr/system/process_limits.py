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
    _allow_open_files()
    for which in JUDGED_LATER:
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (hard, hard))
    _allow_addresses(resource.RLIMIT_AS, "-v", ADDRESSES_NEEDED)
    _allow_addresses(resource.RLIMIT_DATA, "-d", DATA_NEEDED)
    _allow_processor_time(say)
    _allow_stack(say)


def _allow_open_files() -> None:
    """Raises the soft limit of this process and its children as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if reachable < FILES_NEEDED:
        raise ConfigError(
            f"a process may open {hard} files here, and a run needs {FILES_NEEDED}; raise the hard limit "
            "(`ulimit -Hn` says it; /etc/security/limits.conf, LimitNOFILE= of a service, --ulimit nofile= of a container)"
        )
    if soft != resource.RLIM_INFINITY and soft < reachable:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))


def file_size_gib() -> float:
    """The largest file that this process and its children may write; infinite where nothing limits it."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit / 2**30


def _allow_addresses(which: int, option: str, needed: int) -> None:
    """As ``_allow_open_files``, for the address space (``ulimit -v``) and its private part (``-d``), of which libraries
    reserve much more than they use."""
    soft, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"a process may address {hard / 2**30:.1f} GiB here, and a run's processes reserve {needed >> 30} GiB or more, "
            f"most of which they never use; lift the limit (`ulimit {option} unlimited`; of a batch system, h_vmem or pvmem)"
        )
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(which, (hard, hard))


def _allow_processor_time(say: Callable[[str], None]) -> None:
    """Raises the soft limit of ``ulimit -t``, which ends a process after so many seconds of computing, as far as the
    hard one allows; says what is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
    if hard != resource.RLIM_INFINITY:
        say(
            f"A process may compute for {hard / 60:.0f} min here (ulimit -t), after which the system ends it, the trainer too; the run "
            "then goes on from its last checkpoint. Lift the limit for a longer run."
        )


def _allow_stack(say: Callable[[str], None]) -> None:
    """Raises ``ulimit -s`` to what is usual, as far as this user may. The sandbox judges programs with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if hard != resource.RLIM_INFINITY and hard < STACK_BYTES:
        try:
            resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, STACK_BYTES))
        except (ValueError, OSError):  # only root may
            say(
                f"A process has a stack of {hard >> 10} KiB here (ulimit -s), so programs that need a deeper one count as crashed; "
                f"`ulimit -s {STACK_BYTES >> 10}` in a new shell, before the run"
            )
    elif soft != resource.RLIM_INFINITY and soft < STACK_BYTES:
        resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, hard))
