"""Configuration of the sandbox that runs model-written programs (docs/sandbox.md)."""

from __future__ import annotations

from dataclasses import dataclass, field

from azr.errors import ConfigError

PROBES = ("read", "write", "connect", "fork", "kill")
"""What the probe child tries at every start; all must be stopped (``accept_unstopped`` names exceptions)."""


@dataclass(frozen=True)
class Limits:
    """What one call of a program may use. A program that wants more is ended from outside."""

    cpu_s: float = 2.0
    """CPU seconds of one call, the program's own top level included in the first. The primary limit: it does not
    depend on how busy the machine is. The published executor allows 10 s of wall clock."""
    wall_s: float = 6.0
    """Wall-clock seconds of one call, for programs that sleep. One that still gets CPU time is given up to four times as
    long, so that a busy machine turns no honest program into a timeout."""
    memory_mib: int = 1024
    """Address space of the program's process; beyond it CPython raises MemoryError."""
    output_kib: int = 256
    """Result bytes a process may send before it is killed. What a program prints is thrown away."""
    value_chars: int = 65536
    """Longest canonical text of a returned value; a longer value is refused."""

    def validate(self, prefix: str = "sandbox.limits") -> None:
        """Raises:
        ConfigError: a limit is out of range.
        """
        _in_range(f"{prefix}.cpu_s", self.cpu_s, 0.05, 3600)
        _in_range(f"{prefix}.wall_s", self.wall_s, 0.05, 36000)
        _in_range(f"{prefix}.memory_mib", self.memory_mib, 64, 1 << 20)
        _in_range(f"{prefix}.output_kib", self.output_kib, 1, 1 << 16)
        _in_range(f"{prefix}.value_chars", self.value_chars, 16, 1 << 24)
        if self.wall_s < self.cpu_s:
            raise ConfigError(f"{prefix}.wall_s is {self.wall_s}, below cpu_s {self.cpu_s}; wall time must be at least the CPU time")


@dataclass(frozen=True)
class SandboxConfig:
    """Size and strictness of the pool of confined processes."""

    workers: int | None = None
    """Warm processes (zygotes) that fork programs; even, because half of them have another hash seed. Empty: as many as
    cores are left over, at least 2, at most 16."""
    reserved_cores: int = 1
    """Cores left to the trainer and the engine when ``workers`` is empty."""
    slots: int = 4
    """Programs that one zygote runs at the same time. Sleeping programs hold a slot until their wall limit."""
    memory_share: float = 0.5
    """Share of the machine's available memory that all running programs together may claim: slots are lowered until
    workers x slots x limits.memory_mib fits."""
    order_seeds: int = 4
    """Hash seeds that must agree on a verified program that touches sets, hash or id (2 to 8); other programs use 2."""
    nice: int = 5
    """Added to the niceness of programs, so that they give way to the trainer."""
    limits: Limits = field(default_factory=Limits)
    """Limits of a job that brings none of its own."""
    root_uid: int = 54321
    """User (and group) id that programs get when the trainer runs as root; 0 is refused."""
    accept_unstopped: list[str] = field(default_factory=list)
    """Probes (read, write, connect, fork, kill) that this kernel need not stop. Empty: all must be. What it weakens is
    in docs/sandbox.md; meant for programs you wrote yourself."""
    bubblewrap: str = ""
    """Path or name of a bubblewrap binary to start each zygote in, as one more layer; empty: none."""
    python: str = ""
    """Interpreter of the zygotes; empty: this one. Verified outputs hold for one minor version of Python."""

    def validate(self) -> None:
        """Raises:
        ConfigError: a value is out of range; the message names key, value and range.
        """
        if self.workers is not None:
            _in_range("sandbox.workers", self.workers, 2, 256)
            if self.workers % 2:
                raise ConfigError(f"sandbox.workers is {self.workers}; it must be even (half of the processes have another hash seed)")
        _in_range("sandbox.reserved_cores", self.reserved_cores, 0, 1024)
        _in_range("sandbox.slots", self.slots, 1, 64)
        _in_range("sandbox.memory_share", self.memory_share, 0.01, 1.0)
        _in_range("sandbox.order_seeds", self.order_seeds, 2, 8)
        _in_range("sandbox.nice", self.nice, 0, 19)
        _in_range("sandbox.root_uid", self.root_uid, 1, 2**31 - 1)
        for name in self.accept_unstopped:
            if name not in PROBES:
                raise ConfigError(f"sandbox.accept_unstopped holds {name!r}; it may hold {', '.join(PROBES)}")
        self.limits.validate()


def _in_range(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{key} is {value}; it must lie between {low} and {high}")
