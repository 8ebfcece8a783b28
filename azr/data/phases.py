"""The parts of a consolidation on the screen: how far each is, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from azr.wording import counted

Item = TypeVar("Item")


FIRST_LINE_S = 10.0


def with_lines(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """The items, and a line after ``FIRST_LINE_S``, and again whenever the time has doubled. No bar: a live screen has the
    terminal, which it would tear."""
    started, line_s = time.monotonic(), FIRST_LINE_S
    for done, item in enumerate(items, 1):
        yield item
        if (passed_s := time.monotonic() - started) >= line_s:
            told = f"  {what}: {done:,} of {counted(total, 'task')} after {passed_s:.0f} s"
            print(told, file=sys.stderr, flush=True)
            line_s = 2 * passed_s


class Phases:
    """``with phases("read"): ...`` adds the seconds of the block to ``seconds["read"]``."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started
