"""The parts of a consolidation on the screen: how far each is, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def with_bar(items: Iterable[Item], what: str, total: int) -> Iterable[Item]:
    """The items, with a progress bar on a terminal; without one where a live screen has the terminal, which a bar
    would tear."""
    disable = None if sys.stderr is sys.__stderr__ else True
    return tqdm(
        items, f"  {what}", total, unit="task", leave=False, disable=disable, file=sys.stderr, delay=0.5
    )


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
