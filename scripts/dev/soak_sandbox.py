"""Runs many programs, 5 % of them bad, and watches memory, descriptors, zombies and verdicts.

python scripts/dev/soak_sandbox.py [COUNT]
"""

from __future__ import annotations

import _project  # noqa: F401

import argparse
import gc
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil

from azr.config.sandbox import Limits, SandboxConfig
from azr.sandbox import Job, Sandbox, Status
from azr.sandbox.values import canonical
from azr.system.terminal import outlive_the_terminal

# fmt: off
HONEST: tuple[tuple[str, Callable[[int], object]], ...] = (
    ("def f(x):\n    return sorted(str(x))", lambda n: sorted(str(n))),
    ("import math\ndef f(x):\n    return math.isqrt(x), x % 7", lambda n: (math.isqrt(n), n % 7)),
    ("from collections import Counter\ndef f(x):\n    return dict(Counter(str(x)))", lambda n: dict(Counter(str(n)))),
    ("def f(x):\n    return {d for d in str(x)}, x * 2", lambda n: (set(str(n)), n * 2)),
    ("class P:\n    def __init__(self, v):\n        self.v = v\ndef f(x):\n    return [P(i).v for i in range(x % 9)]",
     lambda n: list(range(n % 9))),
)
"""Program, and what it must give."""

_REACH = "import collections\nos = collections._sys.modules['os']\n"
BAD = (
    ("def f(x):\n    while True:\n        pass", Status.TIMEOUT),
    ("def f(x):\n    return [0] * 10 ** 10", Status.ERROR),
    ("def f(x):\n    return x.nothing", Status.ERROR),
    ("def f(x:\n    return x", Status.ERROR),
    (_REACH + "def f(x):\n    os.fork()", Status.BLOCKED),
    (_REACH + "def f(x):\n    os._exit(0)", Status.KILLED),
    ("import math\nm = math\nm.sqrt = m.isqrt = len\ndef f(x):\n    return 1", Status.OK),
    ("def f(x):\n    return open('/etc/passwd').read()", Status.BLOCKED),
    ("def f(x):\n    return list(range(10 ** 5))", Status.REFUSED),
    ("def f(x, n=[0]):\n    n[0] += 1\n    return n[0]", Status.NONDETERMINISTIC),
    (_REACH + "ctypes = collections._sys.modules['ctypes']\ndef f(x):\n    return ctypes.string_at(0)", Status.KILLED),
    (_REACH + "def f(x):\n    for n in range(3, 64):\n        try:\n            os.write(n, b'x')\n        except OSError:\n            0",
     Status.KILLED),
)
# fmt: on


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Soak test of the sandbox; exit status 1 when something was misjudged or leaked."
    )
    parser.add_argument("count", nargs="?", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    order = random.Random(arguments.seed)
    expected: dict[int, tuple[Status, str | None]] = {}

    def jobs() -> Iterator[Job]:
        for index in range(arguments.count):
            if order.random() < 0.05:
                code, status = order.choice(BAD)
                expected[index] = (status, None)
            else:
                code, value = order.choice(HONEST)
                expected[index] = (Status.OK, canonical(value(index)))
            yield Job(code, (str(index),), verify=index % 4 != 3)

    me = psutil.Process()
    wrong: list[str] = []
    statuses: Counter[str] = Counter()
    start = time.monotonic()
    with Sandbox(SandboxConfig(limits=Limits(cpu_s=0.3, wall_s=3.0, memory_mib=512))) as sandbox:
        zygotes = [psutil.Process(pid) for pid in sandbox.process_ids()]
        zygotes += [child for zygote in zygotes for child in zygote.children()]
        for done, (index, result) in enumerate(sandbox.run_many(jobs()), 1):
            status, value = expected.pop(index)
            statuses[result.status.value] += 1
            if status is Status.NONDETERMINISTIC and index % 4 == 3:
                status = Status.OK  # nobody verified it
            if result.status is not status:
                wrong.append(f"{index}: {result.status.value} ({result.reason}), expected {status.value}")
            elif value is not None and result.values[0] != value:
                wrong.append(f"{index}: gave {result.values[0]}, expected {value}")
            if done % max(1, arguments.count // 10) == 0:
                # empties the interpreter's free lists (up to 2,000 tuples of each length), which fill slowly
                # and look like a leak
                gc.collect()
                memory = [process.memory_info().rss >> 10 for process in zygotes]
                descriptors = [process.num_fds() for process in zygotes]
                print(
                    f"{done:7} programs {time.monotonic() - start:6.0f} s  owner {me.memory_info().rss >> 10} KiB"
                    f" {sys.getallocatedblocks()} blocks {me.num_fds()} fds; zygotes {memory} KiB {descriptors} fds; wrong {len(wrong)}",
                    flush=True,
                )
        time.sleep(0.5)
        left = [
            child
            for process in zygotes[len(sandbox.process_ids()) :]
            for child in process.children(recursive=True)
        ]
        if left:
            wrong.append(f"processes left when idle, zombies or not: {left}")
    print(f"{dict(statuses)}, restarts {sandbox.restarts}")
    for line in wrong[:20]:
        print(f"WRONG {line}")
    return 1 if wrong or sandbox.restarts or me.children(recursive=True) else 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
