"""Which confinement this machine's kernel provides: a report for people and for the doctor."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass

from azr.config.sandbox import SandboxConfig
from azr.errors import SandboxError
from azr.sandbox.worker import Worker


@dataclass(frozen=True)
class ProbeReport:
    """``confined`` says whether programs may be run under this configuration."""

    confined: bool
    layers: tuple[str, ...]
    """Names of the layers in force, such as seccomp, landlock7, namespaces, rlimits."""
    probes: dict[str, str]
    """read, write, connect, fork, kill -> how the kernel stopped it, or ``done``."""
    python: str
    machine: str
    uid: int
    """User that programs run as."""
    start_s: float
    problem: str = ""
    """Why not ``confined``, and what to do."""

    def lines(self) -> list[str]:
        """For people: one line a fact."""
        yes = {True: "yes", False: "NO"}
        return [
            f"programs are confined: {yes[self.confined]}" + (f" - {self.problem}" if self.problem else ""),
            f"layers in force: {', '.join(self.layers) or 'none'}",
            *[f"probe {name}: {said or 'no answer'}" for name, said in self.probes.items()],
            f"programs run as uid {self.uid} on Python {self.python}, {self.machine}, kernel {platform.release()}",
            f"start of one zygote: {self.start_s:.2f} s",
        ]


def probe_confinement(config: SandboxConfig | None = None) -> ProbeReport:
    """Starts one zygote, lets its probe child try the forbidden things, and ends it. Never raises ``SandboxError``."""
    config = config or SandboxConfig()
    start, problem, worker = time.monotonic(), "", None
    try:
        worker = Worker(config, 1, 1)
        worker.wait_ready()
    except SandboxError as error:
        problem = str(error)
    finally:
        if worker is not None:
            worker.kill()

    hello = worker.hello if worker else {}
    return ProbeReport(
        confined=not problem,
        layers=tuple(hello.get("layers", ())),
        probes=hello.get("probes", {}),
        python=hello.get("python", "?"),
        machine=platform.machine(),
        uid=hello.get("uid", os.getuid()),
        start_s=time.monotonic() - start,
        problem=problem,
    )
