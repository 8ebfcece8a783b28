"""Speed of the sandbox beside the floor of this machine, measured in the same run: python
scripts/dev/bench_sandbox.py.

The floors fork an equally warm process on every core (symbols resolved): once doing nothing, once compiling
and running the program without any confinement. A verified program is two such forks. Figures depend on the
machine's load, which is printed too.
"""

from __future__ import annotations

import _project  # noqa: F401

import argparse
import concurrent.futures
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
import psutil  # noqa: E402

from azr.config.sandbox import Limits, SandboxConfig  # noqa: E402
from azr.sandbox import Job, Sandbox  # noqa: E402
from azr.system.terminal import outlive_the_terminal  # noqa: E402

PROGRAM = """\
from collections import Counter

def f(xs):
    counts = Counter(xs)
    out = []
    for key, n in sorted(counts.items()):
        for i in range(n):
            out.append((key, i * n))
    total = 0
    for key, n in out:
        if key % 2 == 0:
            total += key * n
        else:
            total -= n
    return out, total
"""
BAD = (
    "def f(xs):\n    while True:\n        pass",
    "def f(xs):\n    a = []\n    while True:\n        a.append(bytes(10 ** 6))",
    "def f(xs):\n    return xs.nothing",
    "import collections\ndef f(xs):\n    collections._sys.modules['os'].fork()",
    "import collections\ndef f(xs):\n    collections._sys.modules['os']._exit(0)",
    "def f(xs):\n    return list(range(10 ** 6))",
)

_FLOOR = """\
import os, sys, time, types
for name, path in (("azr", {azr!r}), ("azr.sandbox", {sandbox!r})):
    sys.modules[name] = types.ModuleType(name); sys.modules[name].__path__ = [path]
import gc
from azr.sandbox import program, zygote
warm = zygote.Zygote({{"slots": 1}})
warm.warm_up()
item = program.Program(0, False, 2, False, 2.0, 6.0, 1024, 256, 65536, "f", {code!r}, ("[4, 2, 3, 2, 1]",))
gc.collect(); gc.freeze()
start = time.monotonic(); count = 0
while time.monotonic() - start < {seconds}:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        if {work}:
            program.execute(item, lambda data: os.write(writing, data))
        os._exit(0)
    os.close(writing)
    if {work}:
        while os.read(reading, 65536): pass
    os.close(reading)
    os.waitpid(pid, 0); count += 1
print(count / (time.monotonic() - start))
"""


def floor(seconds: float, work: bool) -> float:
    """Forks a second of warm processes, one per core, without confinement."""
    package = ROOT / "azr"
    code = _FLOOR.format(
        azr=str(package), sandbox=str(package / "sandbox"), code=PROGRAM, seconds=seconds, work=work
    )
    cores = len(os.sched_getaffinity(0))
    command = [sys.executable, "-s", "-S", "-c", code]
    environment = {**os.environ, "LD_BIND_NOW": "1"}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(cores)]
    return sum(float(process.communicate(timeout=60)[0]) for process in processes)


def jobs_of(count: int, inputs: int = 1) -> list[Job]:
    return [
        Job(f"{PROGRAM}# {i}", tuple(f"[{i}, {k}, 3, 2, {i % 7}]" for k in range(inputs)))
        for i in range(count)
    ]


def rate(sandbox: Sandbox, jobs: list[Job]) -> tuple[float, int]:
    """(jobs a second, jobs that were not ok)."""
    start = time.monotonic()
    reasons = [
        f"{result.status.value}: {result.reason}" for _, result in sandbox.run_many(jobs) if not result.ok
    ]
    seconds = time.monotonic() - start
    for reason in reasons[:5]:
        print(f"  misjudged: {reason}")
    return len(jobs) / seconds, len(reasons)


def latencies_s(sandbox: Sandbox, jobs: list[Job]) -> list[float]:
    """From each job's submission to its result, with as many waiting as ``run_many`` lets wait."""
    submitted: dict[int, float] = {}

    def noted() -> Iterator[Job]:
        for index, job in enumerate(jobs):
            submitted[index] = time.monotonic()
            yield job

    return [time.monotonic() - submitted[index] for index, _ in sandbox.run_many(noted())]


def cpu_s(sandbox: Sandbox) -> float:
    """CPU seconds so far of this process and of everything below the pool, reaped programs included."""
    total = time.process_time()
    for pid in sandbox.process_ids():
        for process in (psutil.Process(pid), *psutil.Process(pid).children()):
            times = process.cpu_times()
            total += (
                times.user
                + times.system
                + (times.children_user + times.children_system if process.pid != pid else 0.0)
            )
    return total


def mixed_jobs(count: int, seed: int = 0) -> tuple[list[Job], list[bool]]:
    """93 % honest programs, 7 % bad ones; and which are which."""
    order = random.Random(seed)
    honest = [order.random() >= 0.07 for _ in range(count)]
    jobs = [
        Job(
            PROGRAM if good else order.choice(BAD),
            (f"[{i}, 2, 3, 2, 1]",),
            limits=Limits(cpu_s=2.0, wall_s=6.0),
        )
        for i, good in enumerate(honest)
    ]
    return jobs, honest


def subprocess_rate(count: int) -> float:
    code = PROGRAM + "print(repr(f([4, 2, 3, 2, 1])))"
    cores = len(os.sched_getaffinity(0))
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(cores) as threads:
        list(
            threads.map(
                lambda _: subprocess.run(
                    [sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True
                ),
                range(count),
            )
        )
    return count / (time.monotonic() - start)


def exec_in_worker(code: str, arguments: list[int]) -> str:
    """What the usual unconfined executor does."""
    scope: dict[str, object] = {}
    exec(code, scope)
    function = scope["f"]
    assert callable(function)
    return repr((function(arguments), function(arguments))[0])


def process_pool_rate(count: int) -> float:
    cores = len(os.sched_getaffinity(0))
    with concurrent.futures.ProcessPoolExecutor(cores) as pool:
        list(pool.map(exec_in_worker, [PROGRAM] * 20, [[1, 2]] * 20))
        start = time.monotonic()
        list(pool.map(exec_in_worker, [PROGRAM] * count, [[i, 2, 3, 2, 1] for i in range(count)]))
        return count / (time.monotonic() - start)


def line(name: str, figure: str, note: str = "") -> None:
    print(f"{name:58} {figure:>16}  {note}", flush=True)


def timed(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Throughput and latency of the sandbox, beside this machine's floor."
    )
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of programs")
    arguments = parser.parse_args()
    n = lambda count: max(10, int(count * arguments.scale))  # noqa: E731
    print(
        f"Python {sys.version.split()[0]}, {len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.1f}"
    )

    bare, running = floor(2.0, False), floor(2.0, True)
    line("floor: bare forks of a warm process", f"{bare:.0f} /s")
    line(
        "floor: forks that run the program, unconfined",
        f"{running:.0f} /s",
        f"allows {running / 2:.0f} verified programs/s",
    )
    with Sandbox(SandboxConfig()) as sandbox:
        rate(sandbox, jobs_of(n(60)))
        before = cpu_s(sandbox)
        verified, wrong = rate(sandbox, jobs_of(n(900)))
        cost_ms = (cpu_s(sandbox) - before) / n(900) * 1000
        again = floor(2.0, True)
        share = verified / ((running + again) / 4)
        line(
            "verified programs",
            f"{verified:.0f} /s",
            f"{share:.0%} of what the floor allows (floor then {again:.0f}); not ok: {wrong}",
        )
        line(
            "CPU time of one, all processes together",
            f"{cost_ms:.2f} ms",
            f"a core gives {1000 / cost_ms:.0f} /s",
        )
        ten, wrong = rate(sandbox, jobs_of(n(300), inputs=10))
        line("verified inputs, 10 a program", f"{ten * 10:.0f} /s", f"not ok: {wrong}")
        singles = sorted(
            timed(lambda job=job: sandbox.submit(job).result()) * 1000 for job in jobs_of(n(200))
        )
        line(
            "latency of one verified program, idle p50",
            f"{statistics.median(singles):.1f} ms",
            f"p99 {singles[int(len(singles) * 0.99)]:.1f} ms",
        )
        hang = timed(lambda: sandbox.submit(Job(BAD[0], ("[1]",))).result())
        line("one endless loop (limit 2 s of CPU), until its verdict", f"{hang:.2f} s")
        queued = sorted(second * 1000 for second in latencies_s(sandbox, jobs_of(n(2100))))
        line(
            "latency with a full queue p50",
            f"{statistics.median(queued):.0f} ms",
            f"p99 {queued[int(len(queued) * 0.99)]:.0f} ms",
        )
        jobs, honest = mixed_jobs(n(600))
        start = time.monotonic()
        misjudged = 0
        for index, result in sandbox.run_many(jobs):
            if result.ok != honest[index]:
                misjudged += 1
                print(
                    f"  misjudged: {'honest' if honest[index] else 'bad'} program: {result.status.value}: {result.reason}"
                )
        seconds = time.monotonic() - start
        line(
            "93 % honest, 7 % bad",
            f"{len(jobs) / seconds:.0f} /s",
            f"{len(jobs)} programs in {seconds:.1f} s, misjudged: {misjudged}",
        )
    line("plain subprocess per run (one run, not verified, unconfined)", f"{subprocess_rate(n(60)):.0f} /s")
    line(
        "process pool that execs in the worker (two calls, unconfined)",
        f"{process_pool_rate(n(3000)):.0f} /s",
    )
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    outlive_the_terminal()
    main()
