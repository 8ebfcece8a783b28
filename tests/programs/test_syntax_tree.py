"""Trees of several threads do not disturb each other."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator

import pytest

from azr.programs.source import SourceError, parse_program

PROGRAM = (
    "def f(x):\n" + "".join(f"    y{i} = [x + {i}, (x * {i}, {i})]\n" for i in range(100)) + "    return x\n"
)


class Cycle:
    """Collected by the garbage collector alone, which then runs Python code."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        sum(range(200))


@pytest.fixture
def eager_collector() -> Iterator[None]:
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(50)
    sys.setswitchinterval(1e-6)
    yield
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval_s)


def test_threads_parse_at_the_same_time(eager_collector: None) -> None:
    """With ``ast.parse`` itself CPython 3.11 fails a few of these 240 calls."""
    errors: list[BaseException] = []

    def work(depth: int) -> None:
        if depth:
            return work(depth - 1)
        for _ in range(60):
            for _ in range(20):
                Cycle()
            try:
                parse_program(PROGRAM)
            except (SystemError, SourceError) as error:
                errors.append(error)

    threads = [threading.Thread(target=work, args=(9 * count,)) for count in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
