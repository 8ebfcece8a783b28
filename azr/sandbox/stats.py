"""Counters of a sandbox, for metrics."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass

from azr.sandbox.job import JobResult, Status

LATENCIES_KEPT = 2048


@dataclass(frozen=True)
class Stats:
    """Since the sandbox started; latencies over the latest 2,048 jobs, from submission to result."""

    jobs: int
    """Finished jobs."""
    queued: int
    """Submitted and not finished."""
    by_status: dict[str, int]
    restarts: int
    """Zygotes that died or hung and were replaced; anything but 0 is worth a look."""
    latency_p50_s: float
    latency_p99_s: float


class StatsRecorder:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._submitted = 0
        self._statuses: Counter[Status] = Counter()
        self._restarts = 0
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def submitted(self) -> None:
        with self._lock:
            self._submitted += 1

    def finished(self, result: JobResult, latency_s: float) -> None:
        with self._lock:
            self._statuses[result.status] += 1
            self._latencies_s.append(latency_s)

    def restarted(self) -> None:
        with self._lock:
            self._restarts += 1

    def snapshot(self) -> Stats:
        with self._lock:
            statuses = dict(self._statuses)
            latencies_s = sorted(self._latencies_s)
            submitted, restarts = self._submitted, self._restarts
        jobs = sum(statuses.values())
        return Stats(
            jobs=jobs,
            queued=submitted - jobs,
            by_status={status.value: count for status, count in statuses.items()},
            restarts=restarts,
            latency_p50_s=quantile(latencies_s, 0.5),
            latency_p99_s=quantile(latencies_s, 0.99),
        )


def quantile(ordered: list[float], share: float) -> float:
    """Nearest-rank quantile of a sorted list; 0 of an empty one."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
