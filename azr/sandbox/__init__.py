"""Runs model-written Python where it can do no harm: ``Sandbox``. Guarantees and limits: docs/sandbox.md.

with Sandbox(SandboxConfig()) as sandbox:
    result = await sandbox.run(Job(code, ("[3, 1]",)))   # from any event loop
    for index, result in sandbox.run_many(jobs): ...     # in the order they finish
"""

from azr.config.sandbox import Limits, SandboxConfig
from azr.sandbox.job import CallResult, Job, JobResult, Profile, Status
from azr.sandbox.pool import Sandbox
from azr.sandbox.probe import ProbeReport, probe_confinement

__all__ = [
    "CallResult",
    "Job",
    "JobResult",
    "Limits",
    "ProbeReport",
    "Profile",
    "Sandbox",
    "SandboxConfig",
    "Status",
    "probe_confinement",
]
