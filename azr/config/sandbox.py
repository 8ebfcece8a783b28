"""Configuration of the sandbox that runs model-written programs (docs/sandbox.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Le, MultipleOf

from azr.config.limits import Section


@dataclass(frozen=True)
class Limits(Section, place="sandbox.limits"):
    """What one call of a program may use. A program that exceeds it is ended from outside."""

    cpu_s: Annotated[float, Ge(0.05), Le(3600)] = 2.0
    """CPU seconds of one call; the first includes the program's own top level. The primary limit: it does
    not depend on how busy the machine is. The published executor allows 10 s of wall clock."""
    wall_s: Annotated[float, Ge(0.05), Le(36000)] = 6.0
    """Wall-clock seconds of one call, for programs that sleep. A program that still gets CPU time has up to
    four times as long, so that a busy machine does not turn an honest program into a timeout."""
    memory_mib: Annotated[int, Ge(64), Le(1 << 20)] = 1024
    """Address space of the program's process; beyond it CPython raises MemoryError."""
    output_kib: Annotated[int, Ge(1), Le(1 << 16)] = 256
    """Result bytes a process may send before it is killed. What a program prints is discarded."""
    value_chars: Annotated[int, Ge(16), Le(1 << 24)] = 65536
    """Longest canonical text of a returned value; a longer value is refused."""

    def contradictions(self) -> Iterator[str]:
        if self.wall_s < self.cpu_s:
            yield f"sandbox.limits.wall_s is {self.wall_s}, below cpu_s {self.cpu_s}; wall time must be at least the CPU time"


@dataclass(frozen=True)
class SandboxConfig(Section, place="sandbox"):
    """Size and strictness of the pool of confined processes."""

    workers: Annotated[int, Ge(2), Le(256), MultipleOf(2)] | None = None
    """Warm processes (zygotes) that fork programs; even, because half of them have a different hash seed.
    Empty: as many as there are free cores, at least 2 and at most 16."""
    reserved_cores: Annotated[int, Ge(0), Le(1024)] = 1
    """Cores left to the trainer and the engine when ``workers`` is empty."""
    slots: Annotated[int, Ge(1), Le(64)] = 4
    """Programs that one zygote runs at the same time. Sleeping programs hold a slot until their wall
    limit."""
    memory_share: Annotated[float, Ge(0.01), Le(1)] = 0.5
    """Share of the machine's available memory that all running programs together may claim: slots are lowered
    until workers x slots x limits.memory_mib fits."""
    order_seeds: Annotated[int, Ge(2), Le(8)] = 4
    """Hash seeds that must agree on a verified program that uses sets, hash or id (2 to 8); other programs
    use 2."""
    nice: Annotated[int, Ge(0), Le(19)] = 5
    """Added to the nice value of programs, so that they yield to the trainer."""
    limits: Limits = field(default_factory=Limits)
    """Limits of a job that brings none of its own."""
    root_uid: Annotated[int, Ge(1), Le(2**31 - 1)] = 54321
    """User (and group) id that programs get when the trainer runs as root; 0 is refused."""
    accept_unstopped: list[Literal["read", "write", "connect", "fork", "kill"]] = field(default_factory=list)
    """Probes (read, write, connect, fork, kill) that this kernel need not stop. Empty: all must be stopped.
    docs/sandbox.md says what this weakens; it is meant for programs you wrote yourself."""
    bubblewrap: str = ""
    """Path or name of a bubblewrap binary to start each zygote in, as an additional layer; empty: none."""
    python: str = ""
    """Interpreter of the zygotes; empty: this one. Verified outputs are valid for one minor version of
    Python."""
