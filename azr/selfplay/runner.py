"""What self-play needs from a sandbox."""

from __future__ import annotations

from typing import Protocol

from azr.sandbox.job import Job, JobResult


class Runner(Protocol):
    """``azr.sandbox.Sandbox``, or what a test puts in its place."""

    async def run(self, job: Job) -> JobResult: ...
